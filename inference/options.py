"""The parsimonious method's own settings, and the recipe's numbers that follow from network and data."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from bayesprune.errors import SettingError
from bayesprune.settings import RunSettings, fixed_learning_rate, is_convolutional


@dataclass(frozen=True)
class ParsimoniousOptions:
    """The method's own settings; None stands for the default of the kind of network.

    Attributes:
        gamma: the hyper-prior's gamma, instead of a price ln gamma.
        price_kind: "equal" for each gate, or "cost" for the multiply-accumulates and parameters it carries.
        alpha: of a cost price: 1 multiply-accumulates only, 0 parameters only.
        start: inclusion probabilities at the start.
        prune_share: share of the epochs in which gates learn.
        horizon: steps in which a useless gate falls from 1 to 0.
        settle_share: last share of the pruning phase, in which the horizon is a fifth.
        ramp_share: share of the pruning phase over which prices rise.
        shrink_every: steps between removals.
        safe: the safe removal rule.
        slab: standard deviation of the weights' prior.
        fixed_learning_rate: of the phase at fixed structure.
    """

    gamma: float | None = None
    price_kind: str | None = None
    alpha: float = 0.8
    start: float = 0.5
    prune_share: float | None = None
    horizon: float | None = None
    settle_share: float = 0.2
    ramp_share: float = 0.0
    shrink_every: int = 100
    safe: bool = False
    slab: float = 1.0
    fixed_learning_rate: float | None = None

    def __post_init__(self) -> None:
        if self.gamma is not None and not 0 < self.gamma < float("inf"):
            raise SettingError(f"gamma must be a finite number > 0 (and > 1 to prune), not {self.gamma}")
        if self.price_kind not in (None, "equal", "cost"):
            raise SettingError(f"price_kind must be 'equal' or 'cost', not {self.price_kind!r}")
        for name in ("prune_share", "settle_share", "ramp_share"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise SettingError(f"{name} must lie in [0, 1], not {value}")
        if not 0 < self.start < 1:
            raise SettingError(f"start must lie strictly between 0 and 1, not {self.start}")
        if self.fixed_learning_rate is not None and not 0 < self.fixed_learning_rate < float("inf"):
            raise SettingError(f"fixed_learning_rate must be > 0, not {self.fixed_learning_rate}")

    @classmethod
    def of(cls, options: Any) -> "ParsimoniousOptions":
        """Read the options of a run.

        Raises:
            SettingError: there is no such option, or its value is not allowed.
        """
        known = sorted(cls.__dataclass_fields__)
        unknown = sorted(set(options) - set(known))
        if unknown:
            raise SettingError(f"parsimonious has no options {unknown}; it has {known}")
        try:
            return cls(**options)
        except TypeError as error:
            raise SettingError(f"parsimonious cannot use the options {dict(options)}: {error}") from error


LEAST_PRUNE_STEPS = 2_000
"""Steps that gates need to decide themselves; a small data set gives them more of the epochs, up to half."""

SETTLED = 5.0
"""The horizon is divided by this while marginal gates settle."""


class Recipe:
    """Numbers of the measured recipe for one network, number of steps and options.

    Attributes:
        convolutional: whether the network has convolutions.
        prune_steps, fixed_steps: of the two phases.
        settle: step from which on marginal gates settle.
        ramp: steps of the prices' ramp.
        learning_rate, fixed_learning_rate, noise: of the phases.
    """

    def __init__(
        self, network: nn.Module, epoch_steps: int, settings: RunSettings, options: ParsimoniousOptions
    ) -> None:
        assert settings.epochs is not None
        self.convolutional = is_convolutional(network)
        prune_epochs = _prune_epochs(settings.epochs, epoch_steps, options.prune_share, self.convolutional)
        self.prune_steps = prune_epochs * epoch_steps
        self.fixed_steps = (settings.epochs - prune_epochs) * epoch_steps
        self._horizon = options.horizon or (400.0 if self.convolutional else 300.0)
        self.settle = round((1 - options.settle_share) * self.prune_steps)
        self.ramp = round(options.ramp_share * self.prune_steps)
        self.learning_rate = settings.learning_rate or 2e-3
        self.fixed_learning_rate = options.fixed_learning_rate or fixed_learning_rate(network)
        self.noise = settings.noise_for(network)

    def horizon(self, step: int) -> float:
        """Steps in which a useless gate falls from 1 to 0, for the step that follows `step` steps."""
        return max(1.0, self._horizon / SETTLED) if step >= self.settle else self._horizon


def _prune_epochs(epochs: int, epoch_steps: int, share: float | None, convolutional: bool) -> int:
    """Epochs in which gates learn: 10 of 40 for the perceptron on MNIST, 8 of 40 for LeNet-5, 57 of 120 on mnist5k."""
    if share is None:
        usual = (0.2 if convolutional else 0.25) * epochs
        share = max(usual, min(LEAST_PRUNE_STEPS / epoch_steps, epochs / 2)) / epochs
    return min(epochs, max(1, round(share * epochs)))

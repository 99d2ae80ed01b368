"""The settings of a run: one frozen value, checked when it is made, hashed to name the run."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from math import isfinite
from typing import Any

from torch import nn

from bayesprune.budget import Budget
from bayesprune.data import Split, steps_per_epoch
from bayesprune.errors import SettingError

TARGET_STEPS, MOST_EPOCHS = 22_000, 120
"""By default a run takes about as many steps as the measured recipe, but no more than so many epochs."""


@dataclass(frozen=True)
class RunSettings:
    """What a run depends on.

    Attributes:
        method: name in the table of methods.
        network: registered name or `package.module:callable`.
        data: name of the data set.
        seed: of initial weights, order, noise and gates.
        epochs: in all; None stands for the default for the size of the data.
        batch_size: examples a step.
        learning_rate: of the first phase; None stands for the method's default.
        noise: standard deviation of the multiplicative noise at fixed structure; None stands for 0.3 (networks
            without convolutions) or 0.1.
        density: share of the weights to keep, for methods that prune weights.
        budget: e.g. "macs=150k" or "params=5%", for methods that prune structure.
        price: nats of training log-likelihood a gate must be worth (ln gamma): one number, or "fc1=20,fc2=10".
        estimator: of the gates' gradient.
        keep: layers whose outputs stay whole.
        inputs: gates on input features: "auto", "all" or "none".
        flatten_inputs: gates on flattened features as well.
        threads: torch threads.
        weights: a safetensors file with trained weights to start from.
        widths: of the network's layers, where its factory takes them.
        options: the method's own settings.
    """

    method: str
    network: str = "lenet300"
    data: str = "mnist5k"
    seed: int = 0
    epochs: int | None = None
    batch_size: int = 100
    learning_rate: float | None = None
    noise: float | None = None
    density: float | None = None
    budget: str | None = None
    price: float | str | None = None
    estimator: str = "curvature"
    keep: tuple[str, ...] = ()
    inputs: str = "auto"
    flatten_inputs: bool = False
    threads: int = 1
    weights: str | None = None
    widths: tuple[int, ...] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, least in (("seed", 0), ("epochs", 1), ("batch_size", 1), ("threads", 1)):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
                raise SettingError(f"{name} must be an integer >= {least}, not {value!r}")
        _check_number("learning_rate", self.learning_rate, 0.0, None)
        _check_number("density", self.density, 0.0, 1.0)
        if self.noise is not None and not 0 <= self.noise < float("inf"):
            raise SettingError(f"noise must be a finite number >= 0, not {self.noise}")
        if self.inputs not in ("auto", "all", "none"):
            raise SettingError(f"inputs must be 'auto', 'all' or 'none', not {self.inputs!r}")
        if self.budget is not None:
            Budget.parse(self.budget)

    def to_json(self) -> dict[str, Any]:
        """Flat JSON; what the run's identity is the hash of."""
        document = asdict(self)
        return document | {"keep": list(self.keep), "widths": None if self.widths is None else list(self.widths)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "RunSettings":
        """What `to_json` wrote; other keys are left out."""
        known = {name: document[name] for name in cls.__dataclass_fields__ if name in document}
        widths = known.get("widths")
        return cls(**known | {"keep": tuple(known["keep"]), "widths": None if widths is None else tuple(widths)})

    def with_defaults(self, train: Split) -> "RunSettings":
        """Fill in the number of epochs for so many training examples."""
        if self.epochs is not None:
            return self
        return replace(self, epochs=default_epochs(steps_per_epoch(train, self.batch_size)))

    def total_steps(self, train: Split) -> int:
        """Optimizer steps of all epochs."""
        epoch_steps = steps_per_epoch(train, self.batch_size)
        return (self.epochs or default_epochs(epoch_steps)) * epoch_steps

    def noise_for(self, network: nn.Module) -> float:
        """The noise asked for, or the default of the kind of network."""
        if self.noise is not None:
            return self.noise
        convolutional = any(isinstance(module, nn.modules.conv._ConvNd) for module in network.modules())
        return 0.1 if convolutional else 0.3


def default_epochs(epoch_steps: int) -> int:
    """About `TARGET_STEPS` steps, at most `MOST_EPOCHS` epochs: 40 on MNIST, 120 on mnist5k."""
    return max(1, min(MOST_EPOCHS, round(TARGET_STEPS / epoch_steps)))


def _check_number(name: str, value: float | None, low: float, high: float | None) -> None:
    """Refuse numbers at or below `low`, above `high`, or not finite."""
    if value is None:
        return
    if not isfinite(value) or value <= low or (high is not None and value > high):
        limit = f"> {low:g}" + (f" and <= {high:g}" if high is not None else "")
        raise SettingError(f"{name} must be {limit}, not {value}")

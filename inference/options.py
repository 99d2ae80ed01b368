"""The parsimonious method's own settings, and the recipe's numbers that follow from network and data."""

from dataclasses import dataclass

from torch import nn

from bayesprune.data import Split, steps_per_epoch
from bayesprune.errors import SettingError, UnknownNameError
from bayesprune.inference.ramp import LearningRamp, LinearRamp, Ramp
from bayesprune.inference.removal import REMOVALS, Closed
from bayesprune.inference.warm_up import make_warm_up
from bayesprune.run.settings import (
    LEAST_SLAB,
    Options,
    RunSettings,
    check_integer,
    check_number,
    check_type,
)
from bayesprune.tasks import Likelihood
from bayesprune.training.fixed import FixedTraining
from bayesprune.training.network_kinds import network_kind


@dataclass(frozen=True)
class ParsimoniousOptions(Options):
    """The method's own settings; None stands for the default of the kind of network.

    Attributes:
        gamma: the hyper-prior's gamma, instead of a price ln gamma.
        price_kind: "equal" for each gate, or "cost" for the multiply-accumulates and parameters it carries.
        alpha: of a cost price: 1 multiply-accumulates only, 0 parameters only.
        start: inclusion probabilities at the start; by default 0.5, with fewer than 300 steps of pruning 0.9.
        prune_share: share of the epochs in which gates learn.
        horizon: steps in which a useless gate falls from 1 to 0; by default 400 with convolutions, 300 without, but
            at most a fifth of the pruning phase.
        settle_share: last share of the pruning phase, in which the horizon is a fifth.
        ramp_share: share of the pruning phase over which prices rise, from its first step on; by default they wait
            until the loss is level, then rise over 1,600 steps, but at most 0.8 of the phase with equal prices and 0.25
            with cost prices; no ramp for budgets.
        estimate_every: steps from one estimate of the gates' gradient to the next, once the network is small.
        budget_share: share of the pruning phase after which the expected cost is to be within the budget.
        shrink_every: steps between removals, and between looks at the objective; by default 100, in a short pruning
            phase a tenth of it.
        removal: when a gate's channel may go: "closed" (theta is 0), "average" (and the slow average of d + c is
            positive), or "attraction" (training's steps are bound to close it).
        round_to: every group keeps a multiple of so many channels, or all of them; whether the multiple above or
            below what is worth its price is decided at the end, by exact differences and within the budget.
        slab: standard deviation of the weights' prior.
        fixed_learning_rate, fixed_decay: learning rate and weight decay of the phase at fixed structure.
        learnt_noise: weight of the information that passes the noise at fixed structure, whose strength is then
            learnt; None keeps it as it is.
    """

    gamma: float | None = None
    price_kind: str | None = None
    alpha: float = 0.9
    start: float | None = None
    prune_share: float | None = None
    horizon: float | None = None
    settle_share: float = 0.2
    ramp_share: float | None = None
    estimate_every: int = 1
    budget_share: float = 0.8
    shrink_every: int | None = None
    removal: str = Closed.name
    round_to: int = 1
    slab: float = 0.5
    fixed_learning_rate: float | None = None
    fixed_decay: float | None = None
    learnt_noise: float | None = None

    def __post_init__(self) -> None:
        check_number("gamma", self.gamma, 0.0)
        if self.price_kind not in (None, "equal", "cost"):
            raise SettingError(f"price_kind must be 'equal' or 'cost', not {self.price_kind!r}")
        for name in ("alpha", "settle_share", "budget_share", "slab"):
            check_type(name, getattr(self, name), int | float, "a number")
        for name in ("alpha", "prune_share", "settle_share", "budget_share", "ramp_share"):
            check_number(name, getattr(self, name), 0.0, 1.0, low_allowed=True)
        check_number("start", self.start, 0.0)
        if self.start is not None and not self.start < 1:
            raise SettingError(f"start must lie strictly between 0 and 1, not {self.start}")
        check_number("horizon", self.horizon, 1.0, low_allowed=True)
        check_integer("estimate_every", self.estimate_every, 1)
        check_integer("shrink_every", 1 if self.shrink_every is None else self.shrink_every, 1)
        check_type("removal", self.removal, str, "the name of a rule")
        if self.removal not in REMOVALS:
            raise UnknownNameError("removal", self.removal, REMOVALS)
        check_integer("round_to", self.round_to, 1)
        check_number("slab", self.slab, LEAST_SLAB, low_allowed=True)
        check_number("fixed_learning_rate", self.fixed_learning_rate, 0.0)
        check_number("fixed_decay", self.fixed_decay, 0.0, low_allowed=True)
        check_number("learnt_noise", self.learnt_noise, 0.0)

    @property
    def fixed_slab(self) -> float:
        """Standard deviation of the weights' prior at fixed structure, where `fixed_decay` says nothing else."""
        return self.slab

    def check_used(self, settings: RunSettings, *, by_cost: bool) -> None:
        """Refuse options that do nothing beside the others.

        Args:
            settings: of the run.
            by_cost: whether prices follow what gates cost.

        Raises:
            SettingError: names one, and what it needs.
        """
        usual = type(self)()
        if self.alpha != usual.alpha and not by_cost:
            raise SettingError(
                f"alpha={self.alpha:g} does nothing here, since prices do not follow costs: leave it out, or give "
                "price_kind='cost' and one price"
            )
        if self.budget_share != usual.budget_share and not self.follows_budget(settings):
            raise SettingError(
                f"budget_share={self.budget_share:g} does nothing here, since prices do not follow a budget: leave it "
                "out, or give a budget and no price"
            )

    def follows_budget(self, settings: RunSettings) -> bool:
        """Whether prices are to meet the budget; where a price is given too, the budget only caps what that leaves."""
        return settings.budget is not None and settings.price is None and self.gamma is None


LEARNING_RATE = 2e-3
"""Of the weights while gates learn."""

LEAST_PRUNE_STEPS = 2_000
"""Steps that gates need to decide themselves; a small data set gives them more of the epochs, up to half."""

RAMP_STEPS, EQUAL_RAMP, COST_RAMP = 1_600, 0.8, 0.25
"""Steps of the default ramp, and the largest share of the pruning phase it may take with equal and cost prices."""

EQUAL_LATEST, COST_LATEST, LEARNING_SHARE = 0.15, 0.4, 0.025
"""Share of the pruning phase after which prices rise at the latest, and over which the loss is averaged."""

LEARNING_STEPS = 2_000
"""With equal prices a longer pruning phase waits no longer than one of so many steps: each is a step at full size.

With prices by cost LeNet-5 keeps twice the multiply-accumulates when they do not wait, at a lower error (one seed).
"""

SHORT, SHORT_START = 300, 0.9
"""With fewer steps of pruning gates start more open: a network half of whose gates are closed learns slowly."""

HORIZON_SHARE, LEAST_HORIZON = 0.2, 50.0
"""The horizon is at most this share of the pruning phase, but not below so many steps."""

SHRINK_EVERY, LOOKS = 100, 10
"""Steps between removals, and how many of them there are at least in a pruning phase."""

SETTLED = 5.0
"""The horizon is divided by this while marginal gates settle."""


@dataclass(frozen=True)
class GateDefaults:
    """What was measured to be good for a kind of network while gates learn; see `ParsimoniousOptions`."""

    price_kind: str
    prune_share: float
    horizon: float


GATE_DEFAULTS = {
    "perceptron": GateDefaults("equal", 0.175, 300.0),
    "convolutional": GateDefaults("cost", 0.2, 400.0),
}
"""By kind of network."""


class Recipe:
    """Numbers of the measured recipe for one network, training split and options.

    Attributes:
        price_kind: "equal" or "cost".
        prune_steps: of the phase in which gates learn.
        settle: step from which on marginal gates settle.
        ramp: how prices rise.
        warm_up: when deviations of the weights, where there are some, begin to learn; with the prices where these wait.
        shrink_every: steps between removals.
        start: inclusion probabilities at the start.
        learning_rate: while gates learn.
        fixed: training at fixed structure.
    """

    def __init__(
        self,
        network: nn.Module,
        train: Split,
        settings: RunSettings,
        options: ParsimoniousOptions,
        likelihood: Likelihood | None = None,
    ) -> None:
        assert settings.epochs is not None
        epoch_steps = steps_per_epoch(train, settings.batch_size)
        usual = GATE_DEFAULTS[network_kind(network)]
        self.price_kind = options.price_kind or usual.price_kind
        prune_epochs = _prune_epochs(settings.epochs, epoch_steps, options.prune_share, usual.prune_share)
        self.prune_steps = prune_epochs * epoch_steps
        self._horizon = options.horizon or min(usual.horizon, max(LEAST_HORIZON, HORIZON_SHARE * self.prune_steps))
        self.start = options.start or (0.5 if self.prune_steps >= SHORT else SHORT_START)
        self.shrink_every = options.shrink_every or min(SHRINK_EVERY, max(1, self.prune_steps // LOOKS))
        self.settle = round((1 - options.settle_share) * self.prune_steps)
        self.ramp = self._ramp(settings, options)
        self.warm_up = self.ramp if isinstance(self.ramp, LearningRamp) else make_warm_up(self.prune_steps)
        self.learning_rate = settings.learning_rate or LEARNING_RATE
        self.fixed = FixedTraining.of(
            settings, network, train, epochs=settings.epochs - prune_epochs, slab=options.fixed_slab,
            learning_rate=options.fixed_learning_rate, decay=options.fixed_decay, likelihood=likelihood,
        )  # fmt: skip

    def _ramp(self, settings: RunSettings, options: ParsimoniousOptions) -> Ramp:
        """How prices rise: the weights must learn something before units are judged.

        Prices that follow a budget need no ramp: they are low as long as the path to the budget is above the cost.
        """
        if options.ramp_share is not None:
            return LinearRamp(round(options.ramp_share * self.prune_steps))
        if options.follows_budget(settings):
            return LinearRamp(0)
        equal = self.price_kind == "equal"
        share, latest = (EQUAL_RAMP, EQUAL_LATEST) if equal else (COST_RAMP, COST_LATEST)
        steps = min(RAMP_STEPS, round(share * self.prune_steps))
        learning = min(self.prune_steps, LEARNING_STEPS) if equal else self.prune_steps
        return LearningRamp(steps, round(latest * learning), max(5.0, LEARNING_SHARE * learning))

    def horizon(self, step: int) -> float:
        """Steps in which a useless gate falls from 1 to 0, for the step that follows `step` steps."""
        return max(1.0, self._horizon / SETTLED) if step >= self.settle else self._horizon


def _prune_epochs(epochs: int, epoch_steps: int, share: float | None, usual: float) -> int:
    """Epochs in which gates learn: 7 of 40 on MNIST, 57 of 120 on mnist5k."""
    if share is None:
        share = max(usual * epochs, min(LEAST_PRUNE_STEPS / epoch_steps, epochs / 2)) / epochs
    return min(epochs, max(1, round(share * epochs)))

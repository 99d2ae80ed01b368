"""Settings of the methods that close sections."""

from dataclasses import dataclass
from typing import Any

from bayesprune.errors import SettingError
from bayesprune.inference.options import ParsimoniousOptions
from bayesprune.inference.sections.differences import AT_ONCE
from bayesprune.run.settings import LEAST_SLAB, Options, check_integer, check_number, check_type

SECTION_START = 0.9
"""Inclusion probability of sections at the start: half the sections away, a deep network learns slowly."""


@dataclass(frozen=True)
class LayerGateOptions(Options):
    """The settings of layer gates; None stands for the default of the kind of network.

    Attributes:
        start: inclusion probability of every section at the start.
        prune_share: share of the epochs in which gates learn.
        horizon: steps in which a useless section falls from 1 to 0; by default 400 with convolutions, 300 without, but
            at most a fifth of the pruning phase.
        settle_share: last share of the pruning phase, in which the horizon is a fifth.
        ramp_share: share of the pruning phase over which prices rise, from its first step on; by default they wait
            until the loss is level, then rise over 1,600 steps, but at most 0.8 of the phase.
        shrink_every: steps between removals, and between looks at the objective; by default 100, in a short pruning
            phase a tenth of it.
        sections_per_step: sections whose exact difference is taken at a step, at most, in turn; 0 for all.
        slab: standard deviation of the weights' prior.
        fixed_learning_rate, fixed_decay: learning rate and weight decay of the phase at fixed structure.
    """

    start: float = SECTION_START
    prune_share: float | None = None
    horizon: float | None = None
    settle_share: float = 0.2
    ramp_share: float | None = None
    shrink_every: int | None = None
    sections_per_step: int = AT_ONCE
    slab: float = 0.5
    fixed_learning_rate: float | None = None
    fixed_decay: float | None = None

    def __post_init__(self) -> None:
        check_type("start", self.start, int | float, "a number")
        check_number("start", self.start, 0.0)
        if not self.start < 1:
            raise SettingError(f"start must lie strictly between 0 and 1, not {self.start}")
        for name in ("settle_share", "slab"):
            check_type(name, getattr(self, name), int | float, "a number")
        for name in ("prune_share", "settle_share", "ramp_share"):
            check_number(name, getattr(self, name), 0.0, 1.0, low_allowed=True)
        check_number("horizon", self.horizon, 1.0, low_allowed=True)
        check_integer("shrink_every", 1 if self.shrink_every is None else self.shrink_every, 1)
        check_integer("sections_per_step", self.sections_per_step, 0)
        check_number("slab", self.slab, LEAST_SLAB, low_allowed=True)
        check_number("fixed_learning_rate", self.fixed_learning_rate, 0.0)
        check_number("fixed_decay", self.fixed_decay, 0.0, low_allowed=True)

    @property
    def recipe(self) -> ParsimoniousOptions:
        """What the recipe's numbers follow from."""
        same = {name: getattr(self, name) for name in vars(self) if name != "sections_per_step"}
        return ParsimoniousOptions(price_kind="equal", **same)


@dataclass(frozen=True)
class ComplexityOptions(ParsimoniousOptions):
    """The settings of units and layers together: `nu`, `beta` and `alpha` are the three trade-offs.

    Attributes:
        nu: accuracy against size: nats per training example that the whole network is priced at; with a price p, p
            times the number of units over the number of examples; by default the same with the default price of a unit,
            but at most 1.
        beta: layers against units: a section costs beta times its share of the network while that is whole; above 1
            sections go first, below 1 units.
        alpha: compute against parameters: 1 prices multiply-accumulates only, 0 parameters only.
        sections_per_step: sections whose exact difference is taken at a step, at most, in turn; 0 for all.
    """

    nu: float | None = None
    beta: float = 1.0
    alpha: float = 0.9
    sections_per_step: int = AT_ONCE

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("nu", self.nu, 0.0)
        check_type("beta", self.beta, int | float, "a number")
        check_number("beta", self.beta, 0.0)
        check_integer("sections_per_step", self.sections_per_step, 0)
        if self.price_kind == "equal":
            raise SettingError(
                "price_kind='equal' is not for complexity-aware, whose prices follow costs: leave it out"
            )
        if self.round_to != 1:
            raise SettingError(
                f"round_to={self.round_to} is not for complexity-aware, where whole sections go: leave it out"
            )

    def follows_budget(self, settings: Any) -> bool:
        """Whether prices are to meet the budget; where nu is given, the budget only caps what that leaves."""
        return super().follows_budget(settings) and self.nu is None

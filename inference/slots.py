"""Ready-made parts for `Variational`: priors of gates, steps of gates, rules of removal; and what each part must be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from bayesprune.errors import SettingError
from bayesprune.inference.guides import GateGuide
from bayesprune.inference.objective import guide_of
from bayesprune.inference.projected import ProjectedGateDescent
from bayesprune.inference.removal import RemovalRule
from bayesprune.inference.spike_slab.inclusion import ALWAYS
from bayesprune.inference.updates import hold_last, of_gates, remove
from bayesprune.inference.user_parts import asked
from bayesprune.inference.weight_laws import travel_rate
from bayesprune.models.priors.gates import FixedGatePrior, FlatteningGatePrior
from bayesprune.run.settings import check_integer, check_number, check_type
from bayesprune.structure import Structure
from bayesprune.training import TrainState, adam
from bayesprune.training.phase import Update


@dataclass(frozen=True)
class FixedInclusion:
    """`z_j ~ Bernoulli(inclusion)` for every unit.

    Attributes:
        inclusion: prior probability that a gate is open, strictly between 0 and 1.
        inputs: whether gates of inputs and flattened features have this prior too; else they are as good as certain.
    """

    inclusion: float = 1e-3
    inputs: bool = False

    def __post_init__(self) -> None:
        check_type("inclusion", self.inclusion, int | float, "a number")
        check_number("inclusion", self.inclusion, 0.0)
        if not self.inclusion < 1:
            raise SettingError(f"inclusion must lie strictly between 0 and 1, not {self.inclusion}")
        check_type("inputs", self.inputs, bool, "true or false")

    def __call__(self, structure: Structure) -> FixedGatePrior:
        """The prior over the present gates [J]."""
        parts = [
            torch.full((len(group.kept),), self.inclusion if self.inputs or group.kind == "channels" else ALWAYS)
            for group in structure.groups
        ]
        return FixedGatePrior(torch.cat(parts))


@dataclass(frozen=True)
class Flattening:
    """`pi_j ~ FlatteningHyperPrior(e^price)`, `z_j ~ Bernoulli(pi_j)`.

    Attributes:
        price: ln gamma, nats of the training log-likelihood that a gate must be worth; None for the usual price of so
            many examples.
    """

    price: float | None = None

    def __post_init__(self) -> None:
        check_number("price", self.price, 0.0)

    def __call__(self, structure: Structure) -> FlatteningGatePrior:
        """The prior over the present gates [J]."""
        if self.price is None:
            raise SettingError("Flattening() has no price of its own outside of a run: give Flattening(price=5.0)")
        return FlatteningGatePrior(torch.full((structure.gate_count,), float(self.price)))


class GateStep(Protocol):
    """How gates move: the slot `step`."""

    def optimizer(self, guide: GateGuide, steps: int, rule: RemovalRule | None) -> Optimizer:
        """The optimizer of what the guide's gates are computed from, for a phase of so many steps."""
        ...

    def __call__(self, state: TrainState) -> None:
        """After every step: bring the gates back to where they may be."""
        ...


@dataclass(frozen=True)
class AdamSteps:
    """Adam on what the gates are computed from, such as logits; prices need not be linear.

    Attributes:
        learning_rate: by default 70 over the steps of the phase, but between 1e-3 and 0.05.
    """

    learning_rate: float | None = None

    def __post_init__(self) -> None:
        check_number("learning_rate", self.learning_rate, 0.0)

    def optimizer(self, guide: GateGuide, steps: int, rule: RemovalRule | None = None) -> Optimizer:
        """See `GateStep.optimizer`."""
        return adam(self.learning_rate or travel_rate(steps))(learnt_gates(guide))

    def __call__(self, state: TrainState) -> None:
        """Hold the logits where the guide has limits for them."""
        hold: Callable[[], None] | None = getattr(guide_of(state), "hold", None)
        if hold is not None:
            hold()


@dataclass(frozen=True)
class ProjectedSteps:
    """Steps measured in prices, projected onto [0, 1] (`ProjectedGateDescent`): gates end at 0 or 1.

    It needs linear prices, those of `Flattening`, and a guide whose theta is a parameter itself.

    Attributes:
        horizon: steps in which a useless gate falls from 1 to 0; by default 300, at most a fifth of the phase.
    """

    horizon: float | None = None

    def __post_init__(self) -> None:
        check_number("horizon", self.horizon, 1.0, low_allowed=True)

    def optimizer(self, guide: GateGuide, steps: int, rule: RemovalRule | None = None) -> Optimizer:
        """See `GateStep.optimizer`."""
        horizon = self.horizon or min(300.0, max(50.0, 0.2 * steps))
        return ProjectedGateDescent([guide.theta], horizon, slow_smoothing=getattr(rule, "slow_smoothing", None))

    def __call__(self, state: TrainState) -> None:
        """Keep one gate open wherever all would close."""
        hold_last(state)


QUIET = "quiet"
"""Name of `QuietCounts` among the state's modules."""


class QuietCounts(nn.Module):
    """For how many steps each gate [J] has been practically closed; saved, and cut along with the gates."""

    def __init__(self, gates: int) -> None:
        super().__init__()
        self.steps = nn.Parameter(torch.zeros(gates), requires_grad=False)

    def gate_parameters(self) -> list[nn.Parameter]:
        """What is cut along."""
        return [self.steps]


@dataclass(frozen=True)
class Quiet:
    """Remove a gate whose inclusion probability has been low for long: for guides in which none is ever 0.

    Attributes:
        below: inclusion probability at which a gate counts as practically closed.
        steps: for which it was.
    """

    below: float = 0.02
    steps: int = 500
    slow_smoothing = None

    def __post_init__(self) -> None:
        check_type("below", self.below, int | float, "a number")
        check_number("below", self.below, 0.0, 0.5)
        check_integer("steps", self.steps, 1)

    def prepare(self, state: TrainState) -> None:
        """Before the first step."""
        state.modules[QUIET] = QuietCounts(state.structure.gate_count)

    @torch.no_grad()
    def observe(self, state: TrainState) -> None:
        """Count."""
        counts = self._counts(state)
        counts.copy_(torch.where(guide_of(state).theta < self.below, counts + 1, 0.0))

    def removable(self, state: TrainState) -> Tensor:
        """Gates [J] that were quiet for so long."""
        return self._counts(state) >= self.steps

    def _counts(self, state: TrainState) -> Tensor:
        module = state.modules[QUIET]
        assert isinstance(module, QuietCounts)
        return module.steps.detach()


@dataclass(frozen=True)
class RemoveBy:
    """An update of the loop: every so many steps remove what a rule lets go, never a group's last channel.

    Attributes:
        rule: of removal.
        every: steps.
    """

    rule: RemovalRule
    every: int

    def __call__(self, state: TrainState) -> None:
        """Let the rule see the step; remove when it is time."""
        rule = self.rule
        asked("removal.observe", rule, state, rule.observe, state)
        if state.phase_step % self.every == 0:
            gone = asked("removal.removable", rule, state, rule.removable, state)
            remove(state, ~of_gates(state, "removal.removable(state)", gone))


def updates_of(step: GateStep, rule: RemovalRule | None, every: int) -> Sequence[Update]:
    """What is done after every step."""
    return [step] if rule is None else [step, RemoveBy(rule, every)]


def learnt_gates(guide: GateGuide) -> list[nn.Parameter]:
    """What a guide's gates are computed from and learns."""
    return [parameter for parameter in guide.gate_parameters() if parameter.requires_grad]


def learnt_beside(guide: GateGuide) -> list[nn.Parameter]:
    """All else that a guide learns: deviations, and whatever a guide of the user's has."""
    gates: set[int] = {id(parameter) for parameter in guide.gate_parameters()}
    found: list[Any] = [parameter for parameter in guide.parameters() if parameter.requires_grad]
    return [parameter for parameter in found if id(parameter) not in gates]

"""What passes between floors: the `Method` protocol, its `Plan`, and the posterior over structure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol

from torch import Tensor

from bayesprune.data import Data
from bayesprune.run.settings import RunSettings
from bayesprune.training import Objective, Phase, TrainState


class Reason(IntEnum):
    """Why a gate is open or closed in the end."""

    OPEN = 0
    CLOSED_BY_PRICE = 1
    CLOSED_AT_END = 2
    CUT_FOR_BUDGET = 3
    GONE_BEFORE = 4  # by an earlier run, on whose network this one began


@dataclass(frozen=True)
class GatePosterior:
    """What a Bayesian method says of the structure; gates group after group, in the original numbering.

    Attributes:
        inclusion_probability: theta [J] before the last decisions.
        decided: final gates [J], 0 or 1.
        trace: theta [E, J] after every epoch of pruning.
        steps: optimizer steps [E] at those times.
        reason: why each gate [J] is open or closed, as `Reason`.
        price: nats [J] by which the price of all that is open falls when an open gate alone closes, 0 where a gate is
            closed; None where prices only served to meet a budget, and in runs of earlier versions.
        last_rise: nats [J] by which closing each gate raised N times the loss, by the averaged gradient with all other
            gates at random, when the gate was last there; NaN where none was taken. All that is known of channels that
            are gone; no exact flip. None in runs of earlier versions.
    """

    inclusion_probability: Tensor
    decided: Tensor
    trace: Tensor
    steps: Tensor
    reason: Tensor
    price: Tensor | None = None
    last_rise: Tensor | None = None

    def count(self, reason: Reason) -> int:
        """How many gates are open or closed for this reason."""
        return int((self.reason == int(reason)).sum())

    @property
    def reopened(self) -> int:
        """How many gates are open in the end although they were more likely closed."""
        return int(((self.decided > 0) & (self.inclusion_probability <= 0.5)).sum())

    @property
    def decided_at_end(self) -> int:
        """How many gates still lay strictly between 0 and 1 and needed the final decision."""
        theta = self.inclusion_probability
        return int(((theta > 0) & (theta < 1)).sum())


@dataclass(frozen=True)
class Plan:
    """How a method trains and prunes one network.

    Attributes:
        phases: for the training loop.
        describe: adds entries to each epoch's record.
        posterior: after the last phase, what was learnt of the structure; None for deterministic methods.
        dense: what dense training minimises, to whose cost this one's is compared; None for the usual
            (`FixedTraining.objective`).
        notes: what the user should know before training begins, a line each.
        review: after the last phase, what the user should know of the result, a line each.
        finish: after the last phase, what makes the state's network the one that is measured and kept, such as an
            average of several; None where it is that already.
        ends_pruned: whether the method is to end with pruning; else a run without steps after it says so.
    """

    phases: Sequence[Phase]
    describe: Callable[[TrainState], dict[str, Any]] | None = None
    posterior: Callable[[TrainState], GatePosterior] | None = None
    dense: Objective | None = None
    notes: Sequence[str] = ()
    review: Callable[[TrainState], Sequence[str]] | None = None
    finish: Callable[[TrainState], None] | None = None
    ends_pruned: bool = False


class Method(Protocol):
    """Turns a network and data into a pruned network; one protocol for Bayesian and deterministic methods."""

    @property
    def name(self) -> str:
        """In the one table of methods."""
        ...

    @property
    def summary(self) -> str:
        """One line."""
        ...

    @property
    def takes(self) -> frozenset[str]:
        """Which of "density", "budget", "price", "estimator" it can use."""
        ...

    @property
    def needs(self) -> frozenset[str]:
        """Of which it needs one: a size that the user (or another run) gives."""
        ...

    @property
    def options(self) -> type[Any]:
        """The dataclass of its own settings."""
        ...

    def normal(self, settings: RunSettings) -> RunSettings:
        """The same request in one form: without options that are as they would be anyway.

        Raises:
            SettingError: an option is unknown or has a value that cannot be used.
        """
        ...

    def plan(self, state: TrainState, data: Data, settings: RunSettings) -> Plan:
        """Phases for this state; may add modules to it. Settings have their defaults filled in."""
        ...

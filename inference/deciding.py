"""The end of pruning: every gate is decided, by its probability and by exact differences of the objective."""

from dataclasses import dataclass

import torch
from torch import Tensor

from bayesprune.budgets.limits import Limits
from bayesprune.budgets.measured import measured_within
from bayesprune.inference.differences import Choice, ExactDifferences
from bayesprune.inference.last_seen import look
from bayesprune.inference.multiples import round_counts
from bayesprune.inference.objective import guide_of
from bayesprune.inference.visited import Objective, Sample
from bayesprune.inference.watch import Watch
from bayesprune.run.method import Reason
from bayesprune.training import Memory, TrainState
from bayesprune.training.snapshot import put_back, take


@dataclass
class Decision(Memory):
    """What was decided at the end of pruning, for the gates at the start.

    Attributes:
        theta: inclusion probabilities [J] before.
        reason: why each gate is open or closed [J], as `Reason`.
    """

    theta: Tensor | None = None
    reason: Tensor | None = None


class Decide:
    """A phase's start: decide all gates, and remove the channels of closed ones.

    Gates are open where theta > 1/2. Then single gates are closed or opened, one after the other, wherever that lowers
    the objective by more than its standard error, and for a budget until it is met. If the best network visited does
    better when it is decided so, it is taken instead.

    Args:
        watch: of the pruning phase: it knows the price, and the best network visited.
        sample: training examples for differences.
        limits: of budgets.
        free: whether the price only served to meet the budget, so that what fits in costs nothing.
        round_to: every group keeps a multiple of so many channels.
        began: the gates, of all there ever were, that the run began with; None for all.
    """

    differences = ExactDifferences

    def __init__(
        self,
        watch: Watch,
        sample: Sample,
        limits: Limits | None = None,
        *,
        free: bool = False,
        round_to: int = 1,
        began: Tensor | None = None,
    ) -> None:
        self.watch, self.sample, self.limits, self.free = watch, sample, limits, free
        self.round_to, self.began = round_to, began

    def __call__(self, state: TrainState) -> None:
        """Decide."""
        choice = self._within(state)
        look(state)
        settle(state, choice, self.began)

    def _within(self, state: TrainState) -> Choice:
        """The gates to open, measured where there is a budget of latency."""
        if self.limits is None:
            return self._choose(state)
        choices: list[Choice] = []

        def choose() -> Tensor:
            choices.append(self._choose(state))
            return choices[-1].open

        taken = measured_within(state, self.limits, choose)
        return next(choice for choice in choices if choice.open is taken)

    def _choose(self, state: TrainState) -> Choice:
        """The gates to open; the state is the one to open them in."""
        chosen, now = self.decided(state)
        if self.watch.has_risen(state):
            present = take(state)
            self.watch.go_back(state)
            other, best = self.decided(state)
            if best.value < now.value:
                return other
            put_back(state, present)
        return chosen

    def decided(self, state: TrainState) -> tuple[Choice, Objective]:
        """Which gates to open in the network as it is, and the objective of that."""
        with self.differences(state, self.sample, self.watch.price, free=self.free) as look:
            chosen = Choice(look.threshold())
            if self.limits is not None:
                look.fit(chosen, self.limits)
                if self.free:
                    look.fill(chosen, self.limits)
            look.improve(chosen, self.limits)
            chosen.open = state.structure.consistent(chosen.open)
            round_counts(look, chosen, self.round_to, self.limits)
            if self.limits is not None and self.free:
                look.fill_up(chosen, self.limits, self.round_to)
            return chosen, look.objective(chosen.open)


def settle(state: TrainState, choice: Choice, began: Tensor | None = None, least: float = 0.0) -> None:
    """Remember what was decided and why, shrink, and open for good what is left.

    Args:
        state: of the run.
        choice: the gates to open, and those that a budget closes.
        began: the gates, of all there ever were, that the run began with; None for all.
        least: gates whose inclusion probability is at most this count as closed before the end.
    """
    memory, theta = state.memory(Decision), guide_of(state).theta.detach().cpu().clone()
    memory.theta = full(state, theta)
    reason = torch.full((state.structure.initial_gate_count,), int(Reason.GONE_BEFORE), dtype=torch.uint8)
    reason[slice(None) if began is None else began] = int(Reason.CLOSED_BY_PRICE)
    present = torch.where(theta > least, int(Reason.CLOSED_AT_END), int(Reason.CLOSED_BY_PRICE)).to(torch.uint8)
    present[choice.cut] = int(Reason.CUT_FOR_BUDGET)
    present[choice.open] = int(Reason.OPEN)
    reason[state.structure.original_gates()] = present
    memory.reason = reason
    if not bool(choice.open.all()):
        state.shrink(choice.open)
    guide_of(state).open_all()


def full(state: TrainState, theta: Tensor) -> Tensor:
    """theta [J at the start] in float32: 0 where the gate was removed."""
    whole = torch.zeros(state.structure.initial_gate_count, dtype=torch.float32)
    whole[state.structure.original_gates()] = theta.detach().cpu().float()
    return whole

"""Watching the objective while gates learn: what made it worse is undone, and gates go on more slowly."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from bayesprune.inference.objective import guide_of
from bayesprune.inference.visited import Objective, Sample
from bayesprune.models.prices import Price
from bayesprune.structure import Gating
from bayesprune.training import Memory, TrainState
from bayesprune.training.snapshot import put_back, take

ERRORS, SHARE = 2.0, 0.25
"""A rise counts when it is more than so many standard errors, and more than so large a share of the objective."""

SLOWER = 2.0
"""After a rise that was undone the horizon is so many times as long."""


@dataclass
class Best(Memory):
    """The best network visited.

    Attributes:
        losses, prices: its objective: the losses of the sample, and the price at factor 1 in nats; no losses before
            the first visit.
        gates: those of the start [J] that were open; looked at on the CPU.
        snapshot: the state it was found in.
        slower: what the horizon is multiplied by.
        undone: how often a rise was undone.
    """

    on_device = True
    losses: Tensor | None = None
    prices: float = 0.0
    gates: Tensor | None = None
    snapshot: dict[str, Any] = field(default_factory=dict)
    slower: float = 1.0
    undone: int = 0


class Watch:
    """An update of the loop that keeps the best network visited and goes back to it when the objective has risen.

    What is looked at is the objective (`visited.Objective`) of the network that the gates stand for: with decided
    gates (open where theta > 1/2) or with gates at their mean, whichever is lower. The former is what would be kept
    were training to end now; the latter is what the weights are being trained for.

    Args:
        sample: training examples to look at.
        price: of what is open.
        every: steps from one look to the next.
    """

    def __init__(self, sample: Sample, price: Price, every: int) -> None:
        self.sample, self.price, self.every = sample, price, every

    def __call__(self, state: TrainState) -> None:
        """Look when it is time."""
        if state.phase_step % self.every == 0:
            with state.counted():
                self.look(state)

    def look(self, state: TrainState) -> None:
        """Keep the state if it is the best; go back to the best one if the objective has risen since."""
        now, best = self.objective(state), state.memory(Best)
        rise, error = (0.0, 0.0) if best.losses is None else now.above(self.best(state))
        if rise <= 0:
            self._keep(state, now)
        elif rise > max(ERRORS * error, SHARE * abs(self.best(state).value)) and self._has_closed(state):
            self.go_back(state)
            best.slower, best.undone = best.slower * SLOWER, best.undone + 1

    def has_risen(self, state: TrainState) -> bool:
        """Whether the objective is above that of the best network visited, by more than the error."""
        if state.memory(Best).losses is None:
            return False
        rise, error = self.objective(state).above(self.best(state))
        return rise > ERRORS * error

    def objective(self, state: TrainState) -> Objective:
        """That of the network as it is."""
        theta = guide_of(state).theta.detach()
        decided = state.structure.protect(theta > 0.5, theta)
        gating = Gating(state.network, state.structure)
        try:
            both = [self._objective(state, gating, gates) for gates in (decided.to(theta.dtype), theta)]
        finally:
            gating.remove()
        return min(both, key=lambda one: one.value)

    def _objective(self, state: TrainState, gating: Gating, gates: Tensor) -> Objective:
        """At gates [J], through a gating that is on the network."""
        nats = self.price.total(state.structure, state.expected_cost(), gates)
        return Objective(self.sample.gated_losses(state, gating, gates), nats, self.sample.size)

    def best(self, state: TrainState) -> Objective:
        """That of the best network visited, at the prices of now."""
        best = state.memory(Best)
        assert best.losses is not None
        return Objective(best.losses, best.prices * self.price.factor, self.sample.size)

    def go_back(self, state: TrainState) -> None:
        """Put the best state visited back."""
        put_back(state, state.memory(Best).snapshot)

    def _keep(self, state: TrainState, now: Objective) -> None:
        """Remember the state as the best."""
        best = state.memory(Best)
        best.losses, best.prices = now.losses.clone(), now.price / self.price.factor
        best.gates, best.snapshot = _open(state), take(state)

    def _has_closed(self, state: TrainState) -> bool:
        """Whether a gate is closed that was open in the best network: else only the weights have moved."""
        gates = state.memory(Best).gates
        return gates is not None and bool((gates.cpu() & ~_open(state)).any())


def _open(state: TrainState) -> Tensor:
    """Gates of the start [J] that are open now: bool."""
    gates = torch.zeros(state.structure.initial_gate_count, dtype=torch.bool)
    gates[state.structure.original_gates()] = guide_of(state).theta.detach().cpu() > 0.5
    return gates


def slower(state: TrainState) -> float:
    """What the horizon is multiplied by, because rises were undone."""
    return state.memory(Best).slower

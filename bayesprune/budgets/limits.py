"""The numbers that budgets allow, and how much of them a gated network uses."""

from dataclasses import dataclass

import torch
from torch import Tensor

from bayesprune.budgets.predicted import predicted_latency, table_of
from bayesprune.devices import wide
from bayesprune.run.budget import LATENCY, Budget
from bayesprune.training import TrainState

SLACK = 0.03
"""A network may lie under its budget by this share of it; more only where the next channel does not fit."""


@dataclass(frozen=True)
class Limits:
    """One or several budgets and the numbers that they allow.

    Attributes:
        budgets: at most one of each kind.
        allowed: the number of each: multiply-accumulates, parameters or milliseconds, for one sample.
    """

    budgets: tuple[Budget, ...]
    allowed: tuple[float, ...]

    @property
    def has_latency(self) -> bool:
        """Whether one of them is about latency."""
        return any(budget.kind == LATENCY for budget in self.budgets)

    def costs(self, state: TrainState, theta: Tensor) -> Tensor:
        """Expected cost [K] of each kind at inclusion probabilities theta [J]; differentiable."""
        theta = wide(theta)
        macs, params = state.expected_cost()(theta)
        found = [
            predicted_latency(state, theta) if budget.kind == LATENCY else budget.part(macs, params)
            for budget in self.budgets
        ]
        return torch.stack(found)

    def numbers(self, state: TrainState) -> tuple[float, ...]:
        """The numbers allowed; a share of the latency is one of that which was measured with the run's table."""
        pairs = zip(self.budgets, self.allowed, strict=True)
        return tuple(
            budget.amount * table_of(state).dense if budget.kind == LATENCY and budget.relative else allowed
            for budget, allowed in pairs
        )

    def shares(self, state: TrainState, theta: Tensor) -> Tensor:
        """The share of each budget [K] that the network uses at theta [J]; differentiable, 1 at the limit."""
        costs = self.costs(state, theta)
        return costs / costs.new_tensor(self.numbers(state))

    def used(self, state: TrainState, theta: Tensor) -> Tensor:
        """The share of its budget that the network uses, of several the largest; differentiable, 1 at the limit."""
        return self.shares(state, theta).max()

    def slopes(self, state: TrainState, open_gates: Tensor) -> Tensor:
        """The share of each budget [K, J] that opening or closing each gate alone changes, where so many are open.

        Exact for multiply-accumulates and parameters, which are linear in every gate.
        """
        variable = open_gates.double().requires_grad_(True)
        with torch.enable_grad():
            shares = self.shares(state, variable)
            return torch.stack([torch.autograd.grad(one, variable, retain_graph=True)[0] for one in shares])

    def meets(self, state: TrainState, theta: Tensor) -> bool:
        """Whether no expected cost is above its number."""
        costs = self.costs(state, theta).tolist()
        return all(cost <= allowed for cost, allowed in zip(costs, self.numbers(state), strict=True))

    def whole(self, state: TrainState) -> tuple[float, ...]:
        """What the network cost at the start, of each kind."""
        latency = table_of(state).dense if self.has_latency else 0.0
        return tuple(budget.spent(state.initial_macs, state.initial_params, latency) for budget in self.budgets)

    def share_now(self, state: TrainState) -> float:
        """The largest share of a budget that the network as it is uses, all its channels being open."""
        return float(self.used(state, torch.ones(state.structure.gate_count)))

    def on_path(self, state: TrainState, done: float) -> "Limits":
        """Limits on the way from the whole cost (done = 0), geometrically, to these (done = 1)."""
        pairs = zip(self.whole(state), self.numbers(state), strict=True)
        return Limits(self.budgets, tuple(whole * min(1.0, number / whole) ** done for whole, number in pairs)).fixed()

    def fixed(self) -> "Limits":
        """The same numbers, none of them a share any more."""
        return Limits(tuple(Budget(one.kind, 1.0, relative=False) for one in self.budgets), self.allowed)

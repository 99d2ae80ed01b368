"""Meeting a budget: a controller on the price while gates learn, and the last removals when they are decided."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bayesprune.budget import Budget
from bayesprune.inference.objective import guide_of
from bayesprune.inference.updates import decide, full_theta, remove
from bayesprune.models.prices import Price
from bayesprune.structure import ExpectedCost, Structure
from bayesprune.training import TrainState

GAIN, MOST, LEAST = 0.02, 100.0, 0.01
"""Relative change of the price a step, and how far it may go from where it started."""


class BudgetControl:
    """A price times a factor that follows the expected cost along a path down to the budget.

    The path falls geometrically from the cost at the start to the budget at step `steps`; while the expected cost
    lies above it the price rises, else it falls. Closed gates do not come back, so the path must be approached from
    above.

    Args:
        price: at factor 1.
        limit: the budget and the number it allows.
        steps: when the budget is to be met.
    """

    def __init__(self, price: Price, limit: tuple[Budget, float], steps: int) -> None:
        self._price, (self._budget, self._limit), self._steps = price, limit, max(steps, 1)
        self._factor = 1.0

    def log_gamma(self, structure: Structure, cost: ExpectedCost, theta: Tensor) -> Tensor:
        """Prices now."""
        self._expected = self._budget.spent(*(float(part) for part in cost(theta)))
        return self._price.log_gamma(structure, cost, theta) * self._factor

    def update(self, state: TrainState) -> None:
        """Follow the path; the factor is kept in the state, so that a resumed run goes on with it."""
        self._factor = float(state.values.get("price_factor", 1.0))
        start = self._budget.spent(state.initial_macs, state.initial_params)
        done = min(1.0, state.phase_step / self._steps)
        path = start * (self._limit / start) ** done
        change = 1 + GAIN if self._expected > path else 1 / (1 + GAIN)
        self._factor = min(MOST, max(LEAST, self._factor * change))
        state.values["price_factor"] = self._factor


def meet_budget(limit: tuple[Budget, float]) -> Callable[[TrainState], None]:
    """Decide the gates, then close the least probable ones for their cost until the budget is met."""
    budget, allowed = limit

    def start(state: TrainState) -> None:
        evidence = guide_of(state).theta.detach().clone()
        kept = state.structure.protect(evidence > 0.5, evidence)
        order = removal_order(state, evidence)
        cost = _cost(state)
        for gate in order.tolist():
            if budget.spent(*(float(part) for part in cost(kept.float()))) <= allowed:
                break
            trial = kept.clone()
            trial[gate] = False
            kept = trial if torch.equal(state.structure.protect(trial, evidence), trial) else kept
        with torch.no_grad():
            state.values["theta"] = full_theta(state)
            guide_of(state).theta.copy_(kept.float())
        theta = state.values["theta"]
        decide(state)
        state.values["theta"] = theta

    return start


def removal_order(state: TrainState, evidence: Tensor) -> Tensor:
    """Gates from the first to be closed to the last: least benefit for what they cost.

    The benefit is what the averaged gradient says (theta's distance to 1 first, then m/c).
    """
    from bayesprune.inference.updates import _gate_optimizer

    if "gates" in state.optimizers:
        average = _gate_optimizer(state).state.get(guide_of(state).theta, {}).get("average")
        if average is not None:
            return (evidence - average / (average.abs().max() + 1e-12)).argsort()
    return evidence.argsort()


def smallest_cost(state: TrainState, budget: Budget) -> float:
    """What the network costs with one channel a group."""
    least = torch.zeros(state.structure.gate_count)
    for place in state.structure.slices().values():
        least[place.start] = 1.0
    return budget.spent(*(float(part) for part in _cost(state)(least)))


def _cost(state: TrainState) -> ExpectedCost:
    """Expected cost of the network as it is."""
    positions = {layer.name: layer.positions for layer in state.layers()}
    return ExpectedCost(state.network, state.structure, positions)


__all__ = ["BudgetControl", "meet_budget", "remove", "smallest_cost"]

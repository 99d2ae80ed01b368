"""Meeting a budget: a controller on the price while gates learn, and the last removals when they are decided."""

import torch
from torch import Tensor

from bayesprune.inference.objective import GATES, gate_optimizer, guide_of
from bayesprune.inference.updates import decide, full_theta
from bayesprune.models.prices import Price
from bayesprune.pruners import budgeted
from bayesprune.run.budget import Budget
from bayesprune.structure import ExpectedCost, Structure
from bayesprune.training import Start, TrainState

GAIN, MOST, LEAST = 0.02, 100.0, 0.01
"""Relative change of the price a step, and how far it may go from where it started."""

Limit = tuple[Budget, float]
"""A budget and the number it allows."""


class BudgetControl:
    """A price times a factor that follows the expected cost along a path down to the budget.

    The path falls geometrically from the cost at the start to the budget at step `steps`; while the expected cost
    lies above it the price rises, else it falls. Closed gates do not come back, so the path must be approached from
    above, and below the budget prices are next to nothing. The factor lives in the state, so that a resumed run goes
    on with it.

    Args:
        price: at factor 1.
        limit: the budget and the number it allows.
        steps: when the budget is to be met.
        state: of the run.
    """

    def __init__(self, price: Price, limit: Limit, steps: int, state: TrainState) -> None:
        self._price, (self._budget, self._limit), self._steps = price, limit, max(steps, 1)
        self._state, self._expected = state, 0.0

    def log_gamma(self, structure: Structure, cost: ExpectedCost, theta: Tensor) -> Tensor:
        """Prices now."""
        self._expected = _spent(self._budget, cost, theta)
        return self._price.log_gamma(structure, cost, theta) * self._factor

    def update(self, state: TrainState) -> None:
        """After a step: follow the path."""
        start = self._budget.spent(state.initial_macs, state.initial_params)
        done = min(1.0, state.phase_step / self._steps)
        path = start * (self._limit / start) ** done
        change = 1 + GAIN if self._expected > path else 1 / (1 + GAIN)
        factor = LEAST if self._expected <= self._limit else self._factor * change
        state.values["price_factor"] = min(MOST, max(LEAST, factor))

    @property
    def _factor(self) -> float:
        return float(self._state.values.get("price_factor", 1.0))


def meet_budget(limit: Limit) -> Start:
    """A phase's start: decide the gates, closing the least useful ones until the budget is met."""
    budget, allowed = limit

    def start(state: TrainState) -> None:
        theta = guide_of(state).theta.detach().clone()
        before = full_theta(state)
        kept, cost = state.structure.protect(theta > 0.5, theta), state.expected_cost()
        for gate in removal_order(state, budget, kept).tolist():
            if _spent(budget, cost, kept.float()) <= allowed:
                break
            fewer = kept.clone()
            fewer[gate] = False
            if torch.equal(state.structure.protect(fewer, theta), fewer):
                kept = fewer
        with torch.no_grad():
            guide_of(state).theta.copy_(kept.float())
        decide(state)
        state.values["theta"] = before

    return start


def removal_order(state: TrainState, budget: Budget, kept: Tensor) -> Tensor:
    """Gates from the first to be closed to the last: the least benefit for the cost that closing them saves.

    The benefit is by how much an open gate lowers the loss, by the averaged gradient; the cost hangs on the other
    gates in `kept` (bool [J]). Where no average is at hand theta decides.
    """
    theta = guide_of(state).theta
    if GATES not in state.optimizers:
        return theta.detach().argsort()
    variable = kept.double().requires_grad_(True)
    with torch.enable_grad():
        macs, params = state.expected_cost()(variable)
        (saved,) = torch.autograd.grad(macs if budget.kind == "macs" else params, variable)
    benefit_for_cost = -gate_optimizer(state).average(theta).double() / saved.clamp_min(1e-9)
    return benefit_for_cost.argsort()


def checked_limit(budget: Budget, state: TrainState) -> Limit:
    """A budget and the number it allows.

    Raises:
        BudgetError: even with as few channels as possible the network costs more.
    """
    return budget, budgeted.checked_limit(state, budget)


def _spent(budget: Budget, cost: ExpectedCost, theta: Tensor) -> float:
    """The part of the expected cost that the budget is about."""
    macs, params = cost(theta.double())
    return budget.spent(float(macs), float(params))

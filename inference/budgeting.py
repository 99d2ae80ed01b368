"""Meeting a budget: a controller on the price while gates learn, and the last removals when they are decided."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from bayesprune.devices import wide
from bayesprune.models.prices import Price
from bayesprune.pruners import budgeted
from bayesprune.run.budget import Budget
from bayesprune.structure import ExpectedCost, Structure
from bayesprune.training import Memory, TrainState

GAIN, MOST, LEAST = 0.02, 100.0, 0.01
"""Relative change of the price a step, and how far it may go from where it started."""

Limit = tuple[Budget, float]
"""A budget and the number it allows."""


@dataclass
class PriceFactor(Memory):
    """What a budget multiplies the price by.

    Attributes:
        value: float64, without dimensions, where the network lies.
    """

    on_device = True
    value: Tensor = field(default_factory=lambda: torch.ones((), dtype=torch.float64))


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
        self._state, self._expected = state, torch.zeros(())

    def log_gamma(self, structure: Structure, cost: ExpectedCost, theta: Tensor) -> Tensor:
        """Prices now."""
        macs, params = cost(wide(theta))
        self._expected = self._budget.part(macs, params)
        return self._price.log_gamma(structure, cost, theta) * self._factor.to(theta.device)

    def total(self, structure: Structure, cost: ExpectedCost, gates: Tensor) -> float:
        """Nats of all that is open, now."""
        return self._price.total(structure, cost, gates) * self.factor

    def update(self, state: TrainState) -> None:
        """After a step: follow the path."""
        start = self._budget.spent(state.initial_macs, state.initial_params)
        done = min(1.0, state.phase_step / self._steps)
        path = start * (self._limit / start) ** done
        factor = torch.where(self._expected > path, self._factor * (1 + GAIN), self._factor * (1 / (1 + GAIN)))
        factor = torch.where(self._expected <= self._limit, LEAST, factor)
        state.memory(PriceFactor).value = factor.clamp(LEAST, MOST)

    @property
    def factor(self) -> float:
        """What the price is multiplied by now."""
        return float(self._factor)

    @property
    def _factor(self) -> Tensor:
        memory = self._state.memory(PriceFactor)
        if memory.value.device != self._state.place.device:  # at the first step
            memory.value = _moved(memory.value, self._state.place.device)
        return memory.value


def _moved(value: Tensor, device: torch.device) -> Tensor:
    return value.to(device, torch.float32) if device.type == "mps" else value.to(device)


def checked_limit(budget: Budget, state: TrainState, round_to: int = 1) -> Limit:
    """A budget and the number it allows.

    Raises:
        BudgetError: even with as few channels as possible, in multiples of `round_to`, the network costs more.
    """
    return budget, budgeted.checked_limit(state, budget, round_to)


def spent(budget: Budget, cost: ExpectedCost, theta: Tensor) -> float:
    """The part of the expected cost that the budget is about."""
    macs, params = cost(wide(theta))
    return budget.spent(float(macs), float(params))

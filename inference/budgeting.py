"""Meeting budgets: prices that follow them while gates learn."""

from dataclasses import dataclass, field
from math import log

import torch
from torch import Tensor

from bayesprune.budgets.change import change
from bayesprune.budgets.limits import Limits
from bayesprune.inference.objective import gate_optimizer, guide_of
from bayesprune.inference.removal import RemovalRule
from bayesprune.models.prices import Price
from bayesprune.structure import ExpectedCost, Structure
from bayesprune.training import Memory, TrainState

EVERY = 10
"""Steps from one look at what gates are worth to the next."""

MOST, LEAST = 1e6, 1e-6
"""How far the price may go from where it started."""

SHARPEST, STEEPEST = 8.0, 10.0
"""In the end prices go by worth to this negative power, and by this factor at most: gates at the margin decide."""

OPEN_BONUS, LAST_BONUS = 0.3, 0.9
"""By this share an open gate counts as worth more than one that is half open, and a closed one as worth less: until the
path's end, and at the phase's."""

AIM = 0.99
"""Share of the budget that is aimed at, so that noise does not lead beyond it."""

RESERVE = 1.1
"""So much of the budget stays in the network to the end."""

NOTHING = 1e-3
"""Worth that stands for none, as a share of the price at the margin."""


@dataclass
class PriceFactor(Memory):
    """What budgets multiply the price by.

    Attributes:
        value: float64, without dimensions, where the network lies.
        worth: what each gate [J] is worth, in prices at factor 1; None before the first look.
    """

    on_device = True
    value: Tensor = field(default_factory=lambda: torch.ones((), dtype=torch.float64))
    worth: Tensor | None = None


class BudgetControl:
    """A price times a factor at which the gates that are worth it cost what a path down to the budgets allows.

    The path falls geometrically from the cost at the start to the budgets. Every few steps the gates are put in the
    order of what they are worth for their price (the averaged gradient over the price at factor 1), and the factor is
    that between the last gate that fits and the first that does not. So the gates that are worth less close, and those
    that are worth more open, all by the dynamics of a fixed price; as they do the others' worth changes, and the factor
    follows. Between its end and that of the pruning phase prices get sharper: below the margin they rise, above it they
    fall, so that gates at the margin decide themselves and none is left to be cut. The factor lives in the state, so
    that a resumed run goes on with it.

    Args:
        price: at factor 1.
        limits: the budgets.
        steps: when they are to be met.
        last: steps of the pruning phase.
        lead: steps that a gate takes to close: the path ends so many steps before.
        size: training examples N.
        state: of the run.
    """

    def __init__(
        self,
        price: Price,
        limits: Limits,
        steps: int,
        state: TrainState,
        *,
        last: int = 0,
        lead: int = 0,
        size: int = 1,
    ) -> None:
        self._price, self._limits, self._state, self._size = price, limits, state, size
        self._path, self._last = max(steps - lead, 1), last

    def log_gamma(self, structure: Structure, cost: ExpectedCost, theta: Tensor) -> Tensor:
        """Prices now."""
        memory = self._memory()
        prices = self._price.log_gamma(structure, cost, theta) * memory.value.to(theta.device)
        sharpness = self._sharpness()
        if not sharpness or memory.worth is None or memory.worth.shape != theta.shape:
            return prices
        margin = (memory.worth.to(prices) / memory.value.to(prices)).clamp_min(NOTHING)
        return prices * (-sharpness * margin.log()).clamp(-log(STEEPEST), log(STEEPEST)).exp()

    def total(self, structure: Structure, cost: ExpectedCost, gates: Tensor) -> float:
        """Nats of all that is open, now."""
        return self._price.total(structure, cost, gates) * self.factor

    @torch.no_grad()
    def update(self, state: TrainState) -> None:
        """After a step: follow the path."""
        if state.phase_step % EVERY:
            return
        theta, memory = guide_of(state).theta.detach().cpu(), self._memory()
        worth = self._worth(state, theta)
        target = self._limits.on_path(state, min(1.0, state.phase_step / self._path))
        memory.value = torch.full_like(memory.value, clearing(state, target, worth))
        memory.worth = worth.to(memory.value.device)

    @property
    def factor(self) -> float:
        """What the price is multiplied by now."""
        return float(self._memory().value)

    def _worth(self, state: TrainState, theta: Tensor) -> Tensor:
        """What each gate [J] is worth, in prices at factor 1; open ones count for more, so that choices last."""
        prices = self._price.log_gamma(state.structure, state.expected_cost(), theta).cpu()
        nats = -gate_optimizer(state).average(guide_of(state).theta).cpu() * self._size
        bonus = OPEN_BONUS + self._late() * (LAST_BONUS - OPEN_BONUS)
        return (nats / prices).clamp_min(0) * (1 + bonus * (2 * theta - 1))

    def _late(self) -> float:
        """How far the time between the path's end (0) and that of the phase (1) is."""
        if self._last <= self._path:
            return 0.0
        return min(1.0, max(0.0, (self._state.phase_step - self._path) / (self._last - self._path)))

    def _sharpness(self) -> float:
        """The power of worth: 0 until the path's end, then rising without bound."""
        return SHARPEST * self._late() / max(1 - self._late(), NOTHING)

    def _memory(self) -> PriceFactor:
        memory, device = self._state.memory(PriceFactor), self._state.place.device
        if memory.value.device != device:  # at the first step
            memory.value = _moved(memory.value, device)
        return memory


def clearing(state: TrainState, limits: Limits, worth: Tensor) -> float:
    """The factor at which gates that are worth more than it cost no more than the limits, and with the next one do.

    Args:
        state: of the run.
        limits: that the network of these gates is to keep; of them a little stays free.
        worth: of each gate [J], in prices at factor 1.
    """
    order = worth.argsort(stable=True)

    def fits(count: int) -> bool:
        """Without so many of the least worth."""
        opened = torch.ones(len(order), dtype=torch.bool)
        opened[order[:count]] = False
        return float(limits.used(state, state.structure.protect(opened, worth).double())) <= AIM

    low, high = 0, len(order)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle + 1, high)
    if low == 0:
        return LEAST  # all that is there fits: nothing more should close
    last = float(worth[order[low - 1]])
    following = float(worth[order[low]]) if low < len(order) else last
    return min(MOST, max(LEAST, (last + following) / 2))


class WithinBudget:
    """A rule of removal that keeps the most useful of the closed gates where a budget could not be filled without them.

    What is removed does not come back, and a network that is smaller than asked for is no better. Two things stay:
    open and kept gates cost a little more than the budget; and every group keeps its `change`, so that what a costly
    gate leaves free is filled by cheap ones. Open are gates with theta > 1/2.

    Attributes:
        rule: that says which gates may go.
        limits: the budgets.
    """

    def __init__(self, rule: RemovalRule, limits: Limits) -> None:
        self.rule, self.limits = rule, limits
        self.slow_smoothing = rule.slow_smoothing

    def observe(self, state: TrainState) -> None:
        """See the rule."""
        self.rule.observe(state)

    @torch.no_grad()
    def removable(self, state: TrainState) -> Tensor:
        """Gates [J] that may be removed now: bool."""
        open_gates = guide_of(state).theta.cpu() > 0.5
        useful = -gate_optimizer(state).average(guide_of(state).theta).cpu()
        gone = self.rule.removable(state).cpu() & ~change(state, self.limits, open_gates, useful)
        order = useful.masked_fill(~gone, float("inf")).argsort(stable=True)[: int(gone.sum())]

        def enough(count: int) -> bool:
            """Whether enough is left without the first so many."""
            left = open_gates.clone()
            left[order] = True
            left[order[:count]] = False
            return float(self.limits.used(state, left.double())) >= RESERVE

        low, high = 0, len(order)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if enough(middle) else (low, middle - 1)
        found = torch.zeros_like(gone)
        found[order[:low]] = True
        return found.to(guide_of(state).theta.device)


def _moved(value: Tensor, device: torch.device) -> Tensor:
    return value.to(device, torch.float32) if device.type == "mps" else value.to(device)

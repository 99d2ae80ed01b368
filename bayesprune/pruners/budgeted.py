"""Removing the channels with the lowest scores until budgets are met, by less than one channel."""

import torch
from torch import Tensor

from bayesprune.budgets.limits import Limits
from bayesprune.budgets.measuring import whole_ms
from bayesprune.budgets.predicted import LatencyTable
from bayesprune.errors import BudgetError
from bayesprune.pruners.filling import filled
from bayesprune.pruners.rounding import rounded_gates
from bayesprune.run.budget import LATENCY, MACS, Budget
from bayesprune.structure import Structure
from bayesprune.structure.groups import key_of
from bayesprune.training import TrainState


def open_within(state: TrainState, scores: Tensor, budget: Budget | Limits, round_to: int = 1) -> Tensor:
    """Close gates from the lowest score on until the network meets the budget: bool [J].

    No group is emptied, and no layer left without anything to read; gates with a score of inf stay open. The result
    costs no more than the budget, and with the channel closed last still open it would cost more. Where that leaves
    more than `SLACK` of it, the best of the closed channels that fit are opened again. With `round_to` every group
    keeps a multiple of so many channels, rounded down, but one multiple at least.

    Raises:
        BudgetError: even with every channel closed that may be, the network costs more than the budget.
    """
    limits = checked_limits(state, (budget,), round_to) if isinstance(budget, Budget) else budget
    order = removable(state.structure, scores)

    def opened(count: int) -> Tensor:
        return rounded_gates(state.structure, _without(state.structure, order[:count]), order, round_to)

    low, high = 0, len(order)
    if not limits.meets(state, opened(high).double()):
        if (error := _unreachable(state, limits, opened(high), round_to)) is not None:
            raise error
        return opened(high)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if limits.meets(state, opened(middle).double()) else (middle + 1, high)
    return filled(state, limits, opened(low), scores, round_to)


def checked_limits(state: TrainState, budgets: tuple[Budget, ...], round_to: int = 1) -> Limits:
    """The numbers that budgets allow.

    A latency is measured for that: of the network as it is, and with as few channels as possible.

    Raises:
        BudgetError: even with as few channels as possible the network costs more.
    """
    smallest = smallest_gates(state, round_to)
    timed = any(budget.kind == LATENCY for budget in budgets)
    whole, least = (_latency(state, torch.ones_like(smallest)), _latency(state, smallest)) if timed else (0.0, 0.0)
    macs, params = state.expected_cost()(smallest.double())
    allowed = tuple(budget.limit(state.initial_macs, state.initial_params, whole) for budget in budgets)
    for budget, limit in zip(budgets, allowed, strict=True):
        if (needed := budget.spent(float(macs), float(params), least)) > limit:
            raise BudgetError(_sentence(state, budget, limit, needed, round_to))
    return Limits(budgets, allowed)


def smallest_gates(state: TrainState, round_to: int = 1) -> Tensor:
    """The gates [J] of the smallest network: as few channels as possible, in multiples of `round_to`."""
    order = removable(state.structure, torch.ones(state.structure.gate_count))
    return rounded_gates(state.structure, _without(state.structure, order), order, round_to)


def _latency(state: TrainState, open_gates: Tensor) -> float:
    """Milliseconds of the run's table where there is one, else measured."""
    table = state.memory(LatencyTable)
    if not table.dense:
        return whole_ms(state, open_gates)
    return table.dense if bool(open_gates.all()) else table.smallest


def _unreachable(state: TrainState, limits: Limits, smallest: Tensor, round_to: int) -> BudgetError | None:
    """What is said of the first budget that the smallest network breaks; nothing where only a predicted latency is.

    That was measured before training, and is measured again in the end.
    """
    costs = limits.costs(state, smallest.double()).tolist()
    broken = [
        (budget, limit, cost)
        for budget, limit, cost in zip(limits.budgets, limits.numbers(state), costs, strict=True)
        if cost > limit and budget.kind != LATENCY
    ]
    return BudgetError(_sentence(state, *broken[0], round_to)) if broken else None


def _sentence(state: TrainState, budget: Budget, limit: float, smallest: float, round_to: int) -> str:
    """That a budget is below the smallest possible network, and what that needs."""
    outside = budget.spent(*state.fixed_cost())
    which = "operations that cannot be pruned" if budget.kind == MACS else "layers that never run"
    reason = f", {outside:,.0f} of them in {which}" if outside else ""
    rounded = "" if round_to == 1 else f" and round_to={round_to}"
    need = f"{1.1 * smallest:.3g}ms" if budget.kind == LATENCY else f"{smallest:.0f}"
    return (
        f"no network of this kind meets {budget.kind} <= {budget.shown(limit)}: with as few channels as "
        f"possible{rounded} it needs {budget.shown(smallest)}{reason}; give budget={budget.kind}={need} or more"
    )


def removable(structure: Structure, scores: Tensor) -> Tensor:
    """The gates that can be closed one after the other, in ascending order of score; none whose score is inf."""
    order = scores.argsort(stable=True)
    order = order[scores[order] < float("inf")]
    places = [place for name, place in structure.slices().items() if key_of(name) not in structure.section_keys]
    best = {place.start + int(scores[place].argmax()) for place in places if place.stop > place.start}
    simple = torch.tensor([gate for gate in order.tolist() if gate not in best], dtype=torch.long)
    all_closed = _closed(structure, simple)
    if torch.equal(structure.protect(all_closed, scores), all_closed):
        return simple
    # Some layer reads or writes only a part of a group: the one gate that it needs is found by trying.
    open_gates, found = torch.ones_like(all_closed), []
    for gate in order.tolist():
        open_gates[gate] = False
        if torch.equal(structure.protect(open_gates, scores), open_gates):
            found.append(gate)
        else:
            open_gates[gate] = True
    return torch.tensor(found, dtype=torch.long)


def _without(structure: Structure, gates: Tensor) -> Tensor:
    """All gates open but these, and those that have no use without them."""
    return structure.consistent(_closed(structure, gates))


def _closed(structure: Structure, gates: Tensor) -> Tensor:
    """All gates open but these."""
    open_gates = torch.ones(structure.gate_count, dtype=torch.bool)
    open_gates[gates] = False
    return open_gates

"""Removing the channels with the lowest scores until a budget is met, by less than one channel."""

import torch
from torch import Tensor

from bayesprune.errors import BudgetError
from bayesprune.pruners.rounding import rounded_gates
from bayesprune.run.budget import Budget
from bayesprune.structure import Structure
from bayesprune.structure.groups import key_of
from bayesprune.training import TrainState


def open_within(state: TrainState, scores: Tensor, budget: Budget, round_to: int = 1) -> Tensor:
    """Close gates from the lowest score on until the network meets the budget: bool [J].

    No group is emptied, and no layer left without anything to read; gates with a score of inf stay open. The result
    costs no more than the budget, and with the channel closed last still open it would cost more. With `round_to`
    every group keeps a multiple of so many channels, rounded down, but one multiple at least.

    Raises:
        BudgetError: even with every channel closed that may be, the network costs more than the budget.
    """
    cost, order = state.expected_cost(), removable(state.structure, scores)

    def opened(count: int) -> Tensor:
        return rounded_gates(state.structure, _without(state.structure, order[:count]), order, round_to)

    def spent(count: int) -> float:
        macs, params = cost(opened(count).double())
        return budget.spent(float(macs), float(params))

    low, high = 0, len(order)
    limit = _reachable(state, budget, spent(high), round_to)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if spent(middle) > limit else (low, middle)
    return opened(low)


def checked_limit(state: TrainState, budget: Budget, round_to: int = 1) -> float:
    """The number that a budget allows.

    Raises:
        BudgetError: even with as few channels as possible the network costs more.
    """
    order = removable(state.structure, torch.ones(state.structure.gate_count))
    gates = rounded_gates(state.structure, _without(state.structure, order), order, round_to)
    macs, params = state.expected_cost()(gates.double())
    return _reachable(state, budget, budget.spent(float(macs), float(params)), round_to)


def _reachable(state: TrainState, budget: Budget, smallest: float, round_to: int) -> float:
    """The number that a budget allows, which the smallest network must meet."""
    limit = budget.limit(state.initial_macs, state.initial_params)
    if smallest <= limit:
        return limit
    outside = budget.spent(*state.fixed_cost())
    which = "operations that cannot be pruned" if budget.kind == "macs" else "layers that never run"
    reason = f", {outside:,.0f} of them in {which}" if outside else ""
    rounded = "" if round_to == 1 else f" and round_to={round_to}"
    raise BudgetError(
        f"no network of this kind meets {budget.kind} <= {limit:,.0f}: with as few channels as possible{rounded} it "
        f"needs {smallest:,.0f}{reason}; give budget={budget.kind}={smallest:.0f} or more"
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

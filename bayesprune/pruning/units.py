"""Removing the channels with the lowest scores until a budget is met, by less than one channel."""

import torch
from torch import Tensor

from bayesprune.budget import Budget
from bayesprune.errors import BudgetError
from bayesprune.structure import ExpectedCost
from bayesprune.training import TrainState


def open_within(state: TrainState, scores: Tensor, budget: Budget) -> Tensor:
    """Close gates from the lowest score on until the network meets the budget: bool [J].

    The last channel of a group stays. The result costs no more than the budget, and with the channel closed last
    still open it would cost more.

    Raises:
        BudgetError: even one channel a group costs more than the budget.
    """
    positions = {layer.name: layer.positions for layer in state.layers()}
    cost = ExpectedCost(state.network, state.structure, positions)
    limit = budget.limit(state.initial_macs, state.initial_params)
    order = _removable(state, scores)

    def spent(closed: int) -> float:
        return budget.spent(*(float(part) for part in cost(_close(state, order[:closed]).double())))

    low, high = 0, len(order)
    if spent(high) > limit:
        raise BudgetError(
            f"no network of this kind meets {budget.kind} <= {limit:,.0f}: with one channel a group it needs "
            f"{spent(high):,.0f}"
        )
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if spent(middle) > limit else (low, middle)
    return _close(state, order[:low])


def _removable(state: TrainState, scores: Tensor) -> Tensor:
    """Gates in ascending order of score, without each group's best one."""
    order = scores.argsort()
    best = {place.start + int(scores[place].argmax()) for place in state.structure.slices().values()}
    return torch.tensor([gate for gate in order.tolist() if gate not in best], dtype=torch.long)


def _close(state: TrainState, gates: Tensor) -> Tensor:
    """All gates open but these."""
    open_gates = torch.ones(state.structure.gate_count, dtype=torch.bool)
    open_gates[gates] = False
    return open_gates

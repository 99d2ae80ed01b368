"""Choosing channels for a latency that is measured in the end, not only predicted."""

from collections.abc import Callable

import torch
from torch import Tensor

from bayesprune.budgets.limits import Limits
from bayesprune.budgets.measuring import whole_ms
from bayesprune.budgets.predicted import predicted_latency, table_of
from bayesprune.run.budget import LATENCY
from bayesprune.training import TrainState

TRIES, NEAR, BEYOND = 6, 0.9, 1.1
"""How often a choice is measured at most; from which share of a latency's budget on it is near enough, and beyond which
share the result says that it is missed."""


def measured_within(state: TrainState, limits: Limits, choose: Callable[[], Tensor]) -> Tensor:
    """The gates [J] that are chosen within limits, where the measured latency of that network is within them too.

    The network that is left is measured (the median of 5), the table's prediction is brought to that, and the choice is
    made again, until the network lies within its budget and near it. Without a budget of latency it is one choice.

    Args:
        state: of the run; its latency table learns from what is measured.
        limits: of the choice.
        choose: gates that the limits allow by what is predicted.
    """
    gates = choose()
    if not limits.has_latency:
        return gates
    allowed = _allowed(state, limits)
    best: tuple[float, Tensor] | None = None
    for _ in range(TRIES):
        found = _least_ms(state, gates, allowed)
        if found <= allowed and (best is None or found > best[0]):
            best = (found, gates)
        if NEAR * allowed <= found <= allowed:
            break
        table_of(state).scale *= found / max(float(predicted_latency(state, gates.double())), 1e-9)
        again = choose()
        if bool((again == gates).all()):
            break
        gates = again
    return gates if best is None else best[1]


def missed_latency(state: TrainState, limits: Limits | None) -> list[str]:
    """A line where the network as it is takes notably longer than its budget, by the median of 5 measurements."""
    if limits is None or not limits.has_latency:
        return []
    allowed = _allowed(state, limits)
    found = _least_ms(state, torch.ones(state.structure.gate_count, dtype=torch.bool), allowed)
    if found <= BEYOND * allowed:
        return []
    return [
        f"one sample takes {found:.3g} ms and the budget allows {allowed:.3g} ms: other work on this machine disturbs "
        "the measurements, or the budget is next to what the smallest network takes"
    ]


def _least_ms(state: TrainState, gates: Tensor, allowed: float) -> float:
    """Milliseconds of the network that is left; measured again where that is too long, since other work only adds."""
    found = whole_ms(state, gates)
    return found if found <= allowed else min(found, whole_ms(state, gates))


def _allowed(state: TrainState, limits: Limits) -> float:
    """Milliseconds."""
    return next(n for b, n in zip(limits.budgets, limits.numbers(state), strict=True) if b.kind == LATENCY)

"""Closed channels that stay as change: where a costly channel goes last, cheap ones fill the gap."""

from math import ceil

import torch
from torch import Tensor

from bayesprune.budgets.limits import Limits
from bayesprune.training import TrainState

CHANGE = 3
"""Of every group so many closed gates stay as cost what this many gates of the next costlier group do."""


def change(state: TrainState, limits: Limits, open_gates: Tensor, useful: Tensor) -> Tensor:
    """The most useful closed gates of every group that stay as change for those of the next costlier group: bool [J].

    What is removed does not come back. Of the costliest group it is change for itself. Several budgets count apart.

    Args:
        state: of the run.
        limits: the budgets.
        open_gates: bool [J].
        useful: [J], the larger the better.
    """
    groups = [place for place in state.structure.slices().values() if place.stop > place.start]
    kept = torch.zeros_like(open_gates)
    for costs in limits.slopes(state, state.structure.protect(open_gates, useful)):
        groups.sort(key=lambda place: float(costs[place].max()))
        for place, following in zip(groups, [*groups[1:], *groups[-1:]], strict=True):
            least, wanted = float(costs[place].min()), CHANGE * float(costs[following].max())
            closed = (~open_gates[place]).nonzero().flatten() + place.start
            count = min(len(closed), ceil(wanted / least)) if least > 0 else CHANGE
            kept[closed[useful[closed].argsort(descending=True, stable=True)[:count]]] = True
    return kept

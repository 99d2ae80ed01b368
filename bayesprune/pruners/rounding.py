"""Counts of channels that hardware likes: multiples of 8, say."""

from collections.abc import Mapping

import torch
from torch import Tensor

from bayesprune.structure import Structure


def rounded_counts(
    counts: Mapping[str, int], sizes: Mapping[str, int], multiple: int, *, down: bool = True
) -> dict[str, int]:
    """Counts rounded to a multiple, at least one multiple and at most the size; the size itself is always allowed.

    Args:
        counts: of channels, by group.
        sizes: of the groups before anything was removed.
        multiple: such as 8; with 1 the counts stay.
        down: never round up, other than to the least; else to the nearest, from the middle up.
    """
    rounded = {}
    for name, count in counts.items():
        size = sizes[name]
        near = (count if down else count + multiple // 2) // multiple * multiple
        rounded[name] = count if count == size else min(size, max(multiple, near))
    return rounded


def rounded_gates(
    structure: Structure, open_gates: Tensor, order: Tensor, multiple: int, *, down: bool = True
) -> Tensor:
    """Open gates, bool [J], with the number of each group's channels rounded.

    Flattened features are left to their channels.

    Args:
        structure: the groups as they are now.
        open_gates: bool [J].
        order: gates in the order in which they may be closed, from the first; those that it lacks stay open longest.
        multiple: of the counts.
        down: as for `rounded_counts`.
    """
    places, kinds = structure.slices(), {group.name: group.kind for group in structure.groups}
    counts = {name: int(open_gates[place].sum()) for name, place in places.items() if kinds[name] != "flatten"}
    sizes = {group.name: group.size for group in structure.groups}
    goals = rounded_counts(counts, sizes, multiple, down=down)
    return open_gates if goals == counts else open_counts(structure, open_gates, order, goals)


def open_counts(structure: Structure, open_gates: Tensor, order: Tensor, counts: Mapping[str, int]) -> Tensor:
    """Open gates, bool [J], so many in each group that has a count: those that would be closed last.

    A layer that writes or reads a part of a group keeps one channel of that part. Gates without a use are closed.

    Args:
        structure: the groups as they are now.
        open_gates: of the groups without a count.
        order: as for `rounded_gates`.
        counts: by group.
    """
    rank = torch.full((structure.gate_count,), float("inf"))
    rank[order] = torch.arange(len(order), dtype=rank.dtype)
    chosen = open_gates.clone()
    for name, place in structure.slices().items():
        if name in counts:
            best = rank[place].argsort(descending=True, stable=True)[: counts[name]]
            chosen[place] = False
            chosen[place.start + best] = True
    return structure.consistent(structure.protect(chosen, rank))

"""Counts of channels that hardware likes: multiples of 8, say."""

from collections.abc import Mapping

import torch
from torch import Tensor

from bayesprune.errors import SettingError
from bayesprune.structure import Structure
from bayesprune.structure.members import UNGATED


def check_multiple(structure: Structure, multiple: int) -> None:
    """Refuse a multiple that would leave every group whole.

    Raises:
        SettingError: no group has as many channels.
    """
    largest = max((len(group.kept) for group in structure.groups if group.kind != "flatten"), default=0)
    if multiple > max(largest, 1):
        raise SettingError(f"round_to={multiple} leaves all as it is: no group has more than {largest} channels")


def rounded_counts(
    counts: Mapping[str, int], sizes: Mapping[str, int], multiple: int, *, up: bool = False
) -> dict[str, int]:
    """Counts rounded to a multiple, at least one multiple and at most the size; the size itself is always allowed.

    Args:
        counts: of channels, by group.
        sizes: of the groups as they are, or before this run removed anything.
        multiple: such as 8; with 1 the counts stay.
        up: to the multiple above instead of the one below.
    """
    rounded = {}
    for name, count in counts.items():
        size = sizes[name]
        near = (count + multiple - 1 if up else count) // multiple * multiple
        rounded[name] = count if count == size else min(size, max(multiple, near))
    return rounded


def rounded_gates(
    structure: Structure, open_gates: Tensor, order: Tensor, multiple: int, *, up: bool = False
) -> Tensor:
    """Open gates, bool [J], with the number of each group's channels rounded.

    Flattened features are left to their channels.

    Args:
        structure: the groups as they are now.
        open_gates: bool [J].
        order: gates in the order in which they may be closed, from the first; those that it lacks stay open longest.
        multiple: of the counts.
        up: as for `rounded_counts`.
    """
    if multiple == 1:
        return open_gates
    counts = channel_counts(structure, open_gates)
    goals = rounded_counts(counts, {group.name: len(group.kept) for group in structure.groups}, multiple, up=up)
    return open_gates if goals == counts else open_counts(structure, open_gates, order, goals)


def channel_counts(structure: Structure, open_gates: Tensor) -> dict[str, int]:
    """How many gates are open in each group that is rounded: in all but those of flattened features."""
    kinds = {group.name: group.kind for group in structure.groups}
    return {n: int(open_gates[place].sum()) for n, place in structure.slices().items() if kinds[n] != "flatten"}


def open_counts(structure: Structure, open_gates: Tensor, order: Tensor, counts: Mapping[str, int]) -> Tensor:
    """Open gates, bool [J], so many in each group that has a count: those that would be closed last.

    A layer that writes or reads a part of a group keeps one channel of that part. A channel none of whose flattened
    features is open gets them all back. Other gates without a use are closed.

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
    return structure.consistent(_fed(structure, structure.protect(chosen, rank)))


def _fed(structure: Structure, open_gates: Tensor) -> Tensor:
    """Open also the flattened features of open channels that would have no use without them."""
    without_use = torch.cat([open_gates & ~structure.consistent(open_gates), torch.zeros(1, dtype=torch.bool)])
    fed = open_gates.clone()
    for reader in structure.readers:
        if reader.selection is not None:
            features = reader.selection[without_use[reader.arriving[reader.selected]]]
            fed[features[features != UNGATED]] = True
    return fed

"""Which share of its channels every layer of a gated network reads and writes."""

from collections.abc import Sequence

import torch
from torch import Tensor

from bayesprune.structure import Structure
from bayesprune.structure.selectors import plain_name


def channel_sums(structure: Structure, theta: Tensor) -> dict[tuple[str, int], Tensor]:
    """Expected numbers of open channels at theta [J], by layer and side: 0 for those it reads, 1 for those it writes.

    Layers that read or write no gated channel have no entry of that side. The names are those before selectors.
    """
    padded = torch.cat([theta, theta.new_ones(1)])
    found: dict[tuple[str, int], Tensor] = {}
    for reader in structure.readers:
        values = padded[reader.arriving[reader.selected]]
        read = values if reader.selection is None else values * padded[reader.selection]
        found[plain_name(reader.layer), 0] = read.sum()
    for axis in structure.axes:
        if axis.tensor == "weight":
            found[plain_name(axis.layer), 1] = padded[axis.gates].sum()
    return found


def layer_shares(structure: Structure, theta: Tensor, layers: Sequence[str], channels: Tensor) -> Tensor:
    """Shares [L, 2] of the initial channels that each layer reads and writes at theta [J]; 1 where none has a gate.

    Args:
        structure: as it is now.
        theta: inclusion probabilities.
        layers: their names, L of them.
        channels: [L, 2] at the start, 0 where there are no gates.
    """
    sums, one = channel_sums(structure, theta), theta.new_ones(())
    rows = [
        [sums[name, side] / counts[side] if counts[side] and (name, side) in sums else one for side in (0, 1)]
        for name, counts in zip(layers, channels.tolist(), strict=True)
    ]
    return torch.stack([torch.stack(row) for row in rows]) if rows else theta.new_ones(0, 2)


def uniform_gates(structure: Structure, share: float) -> Tensor:
    """Open gates, bool [J]: the same share of every group, one of each at least, and what layers need besides."""
    open_gates = torch.zeros(structure.gate_count, dtype=torch.bool)
    for place in structure.slices().values():
        count = max(1, round(share * (place.stop - place.start)))
        open_gates[place.start : place.start + count] = True
    first = torch.arange(structure.gate_count, 0, -1, dtype=torch.float32)
    return structure.consistent(structure.protect(open_gates, first))

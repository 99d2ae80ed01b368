"""Channels that nothing reads any more, as masks over single weights leave them."""

from collections.abc import Mapping

import torch
from torch import Tensor

from bayesprune.structure.groups import Structure


def read_gates(structure: Structure, masks: Mapping[str, Tensor]) -> Tensor:
    """The gates, bool [J], of channels that a weight reads which is not masked.

    The others can be removed: the network stays the same function. Of a group, or of what a layer reads, one stays
    open. Channels that are read only by others that nothing reads are found once those are gone.

    Args:
        structure: the groups as they are now.
        masks: by parameter name, 0 for weights that stay 0; a layer without one reads everything.
    """
    read = torch.zeros(structure.gate_count + 1, dtype=torch.bool)  # one more, for features that have no gate
    for reader in structure.readers:
        mask = masks.get(reader.parameter)
        alive = slice(None) if mask is None else (mask != 0).movedim(reader.weight_axis, 0).flatten(1).any(1).cpu()
        arriving = reader.arriving[reader.selected]
        for gates in (arriving,) if reader.selection is None else (arriving, reader.selection):
            read[gates[alive]] = True
    for norm in structure.norms:  # what is read nowhere is part of the statistics all the same
        read[norm.gates] = True
    return structure.protect(read[:-1], torch.zeros(structure.gate_count))

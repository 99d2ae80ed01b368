"""Filters near the geometric median of their group, which the others can replace (arXiv 1811.00250)."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from bayesprune.pruners.problem import Problem
from bayesprune.structure import Structure
from bayesprune.structure.layers import making_weights

_ROWS = 256
"""Rows of the matrix of distances made at once: whole, that of 25,088 flattened features takes 5 GB."""


@torch.no_grad()
def geometric_median(problem: Problem) -> Tensor:
    """Sum of the L2 distances of each channel's filter to the other filters of its group: [J], float64.

    He et al., *Filter Pruning via Geometric Median* (arXiv 1811.00250) prune in every layer the filters nearest to
    the geometric median of all. Distances grow with the number of filters and of weights: those of different groups
    can only be compared by an allocation that looks at ranks, such as "class-uniform".

    A filter is the vector of the channel's incoming weights; biases and normalisation do not count. Where several
    layers write a channel, their filters are concatenated, with zeros for a layer that does not write it. Input (and
    flattened) features have no incoming weights: theirs is the vector of the weights that read them.

    Raises:
        NetworkError: there is no linear or convolution layer, or a weight is not finite.
    """
    problem.weights()
    distances = torch.zeros(problem.structure.gate_count, dtype=torch.float64)
    for place in problem.structure.slices().values():
        # Products of matrices, by which large distances are computed, lose half of the digits: so float64.
        filters = _filters(problem.network, problem.structure, place).double()
        rows = filters.split(_ROWS)
        distances[place] = torch.cat([torch.cdist(some, filters).sum(1) for some in rows])
    return distances


def _filters(network: nn.Module, structure: Structure, place: slice) -> Tensor:
    """The filters [K, F] of the group whose K gates lie at `place`."""
    count, blocks = place.stop - place.start, []
    for weight, axis, gates in _vectors(network, structure):  # on the CPU, whose float64 every machine has
        inside = (gates >= place.start) & (gates < place.stop)
        if not bool(inside.any()):
            continue
        rows = weight.detach().cpu().movedim(axis, 0).flatten(1)
        own = gates[inside] - place.start
        turn = (own[:, None] == own).tril(-1).sum(1)  # a gate may have several rows, as a head of attention has
        block = rows.new_zeros(count, int(turn.max()) + 1, rows.shape[1])
        block[own, turn] = rows[inside]
        blocks.append(block.flatten(1))
    return torch.cat(blocks, 1)


def _vectors(network: nn.Module, structure: Structure) -> Iterator[tuple[Tensor, int, Tensor]]:
    """Weights, the axis along which they belong to gates, and these gates [n]."""
    yield from making_weights(network, structure)
    for reader in structure.readers:
        if reader.selection is not None:
            yield network.get_parameter(reader.parameter), reader.weight_axis, reader.selection

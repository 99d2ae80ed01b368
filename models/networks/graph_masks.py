"""From a layered graph to the masks of a network: one layer of units is one layer of the network."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import networkx as nx
import numpy as np
import torch
from torch import Tensor

from bayesprune.errors import GraphError, SettingError
from bayesprune.graphs import LayeredGraph, layered, named_graph
from bayesprune.graphs.checks import check_graph

MERGES = ("post", "pre")
GATE_MASKS = ("tile", "interleave")


def graph_of(given: Any) -> LayeredGraph:
    """The layered graph of what a network's constructor takes.

    Args:
        given: a graph of NetworkX, a `LayeredGraph`, pairs of vertices (directed edges), or the name of a random
            graph, such as "watts-strogatz:3" (`bayesprune.graphs.named_graph`).

    Raises:
        GraphError: what is given is no graph that a network can have.
        UnknownNameError: there is no such family.
    """
    if isinstance(given, LayeredGraph):
        check_graph(given.graph)
        return given
    if isinstance(given, str):
        return layered(named_graph(given))
    if isinstance(given, Sequence):
        try:
            given = nx.DiGraph([(int(start), int(end)) for start, end in given])
        except (TypeError, ValueError) as error:
            raise GraphError("a graph as a list is one of pairs of whole numbers, its directed edges") from error
    return layered(given)


def plain_edges(graph: LayeredGraph) -> list[list[int]]:
    """The directed edges, with the vertices numbered layer by layer, as JSON holds them."""
    number = {vertex: place for place, vertex in enumerate(v for layer in graph.layers for v in layer)}
    return sorted([number[start], number[end]] for start, end in graph.graph.edges)


def sources_of(graph: LayeredGraph, target: int) -> tuple[int, ...]:
    """The layers that a layer reads: the one before it, then those of its skip connections."""
    return (target - 1, *(source for source, end in graph.skips if end == target))


def recurrent_masks(
    graph: LayeredGraph, target: int, *, gates: int, merge: str, gate_mask: str
) -> tuple[Tensor, Tensor]:
    """The masks of the one recurrent layer that computes a layer of the graph.

    With merge "post" there is a cell for every layer that is read, with its own recurrent weights; the fused matrices
    have the rows (gate, cell, unit), and the recurrent one is block-diagonal. With "pre" there is one cell.

    Args:
        graph: the layers.
        target: number of the layer, 1 or more.
        gates: blocks of rows of a cell's weights.
        merge: "post" or "pre".
        gate_mask: "tile": each gate of unit i reads what the graph says of unit i. "interleave": the rows of the mask
            are repeated one by one, as in the published networks, so that gates of GRU and LSTM read what the graph
            says of other units.

    Returns:
        Masks [gates * cells * units, inputs] and [gates * cells * units, cells * units].
    """
    sources = sources_of(graph, target)
    units, widths = graph.sizes[target], [graph.sizes[source] for source in sources]
    cells = len(sources) if merge == "post" else 1
    inward = np.zeros((gates, cells, units, sum(widths)), np.float32)
    first = 0
    for place, (source, width) in enumerate(zip(sources, widths, strict=True)):
        block = graph.blocks[source, target]
        rows = np.tile(block, (gates, 1)) if gate_mask == "tile" else np.repeat(block, gates, axis=0)
        inward[:, place if merge == "post" else 0, :, first : first + width] = rows.reshape(gates, units, width)
        first += width
    around = np.zeros((gates, cells, units, cells, units), np.float32)
    for cell in range(cells):
        around[:, cell, :, cell] = 1
    rows_in_all = gates * cells * units
    return (
        torch.from_numpy(inward.reshape(rows_in_all, first)),
        torch.from_numpy(around.reshape(rows_in_all, cells * units)),
    )


def check_choice(name: str, value: str, known: Sequence[str]) -> None:
    """Refuse a word that is none of those possible.

    Raises:
        SettingError: naming them.
    """
    if value not in known:
        raise SettingError(f"{name} is {value!r}: {' and '.join(map(repr, known))} are possible")


def check_sizes(**sizes: int) -> None:
    """Refuse what is no whole number of 1 or more.

    Raises:
        SettingError: naming the first.
    """
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, Integral):
            raise SettingError(f"{name} is {size!r}: take a whole number of 1 or more")
        if size < 1:
            raise SettingError(f"{name} is {size}: take 1 or more")

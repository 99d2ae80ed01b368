"""From a graph to a layered directed one, from which networks are built."""

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import networkx as nx
import numpy as np
import numpy.typing as npt

from bayesprune.errors import GraphError
from bayesprune.graphs.checks import DiGraph, Graph, check_acyclic, check_graph

Block = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class LayeredGraph:
    """A directed graph without cycles, and the layer of each vertex.

    The layer of a vertex is the length of the longest path to it from a source, so that each vertex of layer l > 0 has
    an edge from layer l - 1, and no edge stays in a layer. Vertices of a layer stand in their own order (ascending).

    Attributes:
        graph: the directed graph.
        layers: the vertices of each layer.
    """

    graph: DiGraph
    layers: tuple[tuple[Any, ...], ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Vertices of each layer."""
        return tuple(map(len, self.layers))

    @cached_property
    def layer_of(self) -> dict[Hashable, int]:
        """The layer of each vertex."""
        return {vertex: number for number, layer in enumerate(self.layers) for vertex in layer}

    @cached_property
    def blocks(self) -> dict[tuple[int, int], Block]:
        """By pairs of layers (source, target) with at least one edge: which units are joined.

        Entry [i, j] of a block [units of target, units of source], as a weight matrix has them, says whether there is
        an edge from unit j of the source layer to unit i of the target layer.
        """
        place = {vertex: unit for layer in self.layers for unit, vertex in enumerate(layer)}
        found: dict[tuple[int, int], Block] = {}
        for start, end in self.graph.edges:
            source, target = self.layer_of[start], self.layer_of[end]
            shape = (self.sizes[target], self.sizes[source])
            found.setdefault((source, target), np.zeros(shape, np.bool_))[place[end], place[start]] = True
        return dict(sorted(found.items()))

    @property
    def skips(self) -> tuple[tuple[int, int], ...]:
        """The pairs of layers with edges that leave out at least one layer between them."""
        return tuple(pair for pair in self.blocks if pair[1] - pair[0] > 1)


def layered(graph: Graph | DiGraph) -> LayeredGraph:
    """Give each vertex its layer.

    Edges of an undirected graph are directed from the lower to the higher vertex, as the graphs of the study are
    (arXiv 2107.12917). A directed graph keeps its own directions.

    Raises:
        GraphError: a self-loop, an isolated vertex, several components, a directed cycle, or vertices of an undirected
            graph that cannot be ordered.
    """
    check_graph(graph)
    vertices = _in_order(graph)
    place = {vertex: number for number, vertex in enumerate(vertices)}
    directed: DiGraph = nx.DiGraph()
    directed.add_nodes_from(vertices)
    if graph.is_directed():
        directed.add_edges_from(graph.edges)
    else:
        directed.add_edges_from((a, b) if place[a] < place[b] else (b, a) for a, b in graph.edges)
    check_acyclic(directed)
    depth: dict[Hashable, int] = {}
    for vertex in nx.topological_sort(directed):
        depth[vertex] = 1 + max((depth[before] for before in directed.predecessors(vertex)), default=-1)
    layers: list[list[Any]] = [[] for _ in range(max(depth.values()) + 1)]
    for vertex in vertices:
        layers[depth[vertex]].append(vertex)
    return LayeredGraph(directed, tuple(map(tuple, layers)))


def from_sizes(sizes: tuple[int, ...] | list[int]) -> LayeredGraph:
    """Layers of these sizes, each fully joined to the next: the graph of a plain dense network.

    Raises:
        GraphError: fewer than two layers, or an empty one.
    """
    if len(sizes) < 2 or any(size < 1 for size in sizes):
        raise GraphError(f"layers of sizes {list(sizes)}: take two layers or more, each with at least one vertex")
    starts = np.cumsum([0, *sizes]).tolist()
    layers = tuple(tuple(range(start, end)) for start, end in pairwise(starts))
    directed: DiGraph = nx.DiGraph()
    directed.add_nodes_from(range(starts[-1]))
    directed.add_edges_from((low, high) for first, second in pairwise(layers) for low in first for high in second)
    return LayeredGraph(directed, layers)


def _in_order(graph: Graph | DiGraph) -> list[Any]:
    """The vertices in ascending order; those of a directed graph may also stay as they are."""
    vertices = list(graph.nodes)
    try:
        return sorted(vertices)
    except TypeError as error:
        if graph.is_directed():
            return vertices
        raise GraphError(
            "the vertices of an undirected graph must have an order, since edges are directed from low to high: "
            "number them (networkx.convert_node_labels_to_integers)"
        ) from error

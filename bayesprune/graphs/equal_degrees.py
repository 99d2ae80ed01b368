"""A random graph in which every vertex has as many edges as in a given one."""

from collections.abc import Hashable
from typing import Any

import networkx as nx
import numpy as np

from bayesprune.errors import GraphError
from bayesprune.graphs.checks import DiGraph, Graph, check_loops
from bayesprune.graphs.layered import LayeredGraph

Edge = tuple[Any, Any]
_PASSES = 10
"""Swaps that are tried, as a multiple of the number of edges: enough that little of the first graph is left."""


def random_of_equal_degrees(graph: Graph, *, seed: int = 0, connected: bool = True, tries: int = 100) -> Graph:
    """An undirected graph of equal degrees, by swapping the ends of pairs of edges many times.

    Args:
        graph: an undirected graph without self-loops.
        seed: equal seeds give equal graphs.
        connected: swap on until the result is connected.
        tries: how often, at most.

    Raises:
        GraphError: it has self-loops or directions, or no connected graph was found.
    """
    if graph.is_directed():
        raise GraphError("a directed graph: give its layers (`layered`) to `random_layers_of_equal_degrees`")
    check_loops(graph)
    random = np.random.default_rng(seed)
    edges, there = list(graph.edges), {frozenset(edge) for edge in graph.edges}
    for _ in range(tries):
        for first, second, turned in _pairs(len(edges), random):
            (a, b), (c, d) = edges[first], edges[second] if turned else edges[second][::-1]
            new = frozenset((a, d)), frozenset((c, b))
            if len({a, b, c, d}) == 4 and not there & set(new):
                there -= {frozenset((a, b)), frozenset((c, d))}
                there |= set(new)
                edges[first], edges[second] = (a, d), (c, b)
        found: Graph = nx.Graph()
        found.add_nodes_from(graph.nodes)
        found.add_edges_from(edges)
        if not connected or nx.is_connected(found):
            return found
    raise GraphError(
        f"none of {tries} random graphs of equal degrees was connected: give connected=False, or more tries"
    )


def random_layers_of_equal_degrees(graph: LayeredGraph | DiGraph, *, seed: int = 0) -> DiGraph:
    """A directed graph in which every vertex has as many edges to and from each layer as in a given one.

    So it is the graph of a network with the same layers, and as many weights at each unit. Ends of two edges are
    swapped where both lead between the same two layers. It need not be connected.

    Args:
        graph: a layered graph; or a directed graph whose vertices have an attribute "layer".
        seed: equal seeds give equal graphs.

    Raises:
        GraphError: vertices have no layer.
    """
    directed, layer_of = _with_layers(graph)
    random = np.random.default_rng(seed)
    by_block: dict[tuple[Hashable, Hashable], list[Edge]] = {}
    for a, b in directed.edges:
        by_block.setdefault((layer_of[a], layer_of[b]), []).append((a, b))
    found: DiGraph = nx.DiGraph()
    found.add_nodes_from(directed.nodes(data=True))
    for edges in by_block.values():
        there = set(edges)
        for first, second, _ in _pairs(len(edges), random):
            (a, b), (c, d) = edges[first], edges[second]
            if (a, d) not in there and (c, b) not in there:
                there -= {(a, b), (c, d)}
                there |= {(a, d), (c, b)}
                edges[first], edges[second] = (a, d), (c, b)
        found.add_edges_from(edges)
    return found


def _pairs(edges: int, random: np.random.Generator) -> list[tuple[int, int, bool]]:
    """Pairs of edges whose ends may be swapped, and whether the second is to be taken as it stands."""
    if edges < 2:
        return []
    drawn = random.integers(edges, size=(_PASSES * edges, 2))
    turned = random.random(len(drawn)) < 0.5
    return [(int(a), int(b), bool(t)) for (a, b), t in zip(drawn, turned, strict=True) if a != b]


def _with_layers(graph: LayeredGraph | DiGraph) -> tuple[DiGraph, dict[Hashable, Any]]:
    if isinstance(graph, LayeredGraph):
        return graph.graph, dict(graph.layer_of)
    layers = dict(graph.nodes(data="layer"))
    if any(layer is None for layer in layers.values()):
        raise GraphError("vertices have no attribute 'layer': give `layered(graph)`")
    return graph, layers

"""Random graphs of network theory, with generators of our own.

NetworkX changed how its Barabasi-Albert graphs begin (in release 2.6), and with it every number that depends on them.
Here equal arguments and seeds give equal graphs whatever release is installed.
"""

from collections.abc import Callable
from itertools import combinations

import networkx as nx
import numpy as np

from bayesprune.errors import GraphError, UnknownNameError
from bayesprune.graphs.checks import Graph

FAMILIES = ("barabasi-albert", "watts-strogatz", "erdos-renyi")
"""The names of the generators."""

STUDY_VERTICES = (10, 50)
"""Fewest and most vertices of the graphs of the study of sparse recurrent networks (arXiv 2107.12917)."""


def barabasi_albert(vertices: int, edges: int, *, seed: int = 0) -> Graph:
    """A graph that grows by preferential attachment and begins with isolated vertices.

    The first `edges` vertices have no edges among themselves; each later one is joined to `edges` different earlier
    ones, vertex by vertex with probability proportional to degree (the first of them to all of the first). So there are
    edges * (vertices - edges) edges, and the first `edges` vertices are the sources of the layered graph.

    Args:
        vertices: how many, n.
        edges: of each new vertex, m; 1 <= m < n.
        seed: equal seeds give equal graphs.

    Raises:
        GraphError: numbers for which there is no such graph.
    """
    if not 1 <= edges < vertices:
        raise GraphError(
            f"barabasi-albert with {vertices} vertices and {edges} edges a vertex: take 1 <= edges < vertices"
        )
    random = np.random.default_rng(seed)
    graph = _empty(vertices)
    ends: list[int] = []  # every vertex as often as it has edges
    targets = list(range(edges))
    for new in range(edges, vertices):
        graph.add_edges_from((target, new) for target in targets)
        ends.extend([*targets, *[new] * edges])
        targets = _different(ends, edges, random)
    return graph


def _different(ends: list[int], count: int, random: np.random.Generator) -> list[int]:
    """So many different entries, drawn with probability proportional to how often they are there."""
    found: dict[int, None] = {}
    while len(found) < count:
        found[ends[int(random.integers(len(ends)))]] = None
    return list(found)


def watts_strogatz(vertices: int, neighbours: int, *, rewire: float = 1.0, seed: int = 0, tries: int = 100) -> Graph:
    """A connected ring of which every edge is rewired with some probability.

    On the ring each vertex is joined to the neighbours // 2 next ones on either side. Then each edge (u, v) becomes,
    with probability `rewire`, (u, w), with w drawn among the vertices that u is not joined to. Each vertex keeps
    at least neighbours // 2 edges. The study rewires all: nearly uniform random graphs with a smallest degree.

    Args:
        vertices: how many, n.
        neighbours: on the ring, k; 2 <= k < n. An odd number counts as the even one below it.
        rewire: probability p in [0, 1].
        seed: equal seeds give equal graphs.
        tries: graphs that are drawn until one is connected.

    Raises:
        GraphError: numbers for which there is no such graph, or none of those drawn is connected.
    """
    if not 2 <= neighbours < vertices or not 0 <= rewire <= 1:
        raise GraphError(
            f"watts-strogatz with {vertices} vertices, {neighbours} neighbours and rewiring {rewire}: take "
            "2 <= neighbours < vertices and 0 <= rewire <= 1"
        )
    random = np.random.default_rng(seed)
    what = f"watts-strogatz with {vertices} vertices, {neighbours} neighbours and rewiring {rewire}"
    return _first_connected(lambda: _rewired(vertices, neighbours // 2, rewire, random), tries, what)


def _rewired(vertices: int, half: int, rewire: float, random: np.random.Generator) -> Graph:
    graph = _empty(vertices)
    ring = [(vertex, (vertex + step) % vertices) for step in range(1, half + 1) for vertex in range(vertices)]
    graph.add_edges_from(ring)
    for near, far in ring:
        if random.random() >= rewire or graph.degree(near) == vertices - 1:
            continue
        free = sorted(set(range(vertices)) - {near} - set(graph[near]))
        graph.remove_edge(near, far)
        graph.add_edge(near, free[int(random.integers(len(free)))])
    return graph


def erdos_renyi(vertices: int, probability: float, *, seed: int = 0, tries: int = 100) -> Graph:
    """A connected graph in which every pair of vertices is joined with the same probability.

    Args:
        vertices: how many, n >= 2.
        probability: of an edge, p in (0, 1].
        seed: equal seeds give equal graphs.
        tries: graphs that are drawn until one is connected.

    Raises:
        GraphError: numbers for which there is no such graph, or none of those drawn is connected.
    """
    if vertices < 2 or not 0 < probability <= 1:
        raise GraphError(
            f"erdos-renyi with {vertices} vertices and edge probability {probability}: take vertices >= 2 and "
            "0 < probability <= 1"
        )
    random = np.random.default_rng(seed)

    def draw() -> Graph:
        graph = _empty(vertices)
        pairs = list(combinations(range(vertices), 2))
        there = random.random(len(pairs)) < probability
        graph.add_edges_from(pair for pair, edge in zip(pairs, there, strict=True) if edge)
        return graph

    return _first_connected(draw, tries, f"erdos-renyi with {vertices} vertices and edge probability {probability}")


def study_graph(family: str, seed: int, *, vertices: int | None = None) -> Graph:
    """A graph as the study of sparse recurrent networks drew its 800 (arXiv 2107.12917).

    n is uniform on 10 to 50. Barabasi-Albert has m = n // 10; Watts-Strogatz has k = n // 5 and rewires all edges. The
    study has no Erdos-Renyi graphs: here they get as many edges, on average, as the Watts-Strogatz ones.

    Args:
        family: one of `FAMILIES`.
        seed: equal seeds give equal graphs.
        vertices: n, where it is not to be drawn; 10 or more.

    Raises:
        UnknownNameError: there is no such family.
        GraphError: fewer than 10 vertices.
    """
    if family not in FAMILIES:
        raise UnknownNameError("family of random graphs", family, FAMILIES)
    fewest, most = STUDY_VERTICES
    if vertices is not None and vertices < fewest:
        raise GraphError(f"a graph of the study with {vertices} vertices: take {fewest} or more")
    random = np.random.default_rng([FAMILIES.index(family), seed])
    n = int(random.integers(fewest, most + 1)) if vertices is None else vertices
    own = int(random.integers(2**31))
    if family == "barabasi-albert":
        return barabasi_albert(n, n // 10, seed=own)
    if family == "watts-strogatz":
        return watts_strogatz(n, n // 5, seed=own, tries=10_000)
    return erdos_renyi(n, min(1.0, 2 * (n // 10) / (n - 1)), seed=own, tries=10_000)


def _empty(vertices: int) -> Graph:
    graph: Graph = nx.Graph()
    graph.add_nodes_from(range(vertices))
    return graph


def _first_connected(draw: Callable[[], Graph], tries: int, what: str) -> Graph:
    """The first graph that is connected.

    Raises:
        GraphError: none is.
    """
    for _ in range(tries):
        graph = draw()
        if nx.is_connected(graph):
            return graph
    raise GraphError(f"{what}: none of {tries:,} graphs was connected; take more edges, or more tries")

"""How probable a labelled graph is under the generators of random graphs, exactly.

Each generator is conditioned on connected graphs, as those of `bayesprune.graphs.random` are, which draw until one is.
With t independent decisions that are taken with probability x (edges of Erdos-Renyi, rewirings of Watts-Strogatz), the
probability of a graph is the sum over r of ways[r] x^r (1 - x)^(t - r), over the same sum for all connected graphs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import combinations
from math import comb, inf, log, log1p
from typing import Any

import networkx as nx
import numpy as np
import numpy.typing as npt

from bayesprune.errors import GraphError, UnknownNameError
from bayesprune.graphs.checks import Graph, check_loops
from bayesprune.graphs.growth import growth_probability
from bayesprune.graphs.random import FAMILIES, barabasi_albert, watts_strogatz
from bayesprune.graphs.rewiring import rewired_rings, rewirings

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

MOST_VERTICES = 20
"""Up to which probabilities are computed."""

MOST_LISTED = 6
"""Vertices up to which all connected graphs are listed: 26,704 of 6, and 1,866,256 of 7."""


@dataclass(frozen=True, eq=False)
class GraphWays:
    """The probability of one labelled graph, as a function of the probability x of one decision of its generator.

    Attributes:
        ways: [t + 1]; the graph has probability sum_r ways[r] x^r (1 - x)^(t - r) before conditioning.
        connected: [t + 1], the same for all connected graphs together.
    """

    ways: Floats
    connected: Floats

    def log_at(self, x: float = 0.0) -> float:
        """Log probability (nats) at x; minus infinity for a graph that the generator never makes."""
        return _log_sum(self.ways, x) - _log_sum(self.connected, x)


def graph_ways(edges: Flags, vertices: int, family: str, *, m: int = 1, neighbours: int = 2) -> GraphWays:
    """What the probability of a labelled graph is made of.

    Erdos-Renyi: x is the probability of an edge, connected graphs are counted by their edges (Gilbert 1959).
    Watts-Strogatz: x is the probability of rewiring; the sum is over all choices that end at this graph, by dynamic
    programming over which of its edges are there already. Barabasi-Albert: there is no x; the product over vertices of
    the probability of their earlier neighbours, summed over the orders in which they can be drawn.

    Args:
        edges: [n (n - 1) / 2], whether pairs (0, 1), (0, 2), ..., (n - 2, n - 1) are joined.
        vertices: n, 2 to 20.
        family: one of `FAMILIES`.
        m: edges of each new vertex of Barabasi-Albert.
        neighbours: on the ring of Watts-Strogatz, k.

    Raises:
        UnknownNameError: there is no such family.
        GraphError: numbers for which there is no such graph, or graphs that are too large.
    """
    if family not in FAMILIES:
        raise UnknownNameError("family of random graphs", family, FAMILIES)
    check_vertices(vertices)
    return _graph_ways(np.asarray(edges, np.bool_).tobytes(), vertices, family, m, neighbours)


@lru_cache(maxsize=100_000)
def _graph_ways(packed: bytes, vertices: int, family: str, m: int, neighbours: int) -> GraphWays:
    edges = np.frombuffer(packed, np.bool_)
    joined = [pair for pair, there in zip(pairs(vertices), edges, strict=True) if there]
    if family == "erdos-renyi":
        ways = np.zeros(len(edges) + 1)
        ways[len(joined)] = is_connected(joined, vertices)
        return GraphWays(ways, _connected_by_edges(vertices))
    if family == "barabasi-albert":
        return GraphWays(np.array([growth_probability(joined, vertices, m)]), np.ones(1))
    ways = rewirings(joined, vertices, neighbours) * is_connected(joined, vertices)
    return GraphWays(ways, _connected_rings(vertices, neighbours))


def log_probability(graph: Graph, family: str, **parameters: float) -> float:
    """Log probability (nats) that a generator gives exactly this labelled graph; minus infinity if it never does.

    Args:
        graph: undirected, with the vertices 0 to n - 1.
        family: one of `FAMILIES`.
        parameters: those of the generator: `edges` of barabasi-albert, `neighbours` and `rewire` of watts-strogatz,
            `probability` of erdos-renyi.

    Raises:
        UnknownNameError: there is no such family.
        GraphError: other vertices, directions, self-loops, other parameters, numbers for which there is no graph, or a
            graph that is too large: more than 20 vertices, or a ring of which too many graphs can come.
    """
    needed = {
        "barabasi-albert": ("edges",),
        "watts-strogatz": ("neighbours", "rewire"),
        "erdos-renyi": ("probability",),
    }
    if family not in needed:
        raise UnknownNameError("family of random graphs", family, FAMILIES)
    if set(parameters) != set(needed[family]):
        raise GraphError(
            f"{family} with {', '.join(sorted(parameters)) or 'no parameters'}: it has {' and '.join(needed[family])}"
        )
    x = parameters.get("rewire", parameters.get("probability", 0.0))
    m, neighbours = parameters.get("edges", 1), parameters.get("neighbours", 2)
    if not 0 <= x <= 1 or (family == "erdos-renyi" and x == 0) or m != int(m) or neighbours != int(neighbours):
        raise GraphError(
            f"{family} with {parameters}: take whole numbers of edges and neighbours, probabilities from 0 to 1, and "
            "of an edge one above 0"
        )
    m, neighbours = int(m), int(neighbours)
    return graph_ways(edges_of(graph), len(graph), family, m=m, neighbours=neighbours).log_at(x)


@cache
def pairs(vertices: int) -> tuple[tuple[int, int], ...]:
    """The pairs of vertices in the order of a graph's flags: (0, 1), (0, 2), ..., (n - 2, n - 1)."""
    return tuple(combinations(range(vertices), 2))


def edges_of(graph: Graph) -> Flags:
    """Which pairs of vertices are joined, [n (n - 1) / 2], in the order of `pairs`.

    Raises:
        GraphError: it is directed, or has self-loops or other vertices than 0 to n - 1.
    """
    if not isinstance(graph, nx.Graph) or graph.is_directed() or graph.is_multigraph():
        raise GraphError(f"a {type(graph).__name__} was given: an undirected networkx.Graph is needed")
    check_loops(graph)
    if set(graph.nodes) != set(range(len(graph))):
        raise GraphError(
            f"the vertices are not 0 to {len(graph) - 1}: number them (networkx.convert_node_labels_to_integers)"
        )
    return np.array([graph.has_edge(*pair) for pair in pairs(len(graph))], np.bool_)


def graph_from_edges(edges: Sequence[Any] | Flags, vertices: int) -> Graph:
    """The graph with these flags of pairs, in the order of `pairs`."""
    graph: Graph = nx.Graph()
    graph.add_nodes_from(range(vertices))
    graph.add_edges_from(pair for pair, there in zip(pairs(vertices), edges, strict=True) if there)
    return graph


def connected_graphs(vertices: int) -> Flags:
    """All connected labelled graphs of n vertices, [S, n (n - 1) / 2]; S is 1, 4, 38, 728 and 26,704 from n = 2 on.

    Raises:
        GraphError: fewer than 2 or more than 6 vertices.
    """
    if not 2 <= vertices <= MOST_LISTED:
        raise GraphError(f"all connected graphs of {vertices} vertices: 2 to {MOST_LISTED} are possible")
    size = comb(vertices, 2)
    flags = (np.arange(2**size)[:, None] >> np.arange(size - 1, -1, -1) & 1).astype(np.bool_)
    reach = np.zeros((len(flags), vertices, vertices), np.int64)
    reach[:, range(vertices), range(vertices)] = 1
    for place, (low, high) in enumerate(pairs(vertices)):
        reach[:, low, high] = reach[:, high, low] = flags[:, place]
    for _ in range(3):  # paths of 2, 4 and 8 edges, of which 5 are enough
        reach = (reach @ reach > 0).astype(np.int64)
    found: Flags = flags[reach.all((1, 2))]
    return found


def draw_edges(vertices: int, family: str, parameters: Mapping[str, float], random: np.random.Generator) -> Flags:
    """A graph of one of the generators.

    Args:
        vertices: n, 2 to 20.
        family: one of `FAMILIES`.
        parameters: as for `log_probability`.
        random: where it is drawn from.

    Returns:
        [n (n - 1) / 2], in the order of `pairs`.

    Raises:
        GraphError: numbers for which there is no such graph.
    """
    check_vertices(vertices)
    if family == "erdos-renyi":
        return _draw_erdos_renyi(vertices, parameters["probability"], random)
    seed = int(random.integers(2**63))
    if family == "barabasi-albert":
        return edges_of(barabasi_albert(vertices, int(parameters["edges"]), seed=seed))
    neighbours, rewire = int(parameters["neighbours"]), parameters["rewire"]
    return edges_of(watts_strogatz(vertices, neighbours, rewire=rewire, seed=seed, tries=10_000))


def _draw_erdos_renyi(vertices: int, probability: float, random: np.random.Generator) -> Flags:
    """First the number of edges, then which: it does not matter how improbable connected graphs are."""
    counts, size = _connected_by_edges(vertices), comb(vertices, 2)
    edges = size
    if probability < 1:
        powers = np.arange(size + 1)
        with np.errstate(divide="ignore"):
            logs = np.log(counts) + powers * np.log(probability) + powers[::-1] * np.log1p(-probability)
        weights = np.exp(logs - logs.max())
        edges = int(np.searchsorted(weights.cumsum() / weights.sum(), random.random(), side="right"))
    while True:
        flags = np.zeros(size, np.bool_)
        flags[random.permutation(size)[:edges]] = True
        if is_connected([pair for pair, there in zip(pairs(vertices), flags, strict=True) if there], vertices):
            return flags


def is_connected(joined: Sequence[tuple[int, int]], vertices: int) -> bool:
    """Whether these edges connect all vertices."""
    reached, waiting = {0}, [0]
    beside: dict[int, list[int]] = {vertex: [] for vertex in range(vertices)}
    for low, high in joined:
        beside[low].append(high)
        beside[high].append(low)
    while waiting:
        new = [vertex for vertex in beside[waiting.pop()] if vertex not in reached]
        reached.update(new)
        waiting.extend(new)
    return len(reached) == vertices


def check_vertices(vertices: int) -> None:
    """Refuse graphs whose probability is not computed.

    Raises:
        GraphError: fewer than 2 or more than 20 vertices.
    """
    if not 2 <= vertices <= MOST_VERTICES:
        raise GraphError(f"the probability of a graph of {vertices} vertices: 2 to {MOST_VERTICES} are possible")


@cache
def _connected_by_edges(vertices: int) -> Floats:
    """[n (n - 1) / 2 + 1], how many connected labelled graphs of n vertices there are with each number of edges.

    All graphs minus those in which the component of vertex 0 has fewer vertices, in whole numbers.
    """
    counts: dict[int, list[int]] = {}
    for n in range(1, vertices + 1):
        rest = [comb(comb(n, 2), e) for e in range(comb(n, 2) + 1)]
        for k in range(1, n):
            free = comb(n - k, 2)
            for e, count in enumerate(counts[k]):
                for more in range(free + 1 if count else 0):
                    rest[e + more] -= comb(n - 1, k - 1) * count * comb(free, more)
        counts[n] = rest
    return np.array(counts[vertices], np.float64)


@cache
def _connected_rings(vertices: int, neighbours: int) -> Floats:
    """The ways to all connected graphs; a part that is cut off has at least 2 (k // 2) + 1 vertices."""
    half = neighbours // 2
    if vertices < 2 * (2 * half + 1):
        steps = vertices * half
        return np.array([comb(steps, r) for r in range(steps + 1)], np.float64)
    ends = rewired_rings(vertices, neighbours)
    found: Floats = np.sum([ways for joined, ways in ends if is_connected(joined, vertices)], axis=0)
    return found


def _log_sum(ways: Floats, x: float) -> float:
    """In logs, since powers of small probabilities underflow."""
    found = -inf
    for r in np.flatnonzero(ways).tolist():
        rest = len(ways) - 1 - r
        if (x == 0 and r) or (x == 1 and rest):
            continue
        term = log(ways[r]) + (r * log(x) if r else 0.0) + (rest * log1p(-x) if rest else 0.0)
        found = float(np.logaddexp(found, term))
    return found

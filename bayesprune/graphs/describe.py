"""More of what network science says of a graph: degrees, communities, motifs, small worlds."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import networkx as nx
import numpy as np

from bayesprune.errors import GraphError
from bayesprune.graphs.checks import DiGraph, Graph, check_graph
from bayesprune.graphs.equal_degrees import random_of_equal_degrees
from bayesprune.graphs.paths import shortest_paths


def degree_distribution(graph: Graph, which: str = "all") -> dict[int, int]:
    """How many vertices have each degree, from the lowest degree up.

    Args:
        graph: any graph.
        which: "all" edges, or those "in" or "out" of a directed graph.

    Raises:
        GraphError: another word, or "in" or "out" for a graph without directions.
    """
    if which not in ("all", "in", "out") or (which != "all" and not graph.is_directed()):
        raise GraphError(f"degrees {which!r}: take 'all', or for a directed graph also 'in' or 'out'")
    view: Any = graph.degree if which == "all" else getattr(graph, f"{which}_degree")
    return dict(sorted(Counter(int(degree) for _, degree in view()).items()))


@dataclass(frozen=True)
class Communities:
    """Groups of vertices with more edges among themselves than chance would give.

    Attributes:
        members: the vertices of each, the largest first.
        modularity: share of edges within communities above that expected at equal degrees, below 1.
    """

    members: tuple[frozenset[Any], ...]
    modularity: float


def communities(graph: Graph, *, seed: int = 0) -> Communities:
    """Communities by Louvain's method (Blondel et al. 2008), directions and weights left out.

    Args:
        graph: with at least one edge.
        seed: the method visits vertices in random order; equal seeds give equal communities.

    Raises:
        GraphError: it has no edges.
    """
    if graph.number_of_edges() == 0:
        raise GraphError("the graph has no edges, and so no communities")
    plain = _undirected(graph)
    found = nx.community.louvain_communities(plain, weight=None, seed=seed)
    ordered = sorted(map(frozenset, found), key=lambda one: (-len(one), sorted(map(str, one))))
    return Communities(tuple(ordered), float(nx.community.modularity(plain, found, weight=None)))


def motifs(graph: Graph | DiGraph) -> dict[str, int]:
    """How often small patterns are there.

    Directed, without edges both ways. Of three vertices (induced, so that none is part of a larger one): "chain"
    a -> b -> c, "fan_out" a -> b, a -> c, "fan_in" a -> c, b -> c, and "feed_forward" a -> b -> c, a -> c, which a skip
    connection makes. And "bi_fan", two vertices that both lead to the same two (other edges left out).
    Undirected: "path" of three vertices (induced), "triangle", "square" (cycles of four vertices, chords left out).
    """
    matrix: Any = nx.to_scipy_sparse_array(graph, weight=None, format="csr").astype(np.int64)
    if not graph.is_directed():
        two = matrix @ matrix
        triangles = int((two * matrix).sum()) // 6
        degrees = matrix.sum(1)
        wedges = int((degrees * (degrees - 1)).sum()) // 2
        two.setdiag(0)
        squares = int((two.data * (two.data - 1)).sum()) // 8
        return {"path": wedges - 3 * triangles, "triangle": triangles, "square": squares}
    two = matrix @ matrix
    loops = int((two * matrix).sum())
    out, into = matrix.sum(1), matrix.sum(0)
    shared = matrix @ matrix.T
    shared.setdiag(0)
    return {
        "chain": int(two.sum()) - loops,
        "fan_out": int((out * (out - 1)).sum()) // 2 - loops,
        "fan_in": int((into * (into - 1)).sum()) // 2 - loops,
        "feed_forward": loops,
        "bi_fan": int((shared.data * (shared.data - 1)).sum()) // 4,
    }


@dataclass(frozen=True)
class SmallWorld:
    """How far a graph is a small world: as clustered as a lattice and yet with paths as short as a random graph's.

    Attributes:
        clustering: mean clustering coefficient.
        length: mean distance.
        random_clustering: mean over random graphs of equal degrees.
        random_length: likewise.
        coefficient: (clustering / random_clustering) / (length / random_length); well above 1 for a small world; None
            where random graphs have no triangles.
    """

    clustering: float
    length: float
    random_clustering: float
    random_length: float
    coefficient: float | None


def small_world(graph: Graph | DiGraph, *, references: int = 10, seed: int = 0) -> SmallWorld:
    """The small-world coefficient (Humphries and Gurney 2008), directions left out.

    A network whose layers are joined to the next one only has no triangles: its clustering is 0.

    Args:
        graph: connected.
        references: random graphs of equal degrees, which are also connected.
        seed: equal seeds give equal numbers.

    Raises:
        GraphError: it is not connected, has self-loops, or no reference could be found.
    """
    check_graph(graph)
    if references < 1:
        raise GraphError(f"{references} random graphs for comparison: take 1 or more")
    plain = _undirected(graph)
    drawn = [random_of_equal_degrees(plain, seed=seed + number) for number in range(references)]
    clustering, length = nx.average_clustering(plain), shortest_paths(plain).mean_length
    of_random = float(np.mean([nx.average_clustering(one) for one in drawn]))
    lengths = float(np.mean([shortest_paths(one).mean_length for one in drawn]))
    coefficient = (clustering / of_random) / (length / lengths) if of_random else None
    return SmallWorld(float(clustering), length, of_random, lengths, coefficient)


def _undirected(graph: Graph | DiGraph) -> Graph:
    """The same edges without directions and attributes."""
    plain: Graph = nx.Graph()
    plain.add_nodes_from(graph.nodes)
    plain.add_edges_from(graph.edges)
    return plain

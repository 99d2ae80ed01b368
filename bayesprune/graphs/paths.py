"""Shortest paths between all pairs of vertices, and what follows from them, as products of matrices.

NetworkX walks the graph from one vertex after the other in Python. A few products of n x n matrices give the same
numbers (to about 1e-15) in a small part of the time, for up to some thousand vertices.
"""

from dataclasses import dataclass

import networkx as nx
import numpy as np
import numpy.typing as npt

from bayesprune.graphs.checks import Graph

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Paths:
    """Shortest paths of an undirected, connected graph.

    Attributes:
        adjacency: [n, n], 1 where an edge is.
        distance: [n, n], edges of a shortest path.
        counts: [n, n], how many shortest paths there are.
    """

    adjacency: Floats
    distance: npt.NDArray[np.int64]
    counts: Floats

    @property
    def vertices(self) -> int:
        """How many."""
        return len(self.adjacency)

    @property
    def eccentricity(self) -> Floats:
        """[n], the largest distance from each vertex."""
        found: Floats = self.distance.max(1).astype(np.float64)
        return found

    @property
    def closeness(self) -> Floats:
        """[n], (n - 1) / sum of distances."""
        found: Floats = (self.vertices - 1) / self.distance.sum(1)
        return found

    @property
    def mean_length(self) -> float:
        """The mean distance of two different vertices."""
        return float(self.distance.sum() / (self.vertices * (self.vertices - 1)))

    def betweenness(self) -> tuple[Floats, Floats]:
        """That of the vertices [n] and of the edges [E], normalised by the number of pairs as NetworkX does.

        Edges stand in the order of the upper triangle of `adjacency`. Brandes' accumulation from all sources at once:
        of level d, the share of a vertex w at distance d passes to its predecessors v as counts(v) / counts(w).
        """
        share, through = np.zeros_like(self.counts), np.zeros_like(self.counts)
        for level in range(int(self.distance.max()), 0, -1):
            at, before = self.distance == level, self.distance == level - 1
            passed = np.where(at, (1 + share) / self.counts, 0.0)
            upper = np.where(before, self.counts, 0.0)
            through += upper.T @ passed
            share += (passed @ self.adjacency) * upper
        np.fill_diagonal(share, 0.0)
        n = self.vertices
        vertices = share.sum(0) / ((n - 1) * (n - 2)) if n > 2 else share.sum(0)
        edges = (through + through.T)[np.triu(self.adjacency, 1) > 0] / (n * (n - 1))
        return vertices, edges


def shortest_paths(graph: Graph) -> Paths:
    """Breadth first from all vertices at once; the graph must be connected, directions do not count."""
    matrix: Floats = nx.to_numpy_array(graph, weight="")  # every edge counts 1
    adjacency = ((matrix + matrix.T) > 0).astype(np.float64)
    n = len(adjacency)
    distance, counts, front = np.full((n, n), -1), np.eye(n), np.eye(n)
    np.fill_diagonal(distance, 0)
    level = 0
    while front.any():
        level += 1
        front = np.where(distance < 0, front @ adjacency, 0.0)
        distance[front > 0] = level
        counts += front
    return Paths(adjacency, distance, counts)

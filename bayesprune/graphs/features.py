"""The 23 properties of a graph from which the study of sparse recurrent networks predicted accuracy."""

from collections.abc import Mapping

import networkx as nx
import numpy as np

from bayesprune.graphs.checks import DiGraph, Graph, check_graph
from bayesprune.graphs.layered import LayeredGraph, layered
from bayesprune.graphs.paths import Floats, shortest_paths

CONVENTIONS: Mapping[str, str] = {
    "layers": "layers of the layered graph: 1 + edges of the longest directed path",
    "nodes": "vertices, n",
    "edges": "edges, E",
    "source_nodes": "vertices that no edge leads to, which are those of the first layer",
    "sink_nodes": "vertices of the LAST LAYER; vertices of other layers from which no edge leads on are not counted",
    "diameter": "the largest distance, directions left out, as for all that follow",
    "density": "E / (n (n - 1)): HALF the usual density of an undirected graph, the usual one of a directed graph",
    "average_shortest_path_length": "mean distance of two different vertices",
    "eccentricity": "largest distance from a vertex",
    "degree": "degree / (n - 1)",
    "closeness": "(n - 1) / sum of the distances from a vertex",
    "nodes_betweenness": "share of the pairs of other vertices whose shortest paths lead through a vertex: the sum of "
    "each pair's share of paths, times 2 / ((n - 1) (n - 2))",
    "edge_betweenness": "share of the pairs of vertices whose shortest paths lead over an edge: this sum "
    "times 2 / (n (n - 1))",
}  # fmt: skip
"""What each property is. The last five stand for three each: mean, sample variance and sample standard deviation."""

_SPREAD = ("eccentricity", "degree", "closeness", "nodes_betweenness", "edge_betweenness")
FEATURES: tuple[str, ...] = (
    *(name for name in CONVENTIONS if name not in _SPREAD),
    *(f"{name}_{kind}" for name in _SPREAD for kind in ("mean", "var", "std")),
)
"""The names of the 23 properties, in the order of the study's tables."""


def features(graph: Graph | DiGraph | LayeredGraph) -> dict[str, float]:
    """The 23 properties by name, in the order of `FEATURES`; `CONVENTIONS` says what each is.

    Layers, sources and last layer are those of the layered graph (edges of an undirected graph are directed from the
    lower to the higher vertex); all others are those of the graph without directions. A sample variance of a single
    value, such as that of the one edge of two vertices, is given as 0. Time grows as n^3 times the diameter: some
    milliseconds for 50 vertices, some seconds for 2,000.

    Raises:
        GraphError: a self-loop, an isolated vertex, several components, a directed cycle.
    """
    if isinstance(graph, LayeredGraph):
        check_graph(graph.graph)
        in_layers = graph
    else:
        in_layers = layered(graph)
    paths = shortest_paths(in_layers.graph)
    n, edges = paths.vertices, in_layers.graph.number_of_edges()
    of_vertices, of_edges = paths.betweenness()
    found: dict[str, float] = {
        "layers": len(in_layers.layers),
        "nodes": n,
        "edges": edges,
        "source_nodes": sum(degree == 0 for _, degree in in_layers.graph.in_degree()),
        "sink_nodes": in_layers.sizes[-1],
        "diameter": int(paths.distance.max()),
        "density": edges / (n * (n - 1)),
        "average_shortest_path_length": paths.mean_length,
    }
    spread = (paths.eccentricity, paths.adjacency.sum(1) / (n - 1), paths.closeness, of_vertices, of_edges)
    for name, values in zip(_SPREAD, spread, strict=True):
        found |= _moments(name, values)
    return found


def _moments(name: str, values: Floats) -> dict[str, float]:
    """Mean, sample variance and sample standard deviation."""
    variance = float(values.var(ddof=1)) if len(values) > 1 else 0.0
    return {f"{name}_mean": float(values.mean()), f"{name}_var": variance, f"{name}_std": float(np.sqrt(variance))}


def usual_density(graph: Graph | DiGraph) -> float:
    """Edges over possible edges, as NetworkX counts them: twice `density` of `features` for an undirected graph."""
    return float(nx.density(graph))

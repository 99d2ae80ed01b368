"""Graphs: random ones, layers, their properties, and networks as graphs.

What looks into networks needs torch, and is imported on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from bayesprune.errors import GraphError
from bayesprune.graphs.cells import OPERATIONS, Cell
from bayesprune.graphs.describe import (
    Communities,
    SmallWorld,
    communities,
    degree_distribution,
    motifs,
    small_world,
)
from bayesprune.graphs.equal_degrees import random_layers_of_equal_degrees, random_of_equal_degrees
from bayesprune.graphs.exchange import read_graphml, write_graphml
from bayesprune.graphs.features import CONVENTIONS, FEATURES, features, usual_density
from bayesprune.graphs.laws import connected_graphs, edges_of, graph_from_edges, log_probability
from bayesprune.graphs.layered import LayeredGraph, from_sizes, layered
from bayesprune.graphs.named import graph_name, named_graph
from bayesprune.graphs.random import FAMILIES, barabasi_albert, erdos_renyi, study_graph, watts_strogatz

if TYPE_CHECKING:
    from bayesprune.graphs.networks import largest_component, layer_graph, surviving, unit_graph

__all__ = [
    "CONVENTIONS",
    "FAMILIES",
    "FEATURES",
    "OPERATIONS",
    "Cell",
    "Communities",
    "GraphError",
    "LayeredGraph",
    "SmallWorld",
    "barabasi_albert",
    "communities",
    "connected_graphs",
    "degree_distribution",
    "edges_of",
    "erdos_renyi",
    "features",
    "from_sizes",
    "graph_from_edges",
    "graph_name",
    "largest_component",
    "layer_graph",
    "layered",
    "log_probability",
    "motifs",
    "named_graph",
    "random_layers_of_equal_degrees",
    "random_of_equal_degrees",
    "read_graphml",
    "small_world",
    "study_graph",
    "surviving",
    "unit_graph",
    "usual_density",
    "watts_strogatz",
    "write_graphml",
]

_OF_NETWORKS = ("largest_component", "layer_graph", "surviving", "unit_graph")


def __getattr__(name: str) -> object:
    if name not in _OF_NETWORKS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.networks"), name)


def __dir__() -> list[str]:
    return sorted(__all__)

"""What a graph must be before anything is computed from it."""

from typing import TYPE_CHECKING, Any, TypeAlias

import networkx as nx

from bayesprune.errors import GraphError

if TYPE_CHECKING:
    Graph: TypeAlias = nx.Graph[Any]
    DiGraph: TypeAlias = nx.DiGraph[Any]
else:  # NetworkX's classes take no parameter when the program runs
    Graph, DiGraph = nx.Graph, nx.DiGraph


def check_graph(graph: Any) -> None:
    """Refuse what is no simple connected graph of two vertices or more; directions do not count.

    Raises:
        GraphError: it is no graph of NetworkX, has parallel edges, fewer than two vertices, a self-loop, an isolated
            vertex, or several components.
    """
    if not isinstance(graph, nx.Graph) or graph.is_multigraph():
        raise GraphError(
            f"a {type(graph).__name__} was given: a networkx.Graph or DiGraph without parallel edges is needed"
        )
    if graph.number_of_nodes() < 2:
        raise GraphError(f"the graph has {graph.number_of_nodes()} vertices: at least 2 are needed")
    check_loops(graph)
    alone = [vertex for vertex, degree in graph.degree() if degree == 0]
    if alone:
        raise GraphError(
            f"the graph has {len(alone):,} isolated vertices, the first is {alone[0]!r}: remove them, or draw "
            "another graph"
        )
    parts: int = getattr(nx, f"number_{'weakly_' if graph.is_directed() else ''}connected_components")(graph)
    if parts > 1:
        raise GraphError(
            f"the graph has {parts:,} components: give one that is connected, or take one of its components"
        )


def check_loops(graph: Graph) -> None:
    """Refuse edges from a vertex to itself.

    Raises:
        GraphError: there are some.
    """
    loops = [vertex for vertex, _ in nx.selfloop_edges(graph)]
    if loops:
        raise GraphError(
            f"the graph has {len(loops):,} self-loops, the first at vertex {loops[0]!r}: remove them "
            "(networkx.selfloop_edges lists them)"
        )


def check_acyclic(graph: DiGraph) -> None:
    """Refuse a directed graph with a cycle.

    Raises:
        GraphError: names one.
    """
    if nx.is_directed_acyclic_graph(graph):
        return
    cycle = [edge[0] for edge in nx.find_cycle(graph)]
    shown = " -> ".join(map(repr, [*cycle[:5], *(["..."] if len(cycle) > 5 else []), cycle[0]]))
    raise GraphError(
        f"the directed graph has a cycle, {shown}: a network's layers need a graph without; turn an edge round or "
        "remove it, or give the undirected graph"
    )

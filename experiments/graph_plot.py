"""The picture of a network as a graph: columns of layers from input to output."""

from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np

from bayesprune.experiments.report.drawing import ACCENT, CONTRAST, INK
from bayesprune.graphs import layered

if TYPE_CHECKING:
    from bayesprune.experiments.graph_view import GraphView
    from bayesprune.graphs.checks import DiGraph

_MOST_LINES = 4_000
"""Edges that are drawn; of more, the strongest."""


def figure_of(view: "GraphView") -> Any:
    """A figure with the vertices in columns by their depth, edges as lines; strong ones are darker."""
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    graph = view.left
    columns = _columns(graph)
    figure = Figure(figsize=(max(4.0, 1.3 * len(columns) + 1.0), 4.2), layout="constrained")
    axes = figure.add_subplot()
    place = {
        vertex: (column, (row + 0.5) / len(vertices))
        for column, vertices in enumerate(columns) for row, vertex in enumerate(vertices)
    }  # fmt: skip
    edges = sorted(graph.edges(data="weight", default=1.0), key=lambda edge: -edge[2])[:_MOST_LINES]
    if edges:
        strength = np.array([weight for *_, weight in edges])
        shade = 0.05 + 0.5 * (strength / max(float(strength.max()), 1e-300)) ** 0.5
        shade = shade * min(1.0, (400 / len(edges)) ** 0.25)
        lines = LineCollection([(place[start], place[end]) for start, end, _ in edges], colors=ACCENT, alpha=shade)
        lines.set_linewidth(0.7)
        axes.add_collection(lines)
    points = np.array(list(place.values())) if place else np.zeros((0, 2))
    size = 3.0 if len(points) > 300 else 14.0
    axes.scatter(points[:, 0], points[:, 1], s=size, color=CONTRAST, zorder=2, linewidths=0)
    if view.level == "layer":
        for vertex, (x, y) in place.items():
            units = graph.nodes[vertex].get("units", "")
            axes.annotate(
                f"{vertex} ({units})", (x, y), xytext=(0, 6), textcoords="offset points", ha="center", fontsize=7
            )
    axes.set_xlim(-0.5, max(len(columns), 1) - 0.5)
    axes.set_ylim(-0.03, 1.06)
    axes.set_xticks(range(len(columns)), [_name(view, vertices) for vertices in columns], fontsize=8, color=INK)
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)
    axes.set_title(f"{len(graph):,} vertices, {graph.number_of_edges():,} edges", fontsize=9)
    return figure


def _columns(graph: "DiGraph") -> list[list[Any]]:
    """The vertices by depth, in the order of their units; one a column where there are cycles."""
    if not nx.is_directed_acyclic_graph(graph) or len(graph) < 2:
        return [[vertex] for vertex in graph]

    def order(vertex: Any) -> tuple[str, int]:
        known = graph.nodes[vertex]
        return str(known.get("layer", vertex)), int(known.get("unit", 0))

    return [sorted(layer, key=order) for layer in layered(graph).layers]


def _name(view: "GraphView", vertices: list[Any]) -> str:
    """The layers of a column and how many of their units are left."""
    if view.level == "layer":
        return ""
    layers = dict.fromkeys(str(view.left.nodes[vertex]["layer"]) for vertex in vertices)
    names = list(layers) if len(layers) < 3 else [*list(layers)[:2], "..."]
    return "\n".join([*names, f"{len(vertices):,}"])

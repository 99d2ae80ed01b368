"""Pictures of random graphs with their layers."""

from collections.abc import Sequence
from typing import Any

from bayesprune.experiments.report.drawing import ACCENT, CONTRAST
from bayesprune.experiments.report.pictures import Sketch
from bayesprune.graphs import LayeredGraph, layered, study_graph

_EACH, _VERTICES = 2, 24
"""Graphs of each family that are drawn, with so many vertices."""


def examples_sketch(families: Sequence[str]) -> Sketch:
    """A few graphs of each family, in layers."""
    graphs = [
        (f"{family}:{seed}", layered(study_graph(family, seed, vertices=_VERTICES)))
        for family in families
        for seed in range(_EACH)
    ]
    facts = "; ".join(f"{name}: {len(graph.sizes)} layers, {graph.sizes[0]} sources" for name, graph in graphs)
    return Sketch(
        "example-graphs",
        f"Graphs with {_VERTICES} vertices, in layers",
        f"{facts}.",
        "From the sources on the left to the last layer on the right.",
        lambda: _figure(graphs),
    )


def _figure(graphs: Sequence[tuple[str, LayeredGraph]]) -> Any:
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.8, 4.6), layout="constrained")
    for axes, (name, graph) in zip(figure.subplots(2, len(graphs) // 2).flat, graphs, strict=True):
        place = {
            vertex: (column, (row + 0.5) / len(vertices) + 0.07 * (column % 2))
            for column, vertices in enumerate(graph.layers)
            for row, vertex in enumerate(vertices)
        }
        lines = [(place[start], place[end]) for start, end in graph.graph.edges]
        axes.add_collection(LineCollection(lines, colors=ACCENT, linewidths=0.6, alpha=0.5))
        axes.scatter(*zip(*place.values(), strict=True), s=14, color=CONTRAST, zorder=2, linewidths=0)
        axes.set_title(name, fontsize=9)
        axes.set_xticks(range(len(graph.layers)), [f"{size}" for size in graph.sizes], fontsize=7)
        axes.set_yticks([])
        axes.grid(visible=False)
        axes.set_xlabel("units of each layer", fontsize=8)
    return figure

"""The picture of accuracy predicted from structure."""

from collections.abc import Mapping
from typing import Any

from bayesprune.experiments.report.drawing import ACCENT, CONTRAST
from bayesprune.experiments.report.pictures import Sketch
from bayesprune.experiments.words import counted
from bayesprune.graphs.prediction import AccuracyTable, CrossValidated

_FAMILIES = (("barabasi_albert", "Barabasi-Albert", ACCENT, "o"), ("watts_strogatz", "Watts-Strogatz", CONTRAST, "s"))


def predicted_sketch(found: Mapping[str, tuple[AccuracyTable, CrossValidated]], name: str) -> Sketch:
    """Predicted against measured accuracy, a panel a cell."""
    facts = "; ".join(f"{cell}: R squared {one.r_squared:.2f}" for cell, (_, one) in found.items())
    return Sketch(
        "predicted-accuracy",
        "Accuracy predicted from the graph against measured accuracy",
        f"Cross-validated: {facts}.",
        f"A point a network, predicted by {name} models that have not seen it. On the line both agree.",
        lambda: _figure(found),
    )


def sources_sketch(tables: Mapping[str, AccuracyTable]) -> Sketch:
    """Accuracy against the number of sources, a panel a cell."""
    facts = "; ".join(f"{cell}: {counted(len(table), 'network')}" for cell, table in tables.items())
    return Sketch(
        "accuracy-sources",
        "Test accuracy against the number of sources",
        f"{facts}.",
        "A point a network. Sources are the units of the first layer, and the width of the embedding.",
        lambda: _sources_figure(tables),
    )


def _sources_figure(tables: Mapping[str, AccuracyTable]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.8, 2.3), layout="constrained")
    panels = figure.subplots(1, len(tables), sharey=True, squeeze=False)[0]
    for axes, (cell, table) in zip(panels, tables.items(), strict=True):
        for key, label, colour, marker in _FAMILIES:
            rows = [place for place, family in enumerate(table.family) if family == key]
            sources = table.properties["source_nodes"][rows]
            axes.plot(sources, table.accuracy[rows], marker, color=colour, markersize=3, label=label)
        axes.set_title(cell, fontsize=10)
        axes.set_xlabel("sources")
        axes.set_ylim(0.45, 1.03)
    panels[0].set_ylabel("test accuracy")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _figure(found: Mapping[str, tuple[AccuracyTable, CrossValidated]]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.8, 2.3), layout="constrained")
    panels = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
    for axes, (cell, (table, one)) in zip(panels, found.items(), strict=True):
        for key, label, colour, marker in _FAMILIES:
            rows = [place for place, family in enumerate(table.family) if family == key]
            axes.plot(table.accuracy[rows], one.predicted[rows], marker, color=colour, markersize=2.5, label=label)
        axes.axline((0.75, 0.75), slope=1, color="#808890", linewidth=0.8)
        axes.set_title(cell, fontsize=10)
        axes.set_xlabel("measured")
        axes.set_xlim(0.45, 1.03)
        axes.set_ylim(0.45, 1.03)
    panels[0].set_ylabel("predicted")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure

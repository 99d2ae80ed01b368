"""Pictures of the study: how accuracy falls with the weights that are left."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from bayesprune.experiments.papers.hidden_structures.curves import steps
from bayesprune.experiments.papers.hidden_structures.runs import method_of
from bayesprune.experiments.papers.rows import RowRuns
from bayesprune.experiments.report.drawing import count_axis, legend_below, looks, new_figure
from bayesprune.experiments.report.pictures import Sketch

Curve = list[tuple[int, float]]
"""Weights left and mean test accuracy in percent, from many weights to few."""


def accuracy_sketch(number: str, value: str, found: Sequence[RowRuns]) -> Sketch | None:
    """Accuracy against weights left, a line a method, for one setting of an experiment; None without runs."""
    curves = {
        method_of(one.row): mean_curve(one)
        for one in found
        if one.row.factor.startswith(f"{number}: ") and one.row.value == value and one.records
    }
    if not curves:
        return None
    facts = "; ".join(f"{name}: {curve[-1][1]:.1f} % with {curve[-1][0]:,} weights" for name, curve in curves.items())
    return Sketch(
        f"accuracy-weights-{number}",
        f"Experiment {number}, {value}: accuracy against weights left",
        f"At the end: {facts}.",
        "Mean over repeats, after the training that follows each step. Up and to the right is better.",
        lambda: _figure(curves),
    )


def mean_curve(one: RowRuns) -> Curve:
    """The mean over runs, step by step."""
    together = zip(*(steps(run) for run in one.records), strict=True)
    return [(some[0].weights, fmean(step.accuracy for step in some)) for some in together]


def _figure(curves: dict[str, Curve]) -> Any:
    """The figure."""
    figure, axes = new_figure(6.4, 3.6)
    for name, look in looks(list(curves)).items():
        weights, accuracies = zip(*curves[name], strict=True)
        axes.plot(weights, accuracies, color=look.colour, linestyle=look.dash, marker=look.marker, label=name)
    count_axis(axes, [weights for curve in curves.values() for weights, _ in curve])
    axes.invert_xaxis()
    axes.set_xlabel("weights left")
    axes.set_ylabel("test accuracy, %")
    legend_below(figure, axes)
    return figure

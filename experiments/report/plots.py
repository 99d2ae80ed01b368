"""The pictures of the report that compare methods: quality against cost, and cost epoch by epoch."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bayesprune.experiments.configurations import Configuration
from bayesprune.experiments.number_format import MISSING, compact
from bayesprune.experiments.report.drawing import Look, count_axis, drawing, legend_below, looks, new_figure
from bayesprune.experiments.report.pictures import Picture, Sketch
from bayesprune.experiments.report.svg import to_svg
from bayesprune.experiments.report.words import short
from bayesprune.experiments.scores import Score, score_of
from bayesprune.experiments.words import counted


@dataclass(frozen=True)
class EpochCurve:
    """A number of every epoch, over the runs of one configuration; all lists are of the same length.

    Attributes:
        epochs: numbers of the epochs.
        mean, low, high: over the runs that have the epoch.
    """

    epochs: list[int]
    mean: list[float]
    low: list[float]
    high: list[float]


Entry = dict[str, Any]


def scores_against_macs(found: Sequence[Configuration]) -> list[Picture]:
    """A picture for each task's first metric: runs of different tasks share no axis."""
    keys = dict.fromkeys(score_of(one.records[0]).key for one in found)
    alike = [[one for one in found if score_of(one.records[0]).key == key] for key in keys]
    return [
        score_against_macs(some, f"score-macs-{place}")
        for place, some in enumerate(alike)
        if sum(len(one.records) for one in some) > 1
    ]


def score_against_macs(found: Sequence[Configuration], name: str = "score-macs") -> Picture:
    """Every run as a point: the task's first metric on the test split against multiply-accumulates of one sample.

    Args:
        found: configurations of one task; runs whose metric is not defined are left out.
        name: of the picture, unique on its page.
    """
    score = score_of(found[0].records[0])
    label = f"{score.label[:1].upper()}{score.label[1:]}"
    with drawing():
        figure, axes = new_figure(4.6, 3.3)
        for legend, look, one in _named(found):
            macs, values = _points(one, score)
            axes.plot(
                macs,
                values,
                marker=look.marker,
                color=look.colour,
                linestyle="none",
                markersize=7,
                markeredgewidth=0,
                alpha=0.9,
                label=legend,
            )
        count_axis(axes, [run.result["macs"] for one in found for run in one.records])
        axes.set_xlabel("MACs of one sample")
        axes.set_ylabel(_axis_label(score))
        axes.margins(0.08)
        legend_below(figure, axes)
        runs = counted(sum(len(one.records) for one in found), "run")
        means = [f"{legend}: {_mean_point(one, score)}" for legend, _, one in _named(found)]
        title = f"{label} against multiply-accumulates"
        svg = to_svg(figure, name, title, f"{runs}. Means: {'; '.join(means)}.")
    side = "up" if score.higher_is_better else "down"
    return Picture(f"{label} against MACs", svg, f"Each point is one of {runs}; {side} and to the left is better.")


def _axis_label(score: Score) -> str:
    """Metric, unit, and the direction where lower is better."""
    parts = [f"test {score.label}", score.unit, "" if score.higher_is_better else score.direction]
    return short(", ".join(filter(None, parts)))


def macs_by_epoch(found: Sequence[Configuration]) -> Picture | None:
    """Training MACs of every epoch over those of the same epoch of plain dense training."""
    sketch = sketch_of_macs(found, "epoch-macs")
    return None if sketch is None else sketch.picture()


def seconds_by_epoch(found: Sequence[Configuration]) -> Picture | None:
    """Training seconds of every epoch, validation not counted."""
    sketch = sketch_of_seconds(found, "epoch-seconds")
    return None if sketch is None else sketch.picture()


def sketch_of_macs(found: Sequence[Configuration], name: str) -> Sketch | None:
    """Training MACs of every epoch over those of dense training; None where there is no history."""
    return _by_epoch(
        found,
        lambda entry: entry["macs"] / entry["dense_macs"] if entry["dense_macs"] > 0 else None,
        (name, "Training MACs per epoch", "training MACs / dense"),
        "1 is what the same epoch of dense training costs. Gradients of gates are counted.",
    )


def sketch_of_seconds(found: Sequence[Configuration], name: str) -> Sketch | None:
    """Training seconds of every epoch, validation not counted; None where there is no history."""
    return _by_epoch(
        found,
        lambda entry: entry["seconds"],
        (name, "Training seconds per epoch", "seconds per epoch"),
        "Time on the clock of the machine that ran it. Runs side by side slow each other down.",
    )


def epoch_curve(found: Configuration, value: Callable[[Entry], float | None]) -> EpochCurve:
    """A number of every epoch, over the runs of a configuration; epochs without the number are left out."""
    by_epoch: dict[int, list[float]] = {}
    for run in found.records:
        for entry in run.history:
            number = value(entry)
            if number is not None and math.isfinite(number):
                by_epoch.setdefault(int(entry["epoch"]), []).append(float(number))
    epochs = sorted(by_epoch)
    values = [by_epoch[epoch] for epoch in epochs]
    means = [math.fsum(some) / len(some) for some in values]
    return EpochCurve(epochs, means, [min(some) for some in values], [max(some) for some in values])


def _by_epoch(
    found: Sequence[Configuration],
    value: Callable[[Entry], float | None],
    texts: tuple[str, str, str],
    caption: str,
) -> Sketch | None:
    """Lines over epochs, one a configuration with its range over seeds; None where there is no history."""
    curves = [(name, look, epoch_curve(one, value)) for name, look, one in _named(found)]
    curves = [(name, look, curve) for name, look, curve in curves if curve.epochs]
    if not curves:
        return None
    name, heading, y_label = texts
    several = any(len(one.records) > 1 for one in found)
    caption = f"{caption}{' Line: mean over seeds; band: their range.' if several else ''}"
    ends = [f"{label} from {c.mean[0]:.3g} to {c.mean[-1]:.3g}" for label, _, c in curves]
    description = f"First and last epoch: {'; '.join(ends)}."
    return Sketch(name, heading, description, caption, lambda: _epoch_figure(curves, y_label))


def _epoch_figure(curves: Sequence[tuple[str, Look, EpochCurve]], y_label: str) -> Any:
    """Every curve over its epochs, from zero on."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = new_figure(4.6, 3.3)
    for name, look, curve in curves:
        _draw_curve(axes, name, look, curve)
    axes.set_ylim(bottom=0.0)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel(y_label)
    legend_below(figure, axes)
    return figure


def _draw_curve(axes: Any, name: str, look: Look, curve: EpochCurve) -> None:
    axes.fill_between(curve.epochs, curve.low, curve.high, color=look.colour, alpha=0.18, linewidth=0)
    every = max(1, len(curve.epochs) // 6)
    axes.plot(
        curve.epochs,
        curve.mean,
        color=look.colour,
        linestyle=look.dash,
        marker=look.marker,
        markevery=every,
        markersize=5,
        linewidth=1.7,
        label=name,
    )


def _named(found: Sequence[Configuration]) -> list[tuple[str, Look, Configuration]]:
    """Name for the legend, look and runs of every configuration."""
    styles = looks([one.label for one in found])
    return [(short(one.label), styles[one.label], one) for one in found]


def _points(found: Configuration, score: Score) -> tuple[list[float], list[float]]:
    """MACs and metric (shares in percent) of every run that has it."""
    factor = 100.0 if score.is_share else 1.0
    pairs = [(float(run.result["macs"]), score.of(run)) for run in found.records]
    known = [(macs, factor * value) for macs, value in pairs if value is not None]
    return [macs for macs, _ in known], [value for _, value in known]


def _mean_point(found: Configuration, score: Score) -> str:
    macs, _ = _points(found, score)
    values = [value for run in found.records if (value := score.of(run)) is not None]
    if not values:
        return MISSING
    return f"{score.show(sum(values) / len(values))} at {compact(sum(macs) / len(macs))} MACs"

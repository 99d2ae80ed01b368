"""The picture of test error against cost: published points, and ours as means with their seeds."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bayesprune.experiments.papers.measured import Number, error, macs, spread
from bayesprune.experiments.papers.published import Published
from bayesprune.experiments.papers.rows import RowRuns
from bayesprune.experiments.report.drawing import ACCENT, INK, new_figure
from bayesprune.experiments.report.pictures import Sketch

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FAINT_GRID = 0.15
"""So that names over it can be read."""

Point = tuple[str, str, RowRuns]
"""Label, colour and runs of a row."""


def sketch_of_errors(
    name: str, heading: str, ours: Sequence[Point], theirs: Sequence[Published], note: str
) -> Sketch | None:
    """Test error against MACs; None without runs of ours.

    Args:
        name: of the picture's file.
        heading: above it.
        ours: rows; those in the accent colour are joined by a line.
        theirs: published rows; those without MACs are left out.
        note: the end of the caption.
    """
    if not ours:
        return None
    facts = "; ".join(f"{label}: {_mean(one, error):.2f} % at {_mean(one, macs):,.0f} MACs" for label, _, one in ours)
    caption = f"Crosses: published points. Ours: mean over seeds, each seed a small dot; {note}"
    counted = [row for row in theirs if row.macs is not None]
    return Sketch(name, heading, f"Means of ours: {facts}.", caption, lambda: _figure(ours, counted))


def _figure(ours: Sequence[Point], theirs: Sequence[Published]) -> "Figure":
    """Points of both kinds with their names."""
    from bayesprune.experiments.report.drawing import write_counts
    from bayesprune.experiments.report.label_places import place_labels

    figure, axes = new_figure(6.4, 4.2)
    points = [(float(row.macs or 0), row.error) for row in theirs]
    labels = [(x, y, row.method, INK) for (x, y), row in zip(points, theirs, strict=True)]
    across, up = [x for x, _ in points], [y for _, y in points]
    axes.plot(across, up, linestyle="none", marker="x", color=INK, markersize=6, markeredgewidth=1.6)
    for label, colour, one in ours:
        runs = [(macs(run), error(run)) for run in one.records]
        mean = (_mean(one, macs), _mean(one, error))
        axes.plot(*zip(*runs, strict=True), linestyle="none", marker=".", markersize=3.5, color=colour, alpha=0.7)
        axes.plot(*mean, linestyle="none", marker="o", markersize=7, color=colour, markeredgewidth=0)
        points += [mean, *runs]
        labels.append((*mean, label, colour))
    curve = sorted((_mean(one, macs), _mean(one, error)) for _, colour, one in ours if colour == ACCENT)
    if curve:
        axes.plot(*zip(*curve, strict=True), color=ACCENT, linewidth=1.2, alpha=0.5)
    axes.set_xscale("log")
    _log_ticks(axes)
    write_counts(axes.xaxis)
    axes.set_xlabel("MACs of one sample")
    axes.set_ylabel("test error, %")
    axes.margins(0.1, 0.12)
    axes.grid(alpha=FAINT_GRID)
    place_labels(axes, labels, points)
    return figure


def _log_ticks(axes: "Axes") -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_minor_locator(NullLocator())


def _mean(one: RowRuns, number: Number) -> float:
    found = spread(one.records, number)
    return float("nan") if found is None else found.mean

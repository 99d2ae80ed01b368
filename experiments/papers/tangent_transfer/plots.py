"""Pictures of the study: how fast networks learn, and how near the transfer brings their kernels."""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from bayesprune.experiments.papers.rows import RowRuns
from bayesprune.experiments.papers.tangent_transfer.curves import Curve, kernel_curve, learning_curve
from bayesprune.experiments.report.drawing import count_axis, legend_below, looks, new_figure
from bayesprune.experiments.report.pictures import Sketch
from bayesprune.store.runs import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ENOUGH = 3
"""Points beside the first, which stands at step 1, where all networks are as good as untrained."""


def learning_sketch(name: str, heading: str, rows: Sequence[RowRuns]) -> Sketch | None:
    """Test accuracy against steps of training, a line a row; None where no run took it down."""
    whole = _mean_curves(rows, learning_curve)
    curves = {label: curve[1:] if len(curve) > _ENOUGH else curve for label, curve in whole.items()}
    if not curves:
        return None
    facts = "; ".join(f"{label}: {curve[-1][1]:.2f} % at step {curve[-1][0]:,}" for label, curve in curves.items())
    return Sketch(
        f"learning-{name}",
        heading,
        f"At the end: {facts}.",
        "Mean over seeds, on the test split, every 100 steps. Up and to the left is better. Nothing is chosen by it.",
        lambda: _learning_figure(curves),
    )


def kernel_sketch(name: str, heading: str, rows: Sequence[RowRuns]) -> Sketch | None:
    """The kernel's distance over the transfer, as a share of that at its start; None without a transfer."""
    curves = {
        label: [(step, 100.0 * distance / curve[0][1]) for step, distance in curve]
        for label, curve in _mean_curves(rows, kernel_curve).items() if curve[0][1]
    }  # fmt: skip
    if not curves:
        return None
    facts = "; ".join(f"{label}: {curve[-1][1]:.1f} % after {curve[-1][0]:,} steps" for label, curve in curves.items())
    return Sketch(
        f"kernel-{name}",
        heading,
        f"At the end: {facts}.",
        "Mean over seeds of the squared distance from the teacher's kernel on 4 x 64 validation images, after every "
        "epoch. Down is better.",
        lambda: _kernel_figure(curves),
    )


def _mean_curves(rows: Sequence[RowRuns], of: Callable[[RunRecord], Curve]) -> dict[str, Curve]:
    """The mean over the runs of each row, step by step; rows with a run without a curve are left out."""
    found = {}
    for one in rows:
        curves = [of(run) for run in one.records]
        if curves and all(curves):
            together = zip(*curves, strict=True)
            found[one.row.value] = [(at[0][0], fmean(value for _, value in at)) for at in together]
    return found


def _learning_figure(curves: Mapping[str, Curve]) -> "Figure":
    figure, axes = new_figure(6.4, 3.9)
    _draw(axes, curves)
    axes.set_ylabel("test accuracy, %")
    axes.set_xlabel("steps of training")
    last = [curve[-1][1] for curve in curves.values()]
    first = [curve[0][1] for curve in curves.values()]
    axes.set_ylim(bottom=max(min(first), min(last) - 20.0))
    legend_below(figure, axes)
    return figure


def _kernel_figure(curves: Mapping[str, Curve]) -> "Figure":
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    figure, axes = new_figure(6.4, 3.9)
    _draw(axes, curves)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("steps of transfer")
    axes.set_ylabel("kernel distance, % of start")
    legend_below(figure, axes)
    return figure


def _draw(axes: "Axes", curves: Mapping[str, Curve]) -> None:
    """The lines, each with its marker at the end, over a logarithmic axis where the steps spread widely."""
    for label, look in looks(list(curves)).items():
        steps, values = zip(*curves[label], strict=True)
        axes.plot(
            steps, values, color=look.colour, linestyle=look.dash, marker=look.marker, markevery=[-1], markersize=4.5,
            linewidth=1.4, label=label,
        )  # fmt: skip
    count_axis(axes, [step for curve in curves.values() for step, _ in curve])

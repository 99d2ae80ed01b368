"""Pictures of pruned recurrent networks."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from bayesprune.experiments.papers.hidden_structures.rnn_published import PRUNED
from bayesprune.experiments.papers.hidden_structures.rnn_runs import CELLS, MATRICES, cell_of
from bayesprune.experiments.papers.hidden_structures.rnn_tables import Setting, retrained, units_of
from bayesprune.experiments.papers.rows import RowRuns
from bayesprune.experiments.report.drawing import count_axis, legend_below, looks, new_figure
from bayesprune.experiments.report.pictures import Sketch

Curve = list[tuple[float, float]]
_EPOCHS = {0: "right after pruning", 1: "after 1 epoch"}


def removed_sketch(settings: Sequence[Setting]) -> Sketch | None:
    """Accuracy against the share removed, a panel a cell; None without runs."""
    if not settings:
        return None
    eighty = [f"{CELLS[one.cell]} {_mean(one, 1):.4f}" for one in settings if (one.choice, one.rate) == ("both", 80)]
    facts = f"80 % of both removed, after 1 epoch: {', '.join(eighty)}." if eighty else "80 % of both was not run."
    return Sketch(
        "rnn-accuracy-removed",
        "Accuracy against the share of weights removed",
        facts,
        "Mean over seeds. Solid: after one epoch of re-training; dashed: right after pruning. Crosses: published, "
        "after one epoch, both matrices.",
        lambda: _removed(settings),
    )


def cost_sketch(settings: Sequence[Setting], found: Sequence[RowRuns]) -> Sketch | None:
    """Accuracy against weights, of masks and of methods that remove units; None unless there are both."""
    curves = {f"magnitude, {CELLS[cell]}": curve for cell in CELLS if (curve := _kept(settings, cell))}
    units: dict[str, Curve] = {}
    for one in units_of(found):
        name = f"{one.row.settings.method}, {CELLS[cell_of(one.row)]}"
        units.setdefault(name, []).extend(
            (float(run.result["nonzero_weights"]), float(run.result["accuracy"])) for run in one.records
        )
    if not curves or not units:
        return None
    facts = "; ".join(f"{name}: {curve[0][1]:.4f} with {curve[0][0]:,.0f}" for name, curve in units.items())
    return Sketch(
        "rnn-accuracy-weights",
        "Accuracy against weights that are not 0",
        f"{facts}.",
        "Lines: magnitude pruning of both matrices, last epoch; these networks cost as many multiply-accumulates as "
        "dense ones. Points: methods that remove hidden units, and with them multiply-accumulates.",
        lambda: _costs(curves, units),
    )


def _mean(one: Setting, epochs: int) -> float:
    return fmean(retrained(epochs)(run) for run in one.records)


def _kept(settings: Sequence[Setting], cell: str) -> Curve:
    """Weights left and accuracy in the end, of both matrices."""
    chosen = [one for one in settings if (one.choice, one.cell) == ("both", cell)]
    return sorted((_average(one, "nonzero_weights"), _average(one, "accuracy")) for one in chosen)


def _average(one: Setting, key: str) -> float:
    return fmean(float(run.result[key]) for run in one.records)


def _removed(settings: Sequence[Setting]) -> Any:
    """The figure of shares removed."""
    from matplotlib.figure import Figure

    cells = [cell for cell in CELLS if any(one.cell == cell for one in settings)]
    figure = Figure(figsize=(6.8, 2.6), layout="constrained")
    panels = figure.subplots(1, len(cells), sharey=True, squeeze=False)[0]
    for axes, cell in zip(panels, cells, strict=True):
        for choice, look in looks(list(MATRICES)).items():
            own = [one for one in settings if (one.cell, one.choice) == (cell, choice)]
            for epochs in _EPOCHS if own else ():
                axes.plot(
                    [one.rate for one in own], [_mean(one, epochs) for one in own], color=look.colour,
                    marker=look.marker, markersize=3, linestyle="-" if epochs else "--",
                    label=choice if epochs else None,
                )  # fmt: skip
        published = [(rate, pair[1]) for (choice, rate, of), pair in PRUNED.items() if (choice, of) == ("both", cell)]
        axes.plot(*zip(*published, strict=True), "x", color="#808890", markersize=5, label="published")
        axes.set_title(CELLS[cell], fontsize=10)
        axes.set_xlabel("removed, %")
        axes.set_xlim(5, 105)
        axes.set_ylim(0.45, 1.03)
    panels[0].set_ylabel("test accuracy")
    legend_below(figure, panels[0])
    return figure


def _costs(curves: Mapping[str, Curve], units: Mapping[str, Curve]) -> Any:
    """The figure of weights."""
    figure, axes = new_figure(6.4, 4.0)
    for name, look in looks([*curves, *units]).items():
        weights, accuracies = zip(*(curves[name] if name in curves else units[name]), strict=True)
        line = look.dash if name in curves else "none"
        axes.plot(weights, accuracies, color=look.colour, linestyle=line, marker=look.marker, label=name)
    count_axis(axes, [weights for curve in (*curves.values(), *units.values()) for weights, _ in curve])
    axes.invert_xaxis()
    axes.set_xlabel("weights that are not 0")
    axes.set_ylabel("test accuracy")
    legend_below(figure, axes)
    return figure

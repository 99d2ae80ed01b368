"""The pictures of the study: error against cost, gates on their way, and final against starting widths."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bayesprune.experiments.configurations import Configuration
from bayesprune.experiments.papers.error_plot import FAINT_GRID, sketch_of_errors
from bayesprune.experiments.papers.measured import find, only
from bayesprune.experiments.papers.parsimonious.published import PUBLISHED
from bayesprune.experiments.papers.parsimonious.runs import scale_of
from bayesprune.experiments.papers.parsimonious.tables import OURS, TITLES
from bayesprune.experiments.papers.rows import RowRuns
from bayesprune.experiments.report.drawing import ACCENT, COLOURS, CONTRAST, DASHES, MARKERS, new_figure
from bayesprune.experiments.report.pictures import Sketch
from bayesprune.experiments.report.plots import sketch_of_macs, sketch_of_seconds

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def error_sketch(network: str, found: Sequence[RowRuns]) -> Sketch | None:
    """Test error against MACs: published points, and ours as means with their seeds; None without runs of ours."""
    return sketch_of_errors(
        f"error-macs-{network}",
        f"{TITLES[network]}: error against MACs",
        _our_points(network, found),
        PUBLISHED[network],
        "numbers are prices. Down and to the left is better. Some published errors are the best of training, ours are "
        "of the last epoch.",
    )


def cost_sketches(network: str, found: Sequence[RowRuns]) -> list[Sketch]:
    """Training MACs and seconds of every epoch, beside dense training."""
    order = [*(factor for factor in OURS if factor != "dense"), "dense"]  # ours have the colours of the other picture
    rows = [(OURS[factor], only(found, network, factor)) for factor in order]
    shown = [Configuration(label, runs[0].result["method"], runs) for label, runs in rows if runs]
    sketches = [
        sketch_of_macs(shown, f"epoch-macs-{network}"),
        sketch_of_seconds(shown, f"epoch-seconds-{network}"),
    ]
    return [sketch for sketch in sketches if sketch is not None]


def widths_sketch(network: str, found: Sequence[RowRuns]) -> Sketch | None:
    """Final widths of every layer against the starting size; None for one size only."""
    rows = sorted(find(found, network, "widths"), key=lambda one: scale_of(one.row.settings))
    if len(rows) < 2:
        return None
    names = [str(group["name"]) for group in rows[0].records[0].groups]
    facts = "; ".join(f"{name}: {', '.join(f'{w:.0f}' for w in _final_means(rows, name))}" for name in names)
    return Sketch(
        f"widths-{network}",
        f"{TITLES[network]}: final against starting widths",
        f"Mean final widths from the smallest to the largest start: {facts}.",
        "Line: mean over seeds; dots: seeds; dotted: the width that training started with. A result that does not "
        "depend on the start is a level line.",
        lambda: _widths_figure(rows, names),
    )


def _our_points(network: str, found: Sequence[RowRuns]) -> list[tuple[str, str, RowRuns]]:
    """Label, colour and runs of what is drawn of ours: dense, every price, and the rows with bases of their own."""
    prices = [
        (f"{one.row.settings.price:g}" if not _is_base(one) else f"ours, {one.row.settings.price:g}", ACCENT, one)
        for one in find(found, network, "price")
    ]
    others = [("small", CONTRAST, "small"), ("flatten gates", CONTRAST, "flatten"), ("dense", COLOURS[2], "dense")]
    rest = [(label, colour, one) for label, colour, factor in others for one in find(found, network, factor)]
    return [*prices, *rest]


def _is_base(one: RowRuns) -> bool:
    return one.row.value.endswith("(base)")


def _widths_figure(rows: Sequence[RowRuns], names: Sequence[str]) -> "Figure":
    """A line a layer over the starting size, both logarithmic."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

    from bayesprune.experiments.report.drawing import write_counts

    figure, axes = new_figure(5.4, 3.8)
    scales = [scale_of(one.row.settings) for one in rows]
    for place, name in enumerate(names):
        colour, dash, marker = COLOURS[place], DASHES[place % len(DASHES)], MARKERS[place]
        means = _final_means(rows, name)
        starts = [_group(one.records[0], name)["size"] for one in rows]
        axes.plot(scales, starts, color=colour, linestyle=(0, (1, 2.5)), linewidth=1.2, alpha=0.8)
        axes.plot(scales, means, color=colour, linestyle=dash, marker=marker, linewidth=1.7, markersize=5)
        for scale, one in zip(scales, rows, strict=True):
            finals = [len(_group(run, name)["kept"]) for run in one.records]
            axes.plot([scale] * len(finals), finals, linestyle="none", marker=".", markersize=3, color=colour)
        axes.annotate(
            name, (scales[-1], means[-1]), (8, 0), textcoords="offset points", va="center", color=colour, fontsize=9
        )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(FixedLocator(scales))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"x{value:g}"))
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
    write_counts(axes.yaxis)
    axes.set_xlabel("starting widths over the usual ones")
    axes.set_ylabel("width")
    axes.margins(x=0.08)
    axes.grid(alpha=FAINT_GRID)
    return figure


def _final_means(rows: Sequence[RowRuns], name: str) -> list[float]:
    """Mean final width of a layer, row by row."""
    return [sum(len(_group(run, name)["kept"]) for run in one.records) / len(one.records) for one in rows]


def _group(run: Any, name: str) -> dict[str, Any]:
    """A group of gates by name."""
    return next(group for group in run.groups if group["name"] == name)

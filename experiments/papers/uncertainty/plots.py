"""The pictures of the study: NLL and AUROC against the cost of all passes."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bayesprune.experiments.papers.uncertainty.measure import ALONE, GIBBS, POSTERIOR, PREDICTORS, RESTARTS, Measured
from bayesprune.experiments.papers.uncertainty.tables import of
from bayesprune.experiments.report.drawing import ACCENT, CONTRAST, new_figure
from bayesprune.experiments.report.pictures import Sketch
from bayesprune.experiments.statistics import mean_and_spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_OURS = (ALONE, POSTERIOR, GIBBS, RESTARTS)
_READ = (
    "Large points: means over repeats; small ones: repeats. Blue: compact networks; orange: dense ones. MACs are those "
    "of all passes that one prediction takes."
)


def sketches(found: Sequence[Measured], other: str) -> list[Sketch]:
    """Both pictures; none without measurements."""
    if not found:
        return []
    return [
        _sketch("nll", "negative log-likelihood", "test NLL, nats", "Down is better.", lambda one: one.nll, found),
        _sketch(
            "auroc", f"noticing {other}", "AUROC of the entropy", "Up is better.", lambda one: one.auroc, found
        ),
    ]  # fmt: skip


def _sketch(
    name: str, what: str, label: str, better: str, number: Callable[[Measured], float], found: Sequence[Measured]
) -> Sketch:
    means = _means(found, number)
    facts = "; ".join(f"{predictor}: {value:.4f} at {macs:,.0f} MACs" for predictor, (macs, value) in means.items())
    return Sketch(
        f"uncertainty-{name}",
        f"Cost and {what}",
        f"Means over repeats: {facts}.",
        f"{better} {_READ}",
        lambda: _figure(means, label, number, found),
    )


def _means(found: Sequence[Measured], number: Callable[[Measured], float]) -> dict[str, tuple[float, float]]:
    """MACs and number of each predictor, means over repeats."""
    present = [(predictor, repeats) for predictor in PREDICTORS if (repeats := of(found, predictor))]
    return {
        predictor: (
            mean_and_spread([float(one.macs) for one in repeats]).mean,
            mean_and_spread([number(one) for one in repeats]).mean,
        )
        for predictor, repeats in present
    }


def _figure(
    means: dict[str, tuple[float, float]], label: str, number: Callable[[Measured], float], found: Sequence[Measured]
) -> "Figure":
    from bayesprune.experiments.report.drawing import write_counts
    from bayesprune.experiments.report.label_places import place_labels

    figure, axes = new_figure(6.4, 4.0)
    points, labels = [], []
    for predictor, mean in means.items():
        colour = ACCENT if predictor in _OURS else CONTRAST
        repeats = [(float(one.macs), number(one)) for one in of(found, predictor)]
        axes.plot(*zip(*repeats, strict=True), linestyle="none", marker=".", markersize=4, color=colour, alpha=0.7)
        axes.plot(*mean, linestyle="none", marker="o", markersize=7, color=colour, markeredgewidth=0)
        points += [mean, *repeats]
        labels.append((*mean, predictor, colour))
    axes.set_xscale("log")
    write_counts(axes.xaxis)
    axes.set_xlabel("MACs of one prediction, all passes")
    axes.set_ylabel(label)
    axes.margins(0.14, 0.14)
    place_labels(axes, labels, points)
    return figure

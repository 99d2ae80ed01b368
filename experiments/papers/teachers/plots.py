"""The picture of the study: errors of selection by method."""

from collections.abc import Mapping
from typing import Any

from bayesprune.experiments.papers.teachers.selected import Selection
from bayesprune.experiments.report.drawing import ACCENT, CONTRAST, legend_below, new_figure
from bayesprune.experiments.report.pictures import Sketch

_LEVEL = 5.0
"""Up to here counts are drawn to scale, above them their logarithm."""

_TICKS = (0, 1, 2, 3, 4, 5, 10, 20, 50, 100, 200, 500, 1_000)


def errors_sketch(part: str, methods: Mapping[str, Mapping[int, Selection]]) -> Sketch:
    """False positives and negatives of every draw, side by side for each method."""
    facts = "; ".join(f"{name}: {_mean(draws, 0):.1f} and {_mean(draws, 1):.1f}" for name, draws in methods.items())
    return Sketch(
        f"selection-{part}",
        f"{part}: errors of selection",
        f"Mean false positives and false negatives a draw: {facts}.",
        "A point a draw of the data; points of one height stand side by side. Lower is better.",
        lambda: _figure(methods),
    )


def counts(one: Selection) -> tuple[int, int]:
    """False positives and false negatives."""
    return one.false_positives, len(one.missed)


def heights_of(methods: Mapping[str, Mapping[int, Selection]]) -> list[int]:
    """All counts that are drawn."""
    return [count for draws in methods.values() for one in draws.values() for count in counts(one)]


def _mean(draws: Mapping[int, Selection], kind: int) -> float:
    return sum(counts(one)[kind] for one in draws.values()) / max(1, len(draws))


def _figure(methods: Mapping[str, Mapping[int, Selection]]) -> Any:
    """The figure."""
    figure, axes = new_figure(6.4, 3.4)
    kinds = (("false positives", ACCENT, "o"), ("false negatives", CONTRAST, "s"))
    for kind, (label, colour, marker) in enumerate(kinds):
        places, heights = [], []
        for place, draws in enumerate(methods.values()):
            for number, one in enumerate(draws.values()):
                places.append(place + (kind - 0.5) * 0.36 + 0.025 * (number - 0.5 * (len(draws) - 1)))
                heights.append(counts(one)[kind])
        axes.plot(places, heights, marker, color=colour, markersize=4, label=label)
    axes.set_yscale("symlog", linthresh=_LEVEL)
    axes.set_yticks(_TICKS, [f"{tick}" for tick in _TICKS])
    axes.minorticks_off()
    axes.set_ylim(-0.3, max(4.0, 1.3 * max(heights_of(methods), default=0)))
    axes.set_xticks(range(len(methods)), [name.replace(", ", ",\n") for name in methods], rotation=0, fontsize=8)
    axes.set_ylabel("inputs")
    legend_below(figure, axes)
    return figure

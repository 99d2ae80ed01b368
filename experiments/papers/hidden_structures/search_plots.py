"""The pictures of the part `search`."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bayesprune.experiments.papers.hidden_structures.search_tables import best_so_far
from bayesprune.experiments.report.drawing import count_axis, legend_below, looks, new_figure
from bayesprune.experiments.report.pictures import Sketch
from bayesprune.experiments.search.pareto import front
from bayesprune.experiments.search.running import Trained

Searches = Mapping[str, Sequence[Trained]]


def best_sketch(name: str, searches: Searches) -> Sketch:
    """The best validation accuracy so far against trained networks: each seed thin, the mean thick."""
    curves = {strategy: [best_so_far(one) for one in own] for strategy, own in searches.items()}
    facts = "; ".join(
        f"{strategy}: {100 * np.mean([curve[-1] for curve in own]):.1f} %" for strategy, own in curves.items()
    )
    return Sketch(
        f"best-{_slug(name)}",
        f"{name}: best validation accuracy so far",
        f"At the end, mean over seeds: {facts}.",
        "A thin line a seed, a thick one their mean. All strategies begin with the same networks.",
        lambda: _best_figure(curves),
    )


def _best_figure(curves: Mapping[str, Sequence[Sequence[float]]]) -> Any:
    figure, axes = new_figure(4.7, 3.4)
    lowest = min(curve[len(curve) // 4] for own in curves.values() for curve in own)  # the first ones say little
    for strategy, look in looks(list(curves)).items():
        for curve in curves[strategy]:
            axes.plot(range(1, len(curve) + 1), 100 * np.array(curve), color=look.colour, linewidth=0.6, alpha=0.5)
        shortest = min(map(len, curves[strategy]))
        mean = 100 * np.mean([curve[:shortest] for curve in curves[strategy]], axis=0)
        axes.plot(range(1, shortest + 1), mean, color=look.colour, linestyle=look.dash, linewidth=2, label=strategy)
    axes.set_ylim(bottom=100 * lowest - 0.5)
    axes.set_xlabel("networks trained")
    axes.set_ylabel("best validation accuracy, %")
    legend_below(figure, axes)
    return figure


def cost_sketch(name: str, searches: Searches) -> Sketch:
    """Validation accuracy against cost of all networks, and the front of each strategy."""
    points = {
        strategy: [(one.cost, one.accuracy) for each in own for one in each.search.candidates]
        for strategy, own in searches.items()
    }
    fronts = {
        strategy: sorted(own[place] for place in front([(accuracy, -cost) for cost, accuracy in own]))
        for strategy, own in points.items()
    }
    facts = "; ".join(f"{strategy}: {len(own)} networks" for strategy, own in fronts.items())
    return Sketch(
        f"cost-{_slug(name)}",
        f"{name}: accuracy against multiply-accumulates",
        f"On the front, {facts}.",
        "A point a network, all seeds together; the lines join those that no other of the strategy beats in both.",
        lambda: _cost_figure(points, fronts),
    )


def _cost_figure(points: Mapping[str, Any], fronts: Mapping[str, Any]) -> Any:
    figure, axes = new_figure(4.7, 3.4)
    for strategy, look in looks(list(points)).items():
        costs, accuracies = np.array(points[strategy], dtype=float).T
        axes.plot(costs, 100 * accuracies, look.marker, color=look.colour, markersize=2.5, alpha=0.5)
        costs, accuracies = np.array(fronts[strategy], dtype=float).T
        axes.plot(costs, 100 * accuracies, color=look.colour, linestyle=look.dash, label=strategy)
    count_axis(axes, [cost for own in points.values() for cost, _ in own])
    axes.set_xlabel("multiply-accumulates")
    axes.set_ylabel("validation accuracy, %")
    legend_below(figure, axes)
    return figure


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")

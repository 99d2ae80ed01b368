"""The tables of the part `search`."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from statistics import fmean, median

import numpy as np

from bayesprune.experiments.number_format import MISSING, NumberFormat, compact
from bayesprune.experiments.papers.verdicts import UNKNOWN, Target, verdict
from bayesprune.experiments.report.tables import Table
from bayesprune.experiments.search.running import Trained
from bayesprune.experiments.statistics import mean_and_spread
from bayesprune.store.runs import RunRecord

PUBLISHED = 82.4
"""Test accuracy in percent on CIFAR-10, from the abstract of arXiv 2107.12917."""

_PERCENT, _SHARE, _FEWEST = NumberFormat(2, 100.0), 0.8, 5
"""How accuracies are written; in which share of how many seeds at least a strategy has to be the better one."""

Searches = Mapping[str, Sequence[Trained]]


def best_so_far(one: Trained) -> list[float]:
    """The best validation accuracy after 1, 2, ... trained networks."""
    return list(accumulate((candidate.accuracy for candidate in one.search.candidates), max))


def target_of(name: str, searches: Searches) -> Target:
    """Whether the search with the predictor beats random search, seed by seed."""
    pairs = [
        (ours.search.best.accuracy, theirs.search.best.accuracy)
        for ours, theirs in zip(searches["predictor"], searches["random"], strict=True)
    ]
    better = sum(ours > theirs for ours, theirs in pairs)
    seeds = max(len(pairs), _FEWEST)
    needed = int(np.ceil(_SHARE * seeds))
    difference = 100 * fmean(ours - theirs for ours, theirs in pairs)
    return Target(
        f"{name}: predictor against random",
        f"better in {needed} of {seeds} seeds",
        f"better in {better} of {len(pairs)}, by {difference:+.2f} points on average",
        verdict(better >= needed) if len(pairs) == seeds else UNKNOWN,
    )


def strategies_table(searches: Searches, tested: Mapping[str, Sequence[RunRecord]]) -> Table:
    """What each strategy came to."""
    random = searches["random"]
    rows = []
    for name, own in searches.items():
        pairs = list(zip(own, random, strict=True))
        better = sum(one.search.best.accuracy > other.search.best.accuracy for one, other in pairs)
        equal = sum(one.search.best.accuracy == other.search.best.accuracy for one, other in pairs)
        rows.append(
            (
                name,
                _shown([one.search.best.accuracy for one in own]),
                _shown([float(record.result["accuracy"]) for record in tested[name]]),
                MISSING if name == "random" else f"{better} of {len(own)}" + (f", {equal} alike" if equal else ""),
                MISSING if name == "random" else _reached(pairs),
                compact(fmean(one.search.best.cost for one in own)),
            )
        )
    trained = len(random[0].search.candidates)
    headings = (
        "strategy", "best validation accuracy, %", "test accuracy of the winner, %", "better than random",
        "networks to random's best", "MACs of the winner",
    )  # fmt: skip
    caption = f"{trained} networks a search, mean ± standard deviation over {len(random)} seeds"
    return Table(caption, headings, tuple(rows))


def _shown(values: Sequence[float]) -> str:
    found = mean_and_spread(values)
    return _PERCENT.show(found.mean, found.sd)


def _reached(pairs: Sequence[tuple[Trained, Trained]]) -> str:
    """After how many networks the best that random search came to was reached: the median; more than all where not."""
    counts = [
        next((count for count, value in enumerate(best_so_far(one), 1) if value >= other.search.best.accuracy), np.inf)
        for one, other in pairs
    ]
    middle = median(counts)
    return f"{middle:g}" if np.isfinite(middle) else f"more than {len(pairs[0][0].search.candidates)}"


def prediction_table(own: Sequence[Trained]) -> Table:
    """What the predictions of the chosen children were worth, those of all seeds together."""
    told = [
        (one.predicted[0], one.predicted[1], one.accuracy)
        for each in own
        for one in each.search.candidates
        if one.predicted is not None
    ]
    headings = ("predicted", "rank correlation", "mean error, points", "within 1.96 deviations, %")
    if len(told) < 3:
        return Table("Predictions of the networks that were chosen by them", headings, ())
    from scipy.stats import spearmanr

    mean, spread, accuracy = np.array(told).T
    ordered = float(spearmanr(mean, accuracy).statistic)
    inside = float((np.abs(accuracy - mean) <= 1.96 * spread).mean())
    row = (str(len(told)), f"{ordered:.2f}", f"{100 * (accuracy - mean).mean():+.2f}", f"{100 * inside:.0f}")
    return Table("Predictions of the networks that were chosen by them", headings, (row,))

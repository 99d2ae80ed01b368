"""The verdict on a comparison: the strongest rival at no more cost, what pruning cost against dense, and sizes."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, inf

from bayesprune.experiments.configurations import Configuration, configurations
from bayesprune.experiments.run_settings import DRAWN, place_of
from bayesprune.experiments.scores import Score, score_of
from bayesprune.experiments.statistics import (
    PairedDifference,
    amount_of,
    interval_of,
    paired_difference,
    verdict,
)
from bayesprune.experiments.words import counted, listed
from bayesprune.store.runs import RunRecord

REFERENCE = "parsimonious"
NEAR = 0.8
"""A rival with fewer MACs than this share of ours is no equal: it may be worse for being smaller. One filter
of a small first layer takes up to a fifth of a network's MACs, so a rival of the same budget may be so much smaller."""
_SHARED = (
    *("widths", "factory", "code_digest", "data_fingerprint", "weights_digest", "epochs", "batch_size"),
    *("task", "output", "aux", "augment", "optimizer"),
)
"""Settings that two configurations must share to be compared, beside network and data."""


@dataclass(frozen=True)
class Comparison:
    """Ours beside another configuration, over the seeds they share.

    Attributes:
        label: the other's.
        score: the metric by which they are compared.
        difference: by how much ours is better: of accuracies ours minus the other's, of errors the other's minus ours.
        macs, params: means over the shared seeds, ours first.
    """

    label: str
    score: Score
    difference: PairedDifference
    macs: tuple[float, float]
    params: tuple[float, float]

    @property
    def no_costlier(self) -> bool:
        """Whether the other takes no more MACs than ours."""
        return self.macs[1] <= self.macs[0]

    @property
    def fair(self) -> bool:
        """Whether one can be said to win: the other takes as many MACs or little less, or is better with less."""
        return self.no_costlier and (self.macs[1] >= NEAR * self.macs[0] or self.difference.mean < 0.0)


def verdict_of(records: Sequence[RunRecord]) -> str:
    """What the runs of a comparison say, in a few sentences.

    The first names the strongest rival: of the methods that take no more MACs than parsimonious, and not far fewer, the
    one with the best mean of the task's first metric (accuracy, RMSE, ...) on the same seeds. Then come the sizes of
    both, what pruning cost against dense, and a larger network that is better. Configurations are compared that share
    task, network, data, widths, epochs and batch size. Of several settings of parsimonious the first with a rival is
    taken, and named by what tells it from the others; without any rival the best and the smallest are held against
    dense.
    """
    found = configurations(records)
    ours = [one for one in found if one.method == REFERENCE]
    if not ours:
        methods = listed(list(dict.fromkeys(one.method for one in found)))
        return (
            f"{counted(len(records), 'run')} of {methods}. A verdict holds {REFERENCE} against the others, and no "
            f"run here is of {REFERENCE}."
        )
    rivals = [[pair for other in found if (pair := _rival(one, other)) is not None] for one in ours]
    chosen = max(range(len(ours)), key=lambda number: (any(one.fair for one in rivals[number]), bool(rivals[number])))
    if rivals[chosen]:
        parts = [_rival_sentence(ours[chosen].label, rivals[chosen]), _dense_sentence(ours[chosen], found)]
        return " ".join([*parts, *_larger_sentence(rivals[chosen]), *_others_sentence(len(ours) - 1)])
    best, smallest = max(ours, key=_goodness), min(ours, key=lambda one: _mean(one, "macs"))
    told = {one.label: _dense_sentence(one, found) for one in (best, smallest)}
    return " ".join(
        [f"There is no other method to compare {REFERENCE} with on the same settings and seeds.", *told.values()]
    )


def _others_sentence(count: int) -> list[str]:
    """That there is more to see."""
    return [f"The table has {counted(count, 'more setting')} of {REFERENCE}."] if count else []


def _mean(one: Configuration, key: str) -> float:
    """The mean of a number of the results."""
    return _mean_of(one.records, key)


def _goodness(one: Configuration) -> float:
    """The mean of the most important metric, higher being better."""
    score = score_of(one.records[0])
    values = [value for run in one.records if (value := score.of(run)) is not None]
    return score.goodness(fsum(values) / len(values)) if values else -inf


def _rival(ours: Configuration, other: Configuration) -> Comparison | None:
    """Ours beside another method's; None where they are no rivals."""
    return None if other.method in (REFERENCE, "dense") else _paired(ours, other)


def _paired(ours: Configuration, other: Configuration) -> Comparison | None:
    """Both on the seeds they share; None without any, or on another network, other data or with other training."""
    score = score_of(ours.records[0])
    if _terms(ours) != _terms(other):
        return None
    sides = [{run.result["seed"]: run for run in one.records if score.of(run) is not None} for one in (ours, other)]
    runs = [[side[seed] for seed in sorted(sides[0].keys() & sides[1].keys())] for side in sides]
    if not runs[0]:
        return None
    macs, params = ((_mean_of(runs[0], key), _mean_of(runs[1], key)) for key in ("macs", "params"))
    return Comparison(other.label, score, _difference(score, runs), macs, params)


def _difference(score: Score, runs: Sequence[Sequence[RunRecord]]) -> PairedDifference:
    """By how much the runs of the first side are better; only accuracies are known to come from single examples."""
    a, b = ([score.goodness(value) for run in side if (value := score.of(run)) is not None] for side in runs)
    images = min(run.data["split_sizes"]["test"] for side in runs for run in side)
    return paired_difference(a, b, images=max(images, 1) if score.counts_examples else None)


def _mean_of(runs: Sequence[RunRecord], key: str) -> float:
    return fsum(run.result[key] for run in runs) / len(runs)


def _terms(one: Configuration) -> list[object]:
    """What two configurations must share to be compared."""
    first = one.records[0]
    drawn = ["weights_digest"] if first.settings.get(DRAWN) else []
    shared = [first.settings.get(name) for name in _SHARED if name not in drawn]
    return [place_of(first), score_of(first).key, *drawn, *shared]


def _rival_sentence(label: str, rivals: Sequence[Comparison]) -> str:
    """Who won against the strongest fair rival, and the sizes of both; why nobody did where there is none."""
    fair, score = [one for one in rivals if one.fair], rivals[0].score
    accuracy = score.counts_examples
    if not fair:
        nearest = min(rivals, key=lambda one: abs(one.macs[1] - one.macs[0]))
        what = "accuracies are not compared" if accuracy else f"{score.label} is not compared"
        return (
            f"No other method came to a size near that of {label}, so {what}. The nearest is "
            f"{nearest.label}: {_sizes(nearest)}."
        )
    most = max(one.difference.n for one in fair)
    best = min((one for one in fair if one.difference.n == most), key=lambda one: one.difference.mean)
    count = sum(one.no_costlier for one in rivals)
    first = "is the most accurate" if accuracy else f"has the best {score.label}"
    which = f"{first} of {count} rivals that take" if count > 1 else "takes"
    return (
        f"{verdict(label, best.label, best.difference, score=score)} {best.label} {which} no more MACs: {_sizes(best)}."
    )


def _sizes(rival: Comparison) -> str:
    """MACs and parameters of both."""
    (our_macs, macs), (our_params, params) = rival.macs, rival.params
    return f"{macs:,.0f} MACs and {params:,.0f} parameters against {our_macs:,.0f} and {our_params:,.0f}"


def _dense_sentence(ours: Configuration, found: Sequence[Configuration]) -> str:
    """What pruning cost in quality, and what is left of the network."""
    pairs = [_paired(ours, other) for other in found if other.method == "dense"]
    pair = max(filter(None, pairs), key=lambda one: one.difference.n, default=None)
    if pair is None:
        what = score_of(ours.records[0]).label
        return f"No dense run has the settings and seeds of {ours.label}, so what pruning cost in {what} is not known."
    kept = [f"{100.0 * now / max(before, 1.0):.3g} %" for now, before in (pair.macs, pair.params)]
    return (
        f"Against {pair.label}, {ours.label} {_change(pair.difference, pair.score)}; it keeps {kept[0]} of the MACs "
        f"and {kept[1]} of the parameters."
    )


def _change(gain: PairedDifference, score: Score) -> str:
    """What a gain, or the loss that it is, amounts to; of an error more is worse, so that nobody gains or loses it."""
    if gain.mean == 0.0:
        return f"has the same {score.label} ({interval_of(gain, score)})"
    better, size = gain.mean > 0.0, gain if gain.mean > 0.0 else gain.reversed
    chance = "" if gain.decided or gain.low is None else ", which may be chance"
    how = f"({interval_of(size, score)}{chance})"
    if score.higher_is_better:
        return f"{'gains' if better else 'loses'} {amount_of(size, score)} {how}"
    return f"is {'better' if better else 'worse'} by {amount_of(size, score)} {how}"


def _larger_sentence(rivals: Sequence[Comparison]) -> list[str]:
    """The best of the methods that take more MACs, where it is ahead."""
    ahead = [one for one in rivals if not one.no_costlier and one.difference.mean < 0.0]
    if not ahead:
        return []
    best = min(ahead, key=lambda one: one.difference.mean)
    lead, score, times = best.difference.reversed, best.score, best.macs[1] / max(best.macs[0], 1.0)
    amount = amount_of(lead, score)
    much = f"{amount.removesuffix(' of accuracy')} more accurate" if score.counts_examples else f"better by {amount}"
    return [
        f"{best.label} is {much} ({interval_of(lead, score)}), but it is no equal: it takes "
        f"{best.macs[1]:,.0f} MACs, {times:.3g} times as many."
    ]

"""The verdict on a comparison: the strongest rival at no more cost, what pruning cost against dense, and sizes."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum

from bayesprune.experiments.configurations import Configuration, configurations
from bayesprune.experiments.run_settings import place_of
from bayesprune.experiments.statistics import (
    PairedDifference,
    interval_of,
    paired_difference,
    points_of,
    verdict,
)
from bayesprune.experiments.words import counted, listed
from bayesprune.store.runs import RunRecord

REFERENCE = "parsimonious"
NEAR = 0.8
"""A rival with fewer MACs than this share of ours is no equal: it may be less accurate for being smaller. One filter
of a small first layer takes up to a fifth of a network's MACs, so a rival of the same budget may be so much smaller."""
_SHARED = ("widths", "factory", "code_digest", "data_fingerprint", "weights_digest", "epochs", "batch_size")
"""Settings that two configurations must share to be compared, beside network and data."""


@dataclass(frozen=True)
class Comparison:
    """Ours beside another configuration, over the seeds they share.

    Attributes:
        label: the other's.
        difference: accuracy of ours minus the other's.
        macs, params: means over the shared seeds, ours first.
    """

    label: str
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
    one with the best mean accuracy on the same seeds. Then come the sizes of both, what pruning cost against dense, and
    a larger network that is more accurate. Configurations are compared that share network, data, widths, epochs and
    batch size. Of several settings of parsimonious the first with a rival is taken, and named by what tells it from
    the others; without any rival the most accurate and the smallest are held against dense.
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
    best, smallest = max(ours, key=lambda one: _mean(one, "accuracy")), min(ours, key=lambda one: _mean(one, "macs"))
    told = {one.label: _dense_sentence(one, found) for one in (best, smallest)}
    return " ".join(
        [f"There is no other method to compare {REFERENCE} with on the same settings and seeds.", *told.values()]
    )


def _others_sentence(count: int) -> list[str]:
    """That there is more to see."""
    return [f"The table has {counted(count, 'more setting')} of {REFERENCE}."] if count else []


def _mean(one: Configuration, key: str) -> float:
    """The mean of a number of the results."""
    return fsum(run.result[key] for run in one.records) / len(one.records)


def _rival(ours: Configuration, other: Configuration) -> Comparison | None:
    """Ours beside another method's; None where they are no rivals."""
    return None if other.method in (REFERENCE, "dense") else _paired(ours, other)


def _paired(ours: Configuration, other: Configuration) -> Comparison | None:
    """Both on the seeds they share; None without any, or on another network, other data or with other training."""
    if _terms(ours) != _terms(other):
        return None
    sides = [{run.result["seed"]: run for run in one.records} for one in (ours, other)]
    runs = [[side[seed] for seed in sorted(sides[0].keys() & sides[1].keys())] for side in sides]
    if not runs[0]:
        return None
    images = min(run.data["split_sizes"]["test"] for side in runs for run in side)
    a, b = ([float(run.result["accuracy"]) for run in side] for side in runs)
    macs, params = (
        (fsum(run.result[key] for run in runs[0]) / len(a), fsum(run.result[key] for run in runs[1]) / len(a))
        for key in ("macs", "params")
    )
    return Comparison(other.label, paired_difference(a, b, images=max(images, 1)), macs, params)


def _terms(one: Configuration) -> list[object]:
    """What two configurations must share to be compared."""
    first = one.records[0]
    return [place_of(first), *(first.settings.get(name) for name in _SHARED)]


def _rival_sentence(label: str, rivals: Sequence[Comparison]) -> str:
    """Who won against the strongest fair rival, and the sizes of both; why nobody did where there is none."""
    fair = [one for one in rivals if one.fair]
    if not fair:
        nearest = min(rivals, key=lambda one: abs(one.macs[1] - one.macs[0]))
        return (
            f"No other method came to a size near that of {label}, so accuracies are not compared. The nearest is "
            f"{nearest.label}: {_sizes(nearest)}."
        )
    most = max(one.difference.n for one in fair)
    best = min((one for one in fair if one.difference.n == most), key=lambda one: one.difference.mean)
    count = sum(one.no_costlier for one in rivals)
    which = f"is the most accurate of {count} rivals that take" if count > 1 else "takes"
    return f"{verdict(label, best.label, best.difference)} {best.label} {which} no more MACs: {_sizes(best)}."


def _sizes(rival: Comparison) -> str:
    """MACs and parameters of both."""
    (our_macs, macs), (our_params, params) = rival.macs, rival.params
    return f"{macs:,.0f} MACs and {params:,.0f} parameters against {our_macs:,.0f} and {our_params:,.0f}"


def _dense_sentence(ours: Configuration, found: Sequence[Configuration]) -> str:
    """What pruning cost in accuracy, and what is left of the network."""
    pairs = [_paired(ours, other) for other in found if other.method == "dense"]
    pair = max(filter(None, pairs), key=lambda one: one.difference.n, default=None)
    if pair is None:
        return (
            f"No dense run has the settings and seeds of {ours.label}, so what pruning cost in accuracy is not known."
        )
    kept = [f"{100.0 * now / max(before, 1.0):.3g} %" for now, before in (pair.macs, pair.params)]
    gain = pair.difference
    chance = "" if gain.decided or gain.low is None else ", which may be chance"
    if gain.mean == 0.0:
        change = f"has the same accuracy ({interval_of(gain)})"
    elif gain.mean > 0.0:
        change = f"gains {points_of(gain)} of accuracy ({interval_of(gain)}{chance})"
    else:
        change = f"loses {points_of(gain.reversed)} of accuracy ({interval_of(gain.reversed)}{chance})"
    return (
        f"Against {pair.label}, {ours.label} {change}; it keeps {kept[0]} of the MACs and {kept[1]} of the parameters."
    )


def _larger_sentence(rivals: Sequence[Comparison]) -> list[str]:
    """The most accurate of the methods that take more MACs, where it is ahead."""
    ahead = [one for one in rivals if not one.no_costlier and one.difference.mean < 0.0]
    if not ahead:
        return []
    best = min(ahead, key=lambda one: one.difference.mean)
    lead, times = best.difference.reversed, best.macs[1] / max(best.macs[0], 1.0)
    return [
        f"{best.label} is {points_of(lead)} more accurate ({interval_of(lead)}), but it is no equal: it takes "
        f"{best.macs[1]:,.0f} MACs, {times:.3g} times as many."
    ]

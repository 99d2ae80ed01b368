"""The figures the study is to reach, published ones beside ours."""

from collections.abc import Sequence

from bayesprune.experiments.papers.hidden_structures.differences import pairs_of
from bayesprune.experiments.papers.hidden_structures.runs import BEFORE, LONGER
from bayesprune.experiments.papers.hidden_structures.tables import PERCENT, accuracy, mean_accuracy
from bayesprune.experiments.papers.measured import error, shown, shown_error, spread
from bayesprune.experiments.papers.rows import RowRuns
from bayesprune.experiments.papers.verdicts import UNKNOWN, Target, verdict
from bayesprune.experiments.statistics import PairedDifference, paired_difference
from bayesprune.store.runs import RunRecord

SEEDS, DATA = 3, "mnist"
_STEPS = (
    ("80 % at once, 50 epochs", LONGER, "class-blinded, 80 %"),
    ("80 % at once, until validation stalls", "4: magnitude", "80 %"),
)
"""Trainings after one step: in words, and the row."""

_SNIP = (("lenet300", "5%", 1.8), ("lenet300", "2%", 2.6), ("lenet5", "2%", 1.0))


def targets(found: Sequence[RowRuns]) -> list[Target]:
    """Every figure to reach of what was run."""
    reached = []
    if any(one.row.factor == "dense" for one in found):
        reached.append(_dense(found))
        for words, factor, value in _STEPS:
            reached += [_one_shot(found, words, factor, value), _gain(found, words, factor, value)]
        reached.append(_uniform(found))
    for network, density, most in _SNIP:
        if any(one.row.factor == f"{BEFORE}: {network}" for one in found):
            reached.append(_snip(found, network, density, most))
    return reached


def runs_of(found: Sequence[RowRuns], factor: str, value: str | None = None) -> list[RunRecord]:
    """All runs of a factor (and of one value), in the order of rows and seeds."""
    rows = [one for one in found if one.row.factor == factor and value in (None, one.row.value)]
    return [run for one in rows for run in one.records]


def blinded_and_uniform(found: Sequence[RowRuns]) -> PairedDifference | None:
    """Test accuracy of class-blinded minus class-uniform, paired over steps and seeds of experiment 4."""
    pairs = pairs_of("4", "class-uniform", found)
    if not pairs:
        return None
    ours, theirs = ([accuracy(pair[side]) for pair in pairs] for side in (1, 0))
    return paired_difference(ours, theirs, images=None)


def _small_nets(found: Sequence[RowRuns]) -> list[RunRecord]:
    """The dense networks 784-100-10."""
    return [run for one in found for run in one.records if (one.row.factor, one.row.network) == ("dense", "mlp")]


def _dense(found: Sequence[RowRuns]) -> Target:
    """The dense networks."""
    subject, wanted, runs = "784-100-10, dense", "97.0 ± 0.3 % accuracy", _small_nets(found)
    mean = mean_accuracy(runs)
    if mean is None or _lacking(runs):
        return Target(subject, wanted, _lacking(runs), UNKNOWN)
    return Target(subject, wanted, f"{shown(runs, accuracy, PERCENT)} %", verdict(abs(mean - 97.0) <= 0.3))


def _one_shot(found: Sequence[RowRuns], words: str, factor: str, value: str) -> Target:
    """80 % removed in one step."""
    subject = f"784-100-10, class-blinded, {words} (published: about 97.5 %)"
    wanted, runs = ">= 97.4 % accuracy", runs_of(found, factor, value)
    mean = mean_accuracy(runs)
    if mean is None or _lacking(runs):
        return Target(subject, wanted, _lacking(runs), UNKNOWN)
    return Target(subject, wanted, f"{shown(runs, accuracy, PERCENT)} %", verdict(mean >= 97.4 - 1e-9))


def _gain(found: Sequence[RowRuns], words: str, factor: str, value: str) -> Target:
    """What pruning adds to its own dense network."""
    subject = f"784-100-10, class-blinded, {words}, against its dense network"
    wanted, runs, base = "0.5 points more (published)", runs_of(found, factor, value), _small_nets(found)[:1]
    mean, dense = mean_accuracy(runs), mean_accuracy(base)
    if mean is None or dense is None or _lacking(runs):
        return Target(subject, wanted, _lacking(runs) or "the dense network is missing", UNKNOWN)
    return Target(subject, wanted, f"{mean - dense:+.2f} points", verdict(mean - dense >= 0.45 - 1e-9))


def _uniform(found: Sequence[RowRuns]) -> Target:
    """Class-uniform against class-blinded."""
    subject, wanted = "class-uniform against class-blinded, experiment 4", "significantly worse (published)"
    difference = blinded_and_uniform(found)
    lacking = _lacking(runs_of(found, "4: magnitude"))
    if difference is None or difference.low is None or difference.high is None or lacking:
        return Target(subject, wanted, lacking or "not run on the same seeds", UNKNOWN)
    words = (
        f"{difference.mean:.2f} points worse (95 % interval {difference.low:.2f} to {difference.high:.2f}, "
        f"{difference.n} pairs)"
    )
    return Target(subject, wanted, words, verdict(difference.low > 0))


def _snip(found: Sequence[RowRuns], network: str, density: str, most: float) -> Target:
    """SNIP's error at a density."""
    subject, wanted = f"SNIP, {network} at {density} density", f"<= {most:g} % error"
    runs = runs_of(found, f"{BEFORE}: {network}", f"snip, {density}")
    numbers = spread(runs, error)
    if numbers is None or _lacking(runs):
        return Target(subject, wanted, _lacking(runs), UNKNOWN)
    return Target(subject, wanted, f"{shown_error(runs)} %", verdict(numbers.mean <= most + 1e-9))


def _lacking(runs: Sequence[RunRecord]) -> str:
    """Why these runs cannot be held against a figure; nothing where they can."""
    data = sorted({str(run.data["name"]) for run in runs} - {DATA})
    reasons = [
        f"{len(runs)} of {SEEDS} runs" if len(runs) < SEEDS else "",
        f"on {', '.join(data)}, not {DATA}" if data else "",
    ]
    return "; ".join(filter(None, reasons))

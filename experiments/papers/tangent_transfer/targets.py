"""The figures the study is to reach, printed ones beside ours."""

from collections.abc import Sequence
from statistics import fmean

from bayesprune.experiments.papers.measured import RATIO, shown, spread, with_range
from bayesprune.experiments.papers.rows import RowRuns
from bayesprune.experiments.papers.tangent_transfer import runs as plan
from bayesprune.experiments.papers.tangent_transfer.curves import counted_steps, kernel_ratio, learning_curve
from bayesprune.experiments.papers.tangent_transfer.tables import (
    PERCENT,
    accuracy,
    shown_steps,
    transfer_words,
    weights,
)
from bayesprune.experiments.papers.verdicts import UNKNOWN, Target, verdict
from bayesprune.store.runs import RunRecord

MASKS = {plan.PERCEPTRON: 7_983, plan.SHORT: 12_911, plan.FULL: 12_911}
"""Weights that the rounding of the authors' code leaves at 3 %, by part: 7,055 + 899 + 29, 14 + 749 + 11,999 + 149."""

_NAMES = {plan.PERCEPTRON: "LeNet-300-100", plan.SHORT: "LeNet-5, short transfer", plan.FULL: "LeNet-5"}
_LEAST_SEEDS = {plan.PERCEPTRON: 3, plan.SHORT: 1, plan.FULL: 2}
_EPOCHS = {plan.PERCEPTRON: plan.EPOCHS, plan.SHORT: plan.SHORT_EPOCHS, plan.FULL: plan.EPOCHS}
_STEPS = {plan.PERCEPTRON: plan.STEPS, plan.SHORT: plan.SHORT_STEPS, plan.FULL: plan.STEPS}
_ACCURACIES = {plan.PERCEPTRON: ((96.5, 0.5), (93.5, 1.0)), plan.FULL: ((98.2, 0.3), (96.7, 0.6))}
"""Of tangent transfer and of the release's random baseline: to be reached, within so much."""

_FASTER, _NEAR, _SOON = 3.0, 0.1, 1_000


def targets(found: Sequence[RowRuns]) -> list[Target]:
    """Every figure to reach of what was run."""
    reached = []
    for part in (plan.PERCEPTRON, plan.SHORT, plan.FULL):
        if not any(plan.part_of(one.row) == part for one in found):
            continue
        if part in _ACCURACIES:
            names = (plan.NTT, plan.RANDOM)
            reached += [
                _accuracy(found, part, name, *goal) for name, goal in zip(names, _ACCURACIES[part], strict=True)
            ]
            reached += [_faster(found) if part == plan.PERCEPTRON else _soon(found), _near(found, part)]
        else:
            reached.append(_better(found))
        reached.append(_mask(found, part))
    return reached


def runs_of(found: Sequence[RowRuns], part: str, value: str) -> tuple[RunRecord, ...]:
    """The runs of a row of a part; none where it is not there."""
    rows = (one for one in found if (one.row.factor, one.row.value) == (part, value))
    return next((one.records for one in rows), ())


def _accuracy(found: Sequence[RowRuns], part: str, name: str, goal: float, within: float) -> Target:
    """A mean test accuracy."""
    subject, wanted = f"{_NAMES[part]}, {name}", f"{goal:g} ± {within:g} % accuracy"
    runs = runs_of(found, part, name)
    mean, lacking = spread(runs, accuracy), _lacking(runs, part)
    if mean is None or lacking:
        return Target(subject, wanted, lacking, UNKNOWN)
    measured = f"{shown(runs, accuracy, PERCENT)} %"
    return Target(subject, wanted, measured, verdict(abs(mean.mean - goal) <= within + 1e-9))


def _faster(found: Sequence[RowRuns]) -> Target:
    """Steps to 93 %, against random."""
    subject = f"{_NAMES[plan.PERCEPTRON]}, {plan.NTT}, steps to 93 %"
    wanted = f">= {_FASTER:g}x fewer than {plan.RANDOM}"
    ours, theirs = (runs_of(found, plan.PERCEPTRON, name) for name in (plan.NTT, plan.RANDOM))
    lacking = _lacking(ours, plan.PERCEPTRON) or _lacking(theirs, plan.PERCEPTRON) or _without_curve([*ours, *theirs])
    if lacking:
        return Target(subject, wanted, lacking, UNKNOWN)
    factor = fmean(counted_steps(run, 93) for run in theirs) / fmean(counted_steps(run, 93) for run in ours)
    words = f"{shown_steps(ours, 93)} against {shown_steps(theirs, 93)}: {factor:.1f}x"
    return Target(subject, wanted, words, verdict(factor >= _FASTER - 1e-9))


def _soon(found: Sequence[RowRuns]) -> Target:
    """Steps to 95 % of the full transfer of LeNet-5."""
    subject, wanted = f"{_NAMES[plan.FULL]}, {plan.NTT}, steps to 95 %", f"<= {_SOON:,}"
    runs = runs_of(found, plan.FULL, plan.NTT)
    lacking = _lacking(runs, plan.FULL) or _without_curve(runs)
    if lacking:
        return Target(subject, wanted, lacking, UNKNOWN)
    most = max(counted_steps(run, 95) for run in runs)
    return Target(subject, wanted, shown_steps(runs, 95), verdict(most <= _SOON))


def _near(found: Sequence[RowRuns], part: str) -> Target:
    """The kernel's distance at the end of the transfer, over that at its start, of every run."""
    subject, wanted = f"{_NAMES[part]}, kernel distance, end / start", f"<= {_NEAR:g}, every run"
    runs = runs_of(found, part, plan.NTT)
    lacking = _lacking(runs, part)
    if lacking or spread(runs, kernel_ratio) is None:
        return Target(subject, wanted, lacking or "not taken down", UNKNOWN)
    measured = f"{shown(runs, kernel_ratio, RATIO)}, at most {RATIO.show(max(map(kernel_ratio, runs)))}"
    return Target(subject, wanted, measured, verdict(max(map(kernel_ratio, runs)) <= _NEAR))


def _better(found: Sequence[RowRuns]) -> Target:
    """The short transfer of LeNet-5 against both random baselines."""
    subject, wanted = f"{_NAMES[plan.SHORT]}, {plan.NTT}", "more accurate than both random baselines"
    rows = {name: runs_of(found, plan.SHORT, name) for name in (plan.NTT, plan.RANDOM, plan.UNIFORM)}
    lacking = next(filter(None, (_lacking(runs, plan.SHORT) for runs in rows.values())), "")
    if lacking:
        return Target(subject, wanted, lacking, UNKNOWN)
    ours, *others = (fmean(map(accuracy, runs)) for runs in rows.values())
    named = " and ".join(f"{other:.2f} % ({name})" for other, name in zip(others, list(rows)[1:], strict=True))
    words = f"{ours:.2f} % after {transfer_words(rows[plan.NTT][0])} against {named}"
    return Target(subject, wanted, words, verdict(ours > max(others)))


def _mask(found: Sequence[RowRuns], part: str) -> Target:
    """Weights that are left, whatever the data and the steps."""
    subject, wanted = f"{_NAMES[part]}, {plan.NTT}, weights left", f"{MASKS[part]:,}"
    runs = runs_of(found, part, plan.NTT)
    if not runs:
        return Target(subject, wanted, "0 runs", UNKNOWN)
    return Target(subject, wanted, with_range(runs, weights), verdict({weights(run) for run in runs} == {MASKS[part]}))


def _lacking(runs: Sequence[RunRecord], part: str) -> str:
    """Why these runs cannot be held against a figure; nothing where they can."""
    least = _LEAST_SEEDS[part]
    data = sorted({str(run.data["name"]) for run in runs} - {plan.DATA})
    epochs = min((int(run.settings["epochs"]) for run in runs), default=_EPOCHS[part])
    options = [run.settings.get("options") or {} for run in runs]
    steps = min((int(one["steps"]) for one in options if "steps" in one), default=_STEPS[part])
    reasons = [
        f"{len(runs)} of {least} runs" if len(runs) < least else "",
        f"on {', '.join(data)}, not {plan.DATA}" if data else "",
        f"{epochs} epochs, not {_EPOCHS[part]}" if epochs < _EPOCHS[part] else "",
        f"{steps:,} steps of transfer, not {_STEPS[part]:,}" if steps < _STEPS[part] else "",
    ]
    return "; ".join(filter(None, reasons))


def _without_curve(runs: Sequence[RunRecord]) -> str:
    """Says so where a run did not take down how it learnt."""
    return "" if all(learning_curve(run) for run in runs) else "no learning curve"

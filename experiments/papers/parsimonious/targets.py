"""The figures the study is to reach, and whether it did."""

from collections.abc import Sequence

from bayesprune.experiments.papers.measured import (
    Number,
    decided_share,
    error,
    find,
    macs,
    only,
    params,
    shown_error,
    with_range,
)
from bayesprune.experiments.papers.parsimonious.runs import EPOCHS, scale_of, start_of
from bayesprune.experiments.papers.rows import RowRuns
from bayesprune.experiments.papers.verdicts import UNKNOWN, Target, verdict
from bayesprune.experiments.statistics import mean_and_spread
from bayesprune.store.runs import RunRecord

SEEDS, DATA = 5, "mnist"
_SCALES, _STARTS = (1.0, 2.0, 4.0), (0.5, 0.75, 0.9)
_MOST_SPREAD, _MOST_GAP, _MOST_DECIDED = 10.0, 0.15, 4.0
_ROUNDING = 1e-9
"""Of percentages that were computed from shares: 100 (1 - 0.992) is a little above 0.8."""


def targets(found: Sequence[RowRuns]) -> list[Target]:
    """Every figure to reach of the networks that were run."""
    found_targets = []
    if any(one.row.network == "lenet5" for one in found):
        base, flatten = only(found, "lenet5", "base"), only(found, "lenet5", "flatten")
        found_targets += [
            _error_at_cost("LeNet-5", base, 0.80, ("MACs", macs, 150_000)),
            _error_at_cost("LeNet-5, flatten gates", flatten, 1.0, ("parameters", params, 5_000)),
        ]
    if any(one.row.network == "lenet300" for one in found):
        base, small = only(found, "lenet300", "base"), only(found, "lenet300", "small")
        widths = [one for one in find(found, "lenet300", "widths") if scale_of(one.row.settings) in _SCALES]
        starts = [one for one in find(found, "lenet300", "start") if start_of(one.row.settings) in _STARTS]
        found_targets += [
            _error_at_cost("LeNet-300-100", base, 1.65, ("MACs", macs, 22_000)),
            _error_at_cost("LeNet-300-100, small (stretch)", small, 1.8, ("MACs", macs, 9_560)),
            *_robust("starting widths x1, x2, x4", widths, len(_SCALES)),
            *_robust("starting probabilities .5, .75 and .9", starts, len(_STARTS)),
            _decided(base),
        ]
    return found_targets


def _error_at_cost(subject: str, runs: Sequence[RunRecord], most_error: float, cost: tuple[str, Number, int]) -> Target:
    """A mean error, with every seed within a cost."""
    name, number, most = cost
    wanted = f"mean error <= {most_error:.2f} %, every seed <= {most:,} {name}"
    lacking = _lacking(runs)
    if lacking:
        return Target(subject, wanted, lacking, UNKNOWN)
    above = sum(number(run) > most for run in runs)
    cost_words = f"{with_range(runs, number)} {name}"
    seeds = f", {above} of {len(runs)} seeds above" if above else ""
    reached = _mean(runs) <= most_error + _ROUNDING and not above
    return Target(subject, wanted, f"{shown_error(runs)} % at {cost_words}{seeds}", verdict(reached))


def _robust(what: str, rows: Sequence[RowRuns], count: int) -> list[Target]:
    """Final sizes and mean errors that do not depend on where training starts."""
    subject = f"LeNet-300-100, {what}"
    sizes, errors = (
        f"all final MACs within ±{_MOST_SPREAD:g} % of their mean",
        f"mean errors differ by <= {_MOST_GAP} points",
    )
    reasons = [f"{count - len(rows)} of {count} rows missing"] if len(rows) < count else []
    reasons += [f"{one.row.value}: {lacking}" for one in rows if (lacking := _lacking(one.records))]
    if reasons:
        return [Target(subject, wanted, "; ".join(reasons), UNKNOWN) for wanted in (sizes, errors)]
    values = [macs(run) for one in rows for run in one.records]
    mean = mean_and_spread(values).mean
    low, high = (100.0 * (end - mean) / mean for end in (min(values), max(values)))
    means = [_mean(one.records) for one in rows]
    gap = max(means) - min(means)
    listed = ", ".join(f"{value:.2f}" for value in means)
    return [
        Target(
            subject,
            sizes,
            f"{low:+.1f} % to {high:+.1f} % of {mean:,.0f}",
            verdict(max(-low, high) <= _MOST_SPREAD + _ROUNDING),
        ),
        Target(subject, errors, f"{gap:.2f} points ({listed} %)", verdict(gap <= _MOST_GAP + _ROUNDING)),
    ]


def _decided(runs: Sequence[RunRecord]) -> Target:
    """Gates that were undecided when pruning ended."""
    subject, wanted = "LeNet-300-100, undecided gates", f"<= {_MOST_DECIDED:g} % of the initial gates, every seed"
    lacking = _lacking(runs)
    if lacking:
        return Target(subject, wanted, lacking, UNKNOWN)
    shares = [decided_share(run) for run in runs]
    measured = f"{min(shares):.1f} % to {max(shares):.1f} %"
    return Target(subject, wanted, measured, verdict(max(shares) <= _MOST_DECIDED + _ROUNDING))


def _lacking(runs: Sequence[RunRecord]) -> str:
    """Why these runs cannot be held against a figure; nothing where they can."""
    data = {str(run.data["name"]) for run in runs} - {DATA}
    epochs = max((int(run.settings["epochs"]) for run in runs), default=0)
    reasons = [
        f"{len(runs)} of {SEEDS} runs" if len(runs) < SEEDS else "",
        f"on {', '.join(sorted(data))}, not {DATA}" if data else "",
        f"{epochs} epochs, more than {EPOCHS}" if epochs > EPOCHS else "",
    ]
    return "; ".join(filter(None, reasons))


def _mean(runs: Sequence[RunRecord]) -> float:
    """The mean test error in percent."""
    return mean_and_spread([error(run) for run in runs]).mean

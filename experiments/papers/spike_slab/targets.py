"""The figures that the study of spike-and-slab nodes is to reach, and whether it did."""

from collections.abc import Sequence

from bayesprune.experiments.papers.measured import (
    Number,
    decided_share,
    error,
    macs,
    params,
    shown_error,
    with_range,
)
from bayesprune.experiments.papers.published import Published
from bayesprune.experiments.papers.rows import RowRuns
from bayesprune.experiments.papers.spike_slab import runs
from bayesprune.experiments.papers.spike_slab.collapse import nodes, open_nodes, share_of_macs
from bayesprune.experiments.papers.spike_slab.published import PUBLISHED
from bayesprune.experiments.papers.verdicts import UNKNOWN, Target, verdict
from bayesprune.experiments.statistics import mean_and_spread

MOST_GAP, MOST_MACS = 0.3, 1.2
"""A relative may have an error so many points above the published one, at so many times its MACs."""

BMRS_ERROR, BMRS_MLP_ERROR = 1.5, 2.8
"""Test errors in percent to stay within at no more parameters than BMRS has."""

HELD_AGAINST = {
    ("lenet300", "vib"): "VIB",
    ("lenet5", "bc-gnj"): "BC-GNJ",
    ("lenet5", "bc-ghs"): "BC-GHS",
    ("lenet5", "sbp"): "SBP",
    ("lenet5", "l0"): "L0, separate lambdas",
}
"""Relatives whose published row is a figure to reach, by part and method."""

_ROUNDING = 1e-9


def targets(found: Sequence[RowRuns]) -> list[Target]:
    """Every figure to reach of the parts that were run."""
    rows = {(one.row.factor, one.row.settings.method): one for one in found}
    return [
        *_recipe(rows.get((runs.RECIPE, "spike-slab"))),
        *_sister(rows.get(("mnist-mlp", "spike-slab-flat")), rows.get(("mnist-mlp", "spike-slab"))),
        *_at_params(rows, "bmrs-lenet5", BMRS_ERROR, runs.BMRS_PARAMS),
        *_at_params(rows, "bmrs-mlp", BMRS_MLP_ERROR, runs.BMRS_MLP_PARAMS),
        *(_relative(rows[key], key[0], name) for key, name in HELD_AGAINST.items() if key in rows),
    ]


def _recipe(one: RowRuns | None) -> list[Target]:
    """SS-IG as published: error and size at the end, and when its gates collapse."""
    if one is None:
        return []
    theirs = PUBLISHED["mnist-mlp"][0]
    subject, whole = "SS-IG, published recipe on MNIST", f"error <= {theirs.error:.2f} % at <= {theirs.macs:,} MACs"
    collapse = "open nodes fall below a quarter between epochs 20 and 100"
    lacking = _lacking(one)
    if lacking:
        return [Target(subject, wanted, lacking, UNKNOWN) for wanted in (whole, collapse)]
    assert theirs.macs is not None
    run = one.records[0]
    fell = next((epoch for epoch, count in enumerate(open_nodes(run), 1) if count < 0.25 * nodes(run)), None)
    said = "they do not" if fell is None else f"after epoch {fell}"
    return [
        Target(
            subject,
            whole,
            f"{shown_error(one.records)} % at {with_range(one.records, macs)} MACs "
            f"({share_of_macs(run, len(run.history)):.1f} % of the dense network's)",
            verdict(error(run) <= theirs.error + _ROUNDING and macs(run) <= theirs.macs),
        ),
        Target(subject, collapse, said, verdict(fell is not None and 20 <= fell <= 100)),
    ]


def _sister(flat: RowRuns | None, plain: RowRuns | None) -> list[Target]:
    """The flattened sister at equal epochs."""
    if flat is None or plain is None:
        return []
    subject = "spike-slab-flat beside spike-slab, MNIST"
    wanted = "at equal epochs smaller or more accurate, and every gate decided"
    lacking = _lacking(flat) or _lacking(plain)
    if lacking:
        return [Target(subject, wanted, lacking, UNKNOWN)]
    undecided = max(decided_share(run) for run in flat.records)
    better = _mean(flat, error) < _mean(plain, error) or _mean(flat, macs) < _mean(plain, macs)
    measured = (
        f"{shown_error(flat.records)} % at {with_range(flat.records, macs)} MACs, at most {undecided:.1f} % of gates "
        f"undecided when pruning ended; {shown_error(plain.records)} % at {with_range(plain.records, macs)} MACs"
    )
    return [Target(subject, wanted, measured, verdict(better and undecided == 0.0))]


def _at_params(rows: dict[tuple[str, str], RowRuns], part: str, most_error: float, most_params: int) -> list[Target]:
    """Errors at no more parameters than BMRS leaves."""
    wanted = f"mean error <= {most_error:.2f} %, every seed <= {most_params:,} parameters"
    found = []
    for method in runs.OURS:
        one = rows.get((part, method))
        if one is None:
            continue
        subject, lacking = f"{runs.PARTS[part].title}, {method}", _lacking(one)
        if lacking:
            found.append(Target(subject, wanted, lacking, UNKNOWN))
            continue
        above = sum(params(run) > most_params for run in one.records)
        measured = f"{shown_error(one.records)} % at {with_range(one.records, params)} parameters"
        reached = _mean(one, error) <= most_error + _ROUNDING and not above
        found.append(Target(subject, wanted, measured, verdict(reached)))
    return found


def _relative(one: RowRuns, part: str, name: str) -> Target:
    """A relative beside its published row."""
    theirs: Published = next(row for row in PUBLISHED[part] if row.method == name)
    assert theirs.macs is not None
    most_error, most_macs = theirs.error + MOST_GAP, round(MOST_MACS * theirs.macs)
    subject = f"{runs.PARTS[part].title}, {one.row.settings.method}"
    wanted = f"error <= {most_error:.2f} % at <= {most_macs:,} MACs"
    lacking = _lacking(one)
    if lacking:
        return Target(subject, wanted, lacking, UNKNOWN)
    measured = f"{shown_error(one.records)} % at {with_range(one.records, macs)} MACs"
    reached = _mean(one, error) <= most_error + _ROUNDING and max(macs(run) for run in one.records) <= most_macs
    return Target(subject, wanted, measured, verdict(reached))


def _lacking(one: RowRuns) -> str:
    """Why these runs cannot be held against a figure; nothing where they can."""
    part = runs.PARTS.get(one.row.factor, runs.PARTS["mnist-mlp"])
    data = {str(run.data["name"]) for run in one.records} - {part.data}
    missing = len(one.row.seeds) - len(one.records)
    return "; ".join(filter(None, [
        f"{missing} of {len(one.row.seeds)} runs missing" if missing else "",
        f"on {', '.join(sorted(data))}, not {part.data}" if data else "",
    ]))  # fmt: skip


def _mean(one: RowRuns, number: Number) -> float:
    return mean_and_spread([number(run) for run in one.records]).mean

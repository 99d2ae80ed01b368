"""The figures that the study on CIFAR-10 is to reach, and whether it did."""

import re
from collections.abc import Sequence

from bayesprune.experiments.papers.cifar import runs
from bayesprune.experiments.papers.cifar.tables import cut
from bayesprune.experiments.papers.measured import Pair, error, paired_runs, validation_error
from bayesprune.experiments.papers.rows import RowRuns
from bayesprune.experiments.papers.verdicts import UNKNOWN, Target, verdict
from bayesprune.experiments.statistics import mean_and_spread
from bayesprune.store.runs import RunRecord

MOST_LOSS = 1.0
"""Points of accuracy that a network may lose against the dense one of the same seed and schedule."""

SECTIONS = 1 / 3
"""Share of ResNet-20's residual sections that layer gates are to remove."""

_ROUNDING, _SLACK = 1e-9, 0.005
"""Of sums; percent by which a cut may fall short by rounding of its budget."""

_FIRST = re.compile(r"stage\d\.\d+\.conv1(\.1)?")
"""The first convolution of a residual section, also behind a selection of its inputs."""


def targets(found: Sequence[RowRuns]) -> list[Target]:
    """Every figure to reach of the networks that were run."""
    reached = []
    for part in dict.fromkeys(runs.part_of(one.row) for one in found):
        rows = [one for one in found if runs.part_of(one.row) == part]
        dense = next((one for one in rows if one.row.factor == runs.DENSE), None)
        if dense is None:
            continue
        for one in rows:
            if one.row.factor == runs.SIZED and one.row.settings.method == "parsimonious":
                reached.append(_at_budget(part, one, dense))
        if part == "resnet20":
            own = [one for one in rows if one.row.settings.method == runs.SECTION_GATES]
            reached.append(_layers(own[0] if own else None, dense))
        if part == f"resnet20{runs.SMALL}":
            reached.append(_layers(_chosen(rows, dense), dense, small=True))
    return reached


def _at_budget(part: str, one: RowRuns, dense: RowRuns) -> Target:
    """The central method at a published size."""
    budget = str(one.row.settings.budget)
    wanted_cut = 100 - float(budget.removeprefix("macs=").removesuffix("%"))
    subject = f"{part}, {one.row.value}"
    wanted = f"every seed cuts >= {wanted_cut:g} % of MACs, and loses <= {MOST_LOSS:.2f} points against dense"
    lacking = _lacking(one, dense)
    if lacking:
        return Target(subject, wanted, lacking, UNKNOWN)
    loss = _loss(paired_runs(one.records, dense.records))
    least = min(cut(run) for run in one.records)
    said = f"{loss:+.2f} points, at least {least:.1f} % cut"
    return Target(subject, wanted, said, verdict(loss <= MOST_LOSS + _ROUNDING and least >= wanted_cut - _SLACK))


def _chosen(rows: Sequence[RowRuns], dense: RowRuns) -> RowRuns | None:
    """The price with the least validation error of those that remove enough sections; else the one that removes most.

    Prices without runs are left out.
    """
    priced = [one for one in rows if one.row.settings.method == runs.SECTION_GATES and one.records]
    if not priced or not dense.records:
        return priced[0] if priced else None
    enough = [one for one in priced if _least_gone(one, dense) >= SECTIONS - _ROUNDING]
    if enough:
        return min(enough, key=lambda one: mean_and_spread([validation_error(run) for run in one.records]).mean)
    return max(priced, key=lambda one: _least_gone(one, dense))


def _least_gone(one: RowRuns, dense: RowRuns) -> float:
    """The least share of sections that a run of a row removes."""
    pairs = paired_runs(one.records, dense.records)
    return min((1 - sections(run) / sections(other) for run, other in pairs), default=0.0)


def _layers(one: RowRuns | None, dense: RowRuns, *, small: bool = False) -> Target:
    """Layer gates on ResNet-20; `small` where fewer pictures and a narrower network are meant."""
    subject = f"{runs.part_of(dense.row)}, {one.row.value if one is not None and small else runs.SECTION_GATES}"
    wanted = f"a third of the sections gone, <= {MOST_LOSS:.2f} points lost against dense at equal epochs"
    if one is None:
        return Target(subject, wanted, "no runs", UNKNOWN)
    lacking = _lacking(one, dense, small=small)
    if lacking:
        return Target(subject, wanted, lacking, UNKNOWN)
    loss, gone = _loss(paired_runs(one.records, dense.records)), _least_gone(one, dense)
    said = f"{100 * gone:.0f} % gone at least, {loss:+.2f} points"
    return Target(subject, wanted, said, verdict(gone >= SECTIONS - _ROUNDING and loss <= MOST_LOSS + _ROUNDING))


def sections(run: RunRecord) -> int:
    """Residual sections that still have layers."""
    return sum(bool(_FIRST.fullmatch(str(layer["name"]))) and layer["macs"] > 0 for layer in run.layers)


def _loss(pairs: Sequence[Pair]) -> float:
    """Mean rise of the test error, in points."""
    return mean_and_spread([error(one) - error(other) for one, other in pairs]).mean


def _lacking(one: RowRuns, dense: RowRuns, *, small: bool = False) -> str:
    """Why these runs cannot be held against a figure; nothing where they can."""
    missing = sum(len(row.row.seeds) - len(row.records) for row in (one, dense))
    if small:
        return f"{missing} runs missing" if missing else ""
    data = {str(run.data["name"]) for row in (one, dense) for run in row.records} - {"cifar10"}
    reduced = one.row.settings.widths is not None
    return "; ".join(filter(None, [
        f"{missing} runs missing" if missing else "",
        f"on {', '.join(sorted(data))}, not cifar10" if data else "",
        "at reduced width" if reduced else "",
    ]))  # fmt: skip

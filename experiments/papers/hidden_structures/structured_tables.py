"""What the structured methods came to: allocations and their validation errors, and the chosen ones' test errors."""

from collections.abc import Sequence

from bayesprune.experiments.number_format import MISSING, NumberFormat
from bayesprune.experiments.papers.hidden_structures.structured_runs import BASES, METHODS, REFERENCE, factor_of
from bayesprune.experiments.papers.measured import (
    architecture,
    error,
    find,
    macs,
    paired_runs,
    shown_difference,
    shown_error,
    validation_error,
    with_range,
)
from bayesprune.experiments.papers.rows import RowRuns
from bayesprune.experiments.report.sections import Section
from bayesprune.experiments.report.tables import Table
from bayesprune.experiments.statistics import paired_difference

_NOTES = (
    "Both sides train for the same number of epochs, and no deterministic run takes more multiply-accumulates than the "
    "Bayesian run of the same seed. It takes fewer by less than what one channel takes.",
    "“1:2:2” says which shares the groups keep in proportion to each other (inputs:fc1:fc2, conv1:conv2:fc1); the "
    "first ones given are about what the Bayesian method arrives at. Of each method's allocations the one with the "
    "least validation error of seed 0 is chosen; the others' test errors are not shown.",
)


def structured_section(found: Sequence[RowRuns]) -> Section | None:
    """The tables of both networks; None without runs."""
    tables = [
        table
        for network in BASES
        for table in (_result_table(network, found), _choice_table(network, found))
        if table is not None
    ]
    return Section("Channels, beside the Bayesian method", tables=tables, notes=_NOTES) if tables else None


def chosen(network: str, method: str, found: Sequence[RowRuns]) -> RowRuns | None:
    """The allocation of a method with the least validation error of its first run; None without runs."""
    return min(_tried(network, method, found), key=lambda one: validation_error(one.records[0]), default=None)


def _tried(network: str, method: str, found: Sequence[RowRuns]) -> list[RowRuns]:
    """The rows of a method."""
    return [one for one in find(found, network, factor_of(network)) if one.row.settings.method == method]


def _result_table(network: str, found: Sequence[RowRuns]) -> Table | None:
    """The Bayesian method and the chosen allocation of each other."""
    ours = next(iter(_tried(network, REFERENCE, found)), None)
    others = [one for method in METHODS if (one := chosen(network, method, found)) is not None]
    rows = [
        (one.row.value, str(len(one.records)), with_range(one.records, macs), shown_error(one.records), _gap(one, ours))
        for one in ([] if ours is None else [ours]) + others
    ]
    headings = ("method, allocation", "seeds", "MACs", "test error %", "more error than the Bayesian method's, points")
    return (
        Table(f"{network}: at no more multiply-accumulates than the Bayesian runs", headings, tuple(rows))
        if rows
        else None
    )


def _gap(one: RowRuns, ours: RowRuns | None) -> str:
    """Test error above that of the Bayesian runs of the same seeds, with its 95 % interval."""
    if ours is None or one is ours:
        return MISSING
    pairs = paired_runs(one.records, ours.records)
    if not pairs:
        return MISSING
    more, less = ([error(pair[side]) for pair in pairs] for side in (0, 1))
    return shown_difference(paired_difference(more, less, images=None))


def _choice_table(network: str, found: Sequence[RowRuns]) -> Table | None:
    """Validation errors of all allocations."""
    rows = tuple(
        (one.row.value, NumberFormat(2).show(validation_error(first)), architecture(first))
        for method in METHODS
        for one in _tried(network, method, found)
        for first in one.records[:1]
    )
    headings = ("method, allocation", "validation error % of seed 0", "widths")
    return Table(f"{network}: allocations to choose from", headings, rows) if rows else None

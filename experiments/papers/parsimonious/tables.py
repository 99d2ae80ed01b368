"""The tables of the study: published rows beside ours, one table a factor, and time against dense training."""

from collections.abc import Sequence

from bayesprune.experiments.number_format import MISSING, NumberFormat
from bayesprune.experiments.papers.beside import beside_published
from bayesprune.experiments.papers.measured import (
    RATIO,
    SECONDS,
    architecture,
    decided_share,
    find,
    macs,
    median_run,
    only,
    params,
    seconds,
    shown,
    shown_error,
    spread,
    training_ratio,
    validation_error,
    with_range,
)
from bayesprune.experiments.papers.parsimonious.published import PUBLISHED
from bayesprune.experiments.papers.rows import RowRuns
from bayesprune.experiments.report.tables import Table
from bayesprune.experiments.words import counted

TITLES = {"lenet300": "LeNet-300-100", "lenet5": "LeNet-5"}
FACTORS = {
    "price": ("Prices", "price"),
    "widths": ("Starting widths", "widths"),
    "start": ("Inclusion probabilities at the start", "theta at the start"),
    "estimator": ("Estimators of the gates' gradient", "estimator"),
    "price kind": ("Kinds of price, with and without a ramp", "price"),
    "beyond": ("Past the recipe", "change"),
    "beyond small": ("Past the recipe, small networks", "change"),
}
OURS = {"dense": "dense, ours", "base": "ours", "small": "ours, small", "flatten": "ours, flatten gates"}
"""Rows that stand beside published ones, by their factor."""
_ONE_DECIMAL = NumberFormat(1)


def published_table(network: str, found: Sequence[RowRuns]) -> Table:
    """Published rows, cheapest first, and ours above them."""
    ours = [(label, rows[0]) for factor, label in OURS.items() if (rows := find(found, network, factor))]
    return beside_published(TITLES[network], ours, PUBLISHED[network])


def factor_tables(network: str, found: Sequence[RowRuns]) -> list[Table]:
    """One table for each factor that was varied."""
    tables = []
    for factor, (title, heading) in FACTORS.items():
        rows = find(found, network, factor)
        if rows:
            headings = (
                heading, "architecture", "runs", "test error %", "validation error %", "MACs", "parameters",
                "undecided when pruning ended, % of gates", "training MACs / dense", "seconds a run",
            )  # fmt: skip
            tables.append(Table(f"{TITLES[network]}: {title}", headings, tuple(map(_factor_row, rows)), words=2))
    return tables


def time_table(network: str, found: Sequence[RowRuns]) -> Table | None:
    """Seconds of whole runs against dense ones of as many epochs; None without dense runs."""
    dense = spread(only(found, network, "dense"), seconds)
    if dense is None or not dense.mean > 0.0:
        return None
    rows = []
    for factor, label in OURS.items():
        for one in find(found, network, factor):
            mean = spread(one.records, seconds)
            ratio = MISSING if mean is None else f"{mean.mean / dense.mean:.2f}"
            rows.append((
                label, counted(len(one.records), "run"), shown(one.records, seconds, SECONDS), ratio,
                shown(one.records, training_ratio, RATIO),
            ))  # fmt: skip
    headings = ("row", "runs", "seconds a run", "time / dense", "training MACs / dense")
    return Table(f"{TITLES[network]}: whole runs against dense training", headings, tuple(rows))


def _factor_row(one: RowRuns) -> tuple[str, ...]:
    runs = one.records
    return (
        one.row.value, architecture(median_run(runs)), str(len(runs)), shown_error(runs),
        shown_error(runs, validation_error), with_range(runs, macs), with_range(runs, params),
        shown(runs, decided_share, _ONE_DECIMAL), shown(runs, training_ratio, RATIO), shown(runs, seconds, SECONDS),
    )  # fmt: skip

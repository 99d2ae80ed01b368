"""What pruned recurrent networks came to: the published table beside ours, and methods that remove hidden units."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bayesprune.experiments.number_format import MISSING, NumberFormat
from bayesprune.experiments.papers.hidden_structures.rnn_published import DENSE, NEVER, PRUNED, SECOND
from bayesprune.experiments.papers.hidden_structures.rnn_runs import (
    CELLS,
    MATRICES,
    METHODS,
    RATES,
    cell_of,
    choice_of,
    part_of,
    rate_of,
)
from bayesprune.experiments.papers.measured import COUNT, Number, shown
from bayesprune.experiments.papers.rows import RowRuns
from bayesprune.experiments.report.tables import Table
from bayesprune.store.runs import RunRecord

SHARE = NumberFormat(4)
RIGHT_AWAY = "pruned_accuracy"
"""What a run's first record after pruning calls the test accuracy before any training."""


@dataclass(frozen=True)
class Setting:
    """The runs of one setting of pruned networks, over all seeds.

    Attributes:
        cell: kind.
        choice: of matrices.
        rate: removed, in percent.
        records: the runs.
    """

    cell: str
    choice: str
    rate: int
    records: tuple[RunRecord, ...]

    def after(self, epochs: int) -> str:
        """Test accuracy after so many epochs of re-training; 0 for right after pruning."""
        return shown(self.records, retrained(epochs), SHARE)


def retrained(epochs: int) -> Number:
    """The test accuracy of a run after so many epochs of re-training; NaN where it took fewer."""

    def number(run: RunRecord) -> float:
        records = [one for one in run.history if str(one["phase"]).startswith("round")]
        if not epochs:
            return float(records[0][RIGHT_AWAY])
        return float(records[epochs - 1]["test_accuracy"]) if epochs <= len(records) else float("nan")

    return number


def accuracy_after(epochs: int) -> Number:
    """The test accuracy of a dense network after so many epochs; NaN where it took fewer."""

    def number(run: RunRecord) -> float:
        return float(run.history[epochs - 1]["test_accuracy"]) if epochs <= len(run.history) else float("nan")

    return number


def settings_of(found: Sequence[RowRuns]) -> list[Setting]:
    """The settings that were run, in the order of the published table."""
    together: dict[tuple[str, int, str], list[RunRecord]] = {}
    for one in found:
        if choice_of(one.row) and one.records:
            key = (choice_of(one.row), rate_of(one.row), cell_of(one.row))
            together.setdefault(key, []).extend(one.records)
    keys = [(choice, rate, cell) for choice in MATRICES for rate in RATES for cell in CELLS]
    return [Setting(key[2], key[0], key[1], tuple(together[key])) for key in keys if key in together]


def dense_runs(found: Sequence[RowRuns]) -> dict[str, tuple[RunRecord, ...]]:
    """The dense networks by cell, over all seeds."""
    rows = [one for one in found if one.row.factor.endswith(": dense")]
    by_cell = {cell: tuple(run for one in rows if cell_of(one.row) == cell for run in one.records) for cell in CELLS}
    return {cell: runs for cell, runs in by_cell.items() if runs}


def dense_table(found: Sequence[RowRuns]) -> Table | None:
    """Test accuracy of dense networks by epoch."""
    dense = dense_runs(found)
    if not dense:
        return None
    last = max(len(run.history) for runs in dense.values() for run in runs)
    epochs = [epoch for epoch in (1, 2, 3, 4, 5, 10, 20, 30, 40, 50) if epoch <= last]
    rows = tuple(
        (CELLS[cell], str(len(runs)), f"{DENSE[cell]:.3f}", *(shown(runs, accuracy_after(at), SHARE) for at in epochs))
        for cell, runs in dense.items()
    )
    headings = ("cell", "seeds", "published, 50 epochs", *(f"ours, epoch {at}" for at in epochs))
    return Table("Dense networks of 3 x 50 units, test accuracy", headings, rows)


def pruned_table(settings: Sequence[Setting]) -> Table | None:
    """The published table beside ours."""
    if not settings:
        return None
    rows = tuple(
        (one.choice, f"{one.rate} %", CELLS[one.cell], str(len(one.records)), *_cells(one)) for one in settings
    )
    headings = (
        "matrices", "removed", "cell", "seeds", "published, right after", "ours, right after", "published, 1 epoch",
        "ours, 1 epoch", "published, 2 epochs", "ours, 2 epochs", "ours, last epoch",
    )  # fmt: skip
    return Table("Smallest weights removed at once, test accuracy", headings, rows, words=3)


def _cells(one: Setting) -> Iterable[str]:
    """Published and ours after no, one and two epochs, and ours in the end."""
    key = (one.choice, one.rate, one.cell)
    before, first = PRUNED.get(key, (None, None))
    second = "never recovers" if key in NEVER else _published(SECOND.get(key))
    last = max(sum(str(record["phase"]).startswith("round") for record in run.history) for run in one.records)
    for published, epochs in ((_published(before), 0), (_published(first), 1), (second, 2)):
        yield published
        yield one.after(epochs)
    yield one.after(last)


def _published(value: float | None) -> str:
    return MISSING if value is None else f"{value:.4g}"


def units_of(found: Sequence[RowRuns]) -> list[RowRuns]:
    """The rows of methods that remove hidden units, that were run."""
    return [one for one in found if one.row.settings.method in METHODS and part_of(one.row) and one.records]


def units_table(found: Sequence[RowRuns]) -> Table | None:
    """Methods that remove hidden units, a line a cell and budget."""
    rows = tuple(
        (
            CELLS[cell_of(one.row)], one.row.settings.method, one.row.value.partition(", ")[2], str(len(one.records)),
            shown(one.records, _accuracy, SHARE), _count(one, lambda run: float(run.result["macs"])),
            _count(one, lambda run: float(run.result["params"])), _left(one.records[0]),
        )
        for one in units_of(found)
    )  # fmt: skip
    headings = ("cell", "method", "budget", "seeds", "test accuracy", "MACs", "parameters", "units left, first seed")
    return Table("Hidden units removed within a budget", headings, rows, words=3) if rows else None


def _accuracy(run: RunRecord) -> float:
    return float(run.result["accuracy"])


def _count(one: RowRuns, number: Callable[[RunRecord], float]) -> str:
    return shown(one.records, number, COUNT)


def _left(run: RunRecord) -> str:
    """Units that are left of every group."""
    return "-".join(str(len(group["kept"])) for group in run.groups)

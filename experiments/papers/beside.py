"""A table of networks of ours beside published ones."""

from collections.abc import Iterable, Sequence

from bayesprune.experiments.configurations import unique_runs
from bayesprune.experiments.number_format import MISSING
from bayesprune.experiments.papers.measured import (
    RATIO,
    SECONDS,
    architecture,
    macs,
    median_run,
    params,
    seconds,
    shown,
    shown_error,
    training_ratio,
    validation_error,
    with_range,
)
from bayesprune.experiments.papers.published import Published
from bayesprune.experiments.papers.rows import RowRuns
from bayesprune.experiments.report.tables import Table
from bayesprune.experiments.words import counted, listed
from bayesprune.store.runs import RunRecord

_HEADINGS = (
    "method", "source", "architecture", "test error %", "validation error %", "parameters", "MACs",
    "training MACs / dense", "seconds a run",
)  # fmt: skip


def beside_published(title: str, ours: Iterable[tuple[str, RowRuns]], theirs: Sequence[Published]) -> Table:
    """Published rows, cheapest first, and ours above them.

    Args:
        title: of the networks.
        ours: rows that have runs, with their labels.
        theirs: in any order.
    """
    caption = (
        f"{title}: ours (mean ± sample standard deviation over seeds; in brackets the least and the most; "
        "the architecture is that of the run with the median MACs) and published rows"
    )
    cheapest = sorted(theirs, key=lambda row: (row.macs is None, row.macs or 0))
    rows = (*(_our_row(label, one) for label, one in ours), *map(_published_row, cheapest))
    return Table(caption, _HEADINGS, rows, words=3)


def _our_row(label: str, one: RowRuns) -> tuple[str, ...]:
    runs = one.records
    return (
        label, f"this study, {counted(len(runs), 'seed')}", architecture(median_run(runs)), shown_error(runs),
        shown_error(runs, validation_error), with_range(runs, params), with_range(runs, macs),
        shown(runs, training_ratio, RATIO), shown(runs, seconds, SECONDS),
    )  # fmt: skip


def _published_row(row: Published) -> tuple[str, ...]:
    counts = (MISSING if count is None else f"{count:,}" for count in (row.params, row.macs))
    return (row.method, row.said, row.architecture, _printed(row.error), MISSING, *counts, MISSING, MISSING)


def _printed(error: float) -> str:
    """An error with one decimal, or two where it was printed with two."""
    return f"{error:.1f}" if round(error, 1) == error else f"{error:.2f}"


def other_data(usual: str, said: str, runs: Iterable[RunRecord]) -> list[str]:
    """What keeps our rows from being compared with published ones; nothing on the data that these are of."""
    data = {str(run.data["name"]) for run in runs} - {usual}
    text = f"Published rows are of {said} with all its training images; these runs are on {listed(sorted(data))}"
    return [f"{text}, so that they cannot be compared."] if data else []


def on_data(found: Iterable[RowRuns]) -> str:
    """On what data the runs of a study are, and how long they trained."""
    made = unique_runs([run for one in found for run in one.records])
    data = dict.fromkeys(str(run.data["name"]) for run in made)
    return f"on {listed([*data])}; {sum(float(run.result['train_seconds']) for run in made):,.0f} s of training."

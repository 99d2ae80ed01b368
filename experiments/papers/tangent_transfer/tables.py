"""The tables of the study: printed figures beside ours, and the transfer from one data set to another."""

from collections.abc import Sequence

from bayesprune.experiments.number_format import MISSING, NumberFormat
from bayesprune.experiments.papers.measured import COUNT, RATIO, SECONDS, shown, with_range
from bayesprune.experiments.papers.rows import RowRuns
from bayesprune.experiments.papers.tangent_transfer.curves import (
    counted_steps,
    kernel_ratio,
    kernel_start,
    learning_curve,
    phase_seconds,
    steps_to,
)
from bayesprune.experiments.papers.tangent_transfer.published import LEVELS, PRINTED, Printed
from bayesprune.experiments.papers.tangent_transfer.runs import OTHER
from bayesprune.experiments.report.tables import Table
from bayesprune.store.runs import RunRecord

PERCENT = NumberFormat(2)
LOWER = (75, 80, 83, 85)
"""Instead of `LEVELS` for Fashion-MNIST, where 90 % is more than so few weights come to."""

NEVER = "never"


def accuracy(run: RunRecord) -> float:
    """Test accuracy of the last epoch in percent."""
    return 100.0 * float(run.result["accuracy"])


def weights(run: RunRecord) -> float:
    """Weights that are not 0; biases are not counted."""
    return float(run.result["nonzero_weights"])


def method_table(caption: str, network: str, rows: Sequence[RowRuns]) -> Table | None:
    """Printed figures of a network, and below them ours, a line a method; None without runs."""
    lines = [_line(one, LEVELS) for one in rows if one.records]
    printed = [_printed_line(one) for one in PRINTED[network]]
    return Table(caption, _headings(LEVELS), (*printed, *lines), words=2) if lines else None


def data_table(data: str, rows: Sequence[RowRuns]) -> Table:
    """Training on a data set after transfer on this or another one."""
    levels = LOWER if data == OTHER else LEVELS
    lines = tuple(_line(one, levels) for one in rows)
    return Table(f"LeNet-300-100 at 3 % density, trained on {data}", _headings(levels), lines, words=2)


def shown_steps(runs: Sequence[RunRecord], level: float) -> str:
    """The mean step to an accuracy in percent; runs that never get there count with all their steps, and are told."""
    if not all(learning_curve(run) for run in runs):
        return MISSING
    never = sum(steps_to(run, level) is None for run in runs)
    if never == len(runs):
        return NEVER
    mean = shown(runs, lambda run: counted_steps(run, level), COUNT)
    return f"{mean} ({never} of {len(runs)} {NEVER})" if never else mean


def transfer_words(run: RunRecord) -> str:
    """The steps of a run's transfer, its examples a step, and the data where they are others."""
    options = run.settings.get("options") or {}
    if "steps" not in options:
        return "none"
    foreign = f" on {options['transfer_data']}" if "transfer_data" in options else ""
    return f"{options['steps']:,} x {options['transfer_batch']}{foreign}"


def _headings(levels: Sequence[int]) -> tuple[str, ...]:
    """Of both kinds of tables."""
    return (
        "method", "transfer: steps x batch", "runs", "weights", "test accuracy %",
        *(f"steps to {level} %" for level in levels),
        "kernel distance, start", "end / start", "seconds of transfer", "seconds of training",
    )  # fmt: skip


def _line(one: RowRuns, levels: Sequence[int]) -> tuple[str, ...]:
    """A row of ours."""
    runs = one.records
    transferred = "steps" in one.row.settings.options
    return (
        one.row.value, transfer_words(runs[0]), str(len(runs)), with_range(runs, weights),
        shown(runs, accuracy, PERCENT), *(shown_steps(runs, level) for level in levels),
        shown(runs, kernel_start, COUNT), shown(runs, kernel_ratio, RATIO),
        shown(runs, lambda run: phase_seconds(run, transfer=True), SECONDS) if transferred else MISSING,
        shown(runs, lambda run: phase_seconds(run, transfer=False), SECONDS),
    )  # fmt: skip


def _printed_line(one: Printed) -> tuple[str, ...]:
    """A row of a notebook: both of its runs."""
    transfer = "18,720 x 64" if one.kernels else "none"
    steps = (" / ".join(NEVER if step is None else f"{step:,}" for step in pair) for pair in one.steps)
    return (
        f"{one.method}, printed", transfer, "2", MISSING, " / ".join(f"{each:.2f}" for each in one.accuracies),
        *steps, " / ".join(f"{start:,}" for start, _ in one.kernels) or MISSING,
        " / ".join(f"{end / start:.3f}" for start, end in one.kernels) or MISSING, MISSING, MISSING,
    )  # fmt: skip

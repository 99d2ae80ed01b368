"""The tables of the study: one for each experiment, the controls, and methods that prune before training."""

from collections.abc import Callable, Sequence

from bayesprune.experiments.number_format import MISSING, NumberFormat
from bayesprune.experiments.papers.hidden_structures.curves import best_of_half, smallest_within, steps
from bayesprune.experiments.papers.hidden_structures.runs import BEFORE, LONGER, WEIGHTS, method_of
from bayesprune.experiments.papers.measured import COUNT, shown, shown_error, spread
from bayesprune.experiments.papers.rows import RowRuns
from bayesprune.experiments.report.tables import Table
from bayesprune.store.runs import RunRecord

EXPERIMENTS = {
    "1": "Four networks, a share of what is alive a step, 2 epochs after each",
    "2": "One network, a share a step, fixed and variable training after each",
    "3": "One network, a number of weights a step, 2 epochs after each",
    "4": "One network, one step, trained until validation no longer improves",
    "5": "784-300-100-10, a share of what is alive a step, 2 epochs after each",
}
PERCENT = NumberFormat(2)
_OTHERS = {name: name for name in ("dense", "dropout", "weight decay")} | {LONGER: "50 epochs more"}


def accuracy(run: RunRecord) -> float:
    """Test accuracy of the last epoch in percent."""
    return 100.0 * float(run.result["accuracy"])


def experiment_table(number: str, found: Sequence[RowRuns], base: float | None) -> Table | None:
    """What an experiment came to, a line a method and step; None where it was not run.

    Args:
        number: of the experiment.
        found: rows of the study.
        base: mean test accuracy of the dense networks that were pruned, in percent.
    """
    rows = [one for one in found if one.row.factor.startswith(f"{number}: ") and one.records]
    if not rows:
        return None
    whole = WEIGHTS[rows[0].row.network]
    lines = tuple(_line(one, whole, base) for one in rows)
    headings = (
        "method", "step", "runs", "weights left", "test accuracy %", "epochs a step",
        "weights left within 1 point of dense", "best with half gone %",
    )  # fmt: skip
    return Table(f"Experiment {number}: {EXPERIMENTS[number]}", headings, lines, words=2)


def _line(one: RowRuns, whole: int, base: float | None) -> tuple[str, ...]:
    """One setting of an experiment."""
    runs = one.records
    return (
        method_of(one.row),
        one.row.value,
        str(len(runs)),
        _shown(runs, lambda run: steps(run)[-1].weights, COUNT),
        shown(runs, accuracy, PERCENT),
        _shown(runs, lambda run: sum(step.epochs for step in steps(run)) / len(steps(run)), NumberFormat(1)),
        MISSING if base is None else _shown(runs, lambda run: smallest_within(run, base), COUNT),
        _shown(runs, lambda run: best_of_half(run, whole), PERCENT),
    )


def _shown(runs: Sequence[RunRecord], number: Callable[[RunRecord], float | None], form: NumberFormat) -> str:
    """Mean and spread; missing where a run has no such number."""
    values = [number(run) for run in runs]
    if any(value is None for value in values):
        return MISSING
    return shown(runs, lambda run: float(number(run) or 0.0), form)


def controls_table(found: Sequence[RowRuns]) -> Table | None:
    """Dense networks, dropout and weight decay, and one step with long training."""
    rows = [one for one in found if one.row.factor in _OTHERS and one.records]
    lines = tuple(
        (_OTHERS[one.row.factor], one.row.value, str(len(one.records)), shown(one.records, accuracy, PERCENT))
        for one in rows
    )
    headings = ("training", "setting", "runs", "test accuracy %")
    return (
        Table("Dense networks, other regularisers, long training after one step", headings, lines, words=2)
        if lines
        else None
    )


def foresight_table(network: str, found: Sequence[RowRuns]) -> Table | None:
    """Methods that prune before training, and their controls."""
    rows = [one for one in found if one.row.factor == f"{BEFORE}: {network}" and one.records]
    lines = tuple((one.row.value, str(len(one.records)), shown_error(one.records)) for one in rows)
    headings = ("method, density, control", "seeds", "test error %")
    return Table(f"{network}: pruned before training", headings, lines) if lines else None


def mean_accuracy(runs: Sequence[RunRecord]) -> float | None:
    """Mean test accuracy in percent; None without runs."""
    found = spread(runs, accuracy)
    return None if found is None else found.mean

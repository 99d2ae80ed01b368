"""Every method against class-blinded pruning, run by run: by how much it is better, and how sure that is."""

from collections.abc import Callable, Iterator, Sequence

from bayesprune.experiments.number_format import MISSING
from bayesprune.experiments.papers.hidden_structures.curves import best_of_half, steps
from bayesprune.experiments.papers.hidden_structures.runs import WEIGHTS, method_of
from bayesprune.experiments.papers.hidden_structures.tables import EXPERIMENTS
from bayesprune.experiments.papers.measured import Pair, paired_runs, shown_difference
from bayesprune.experiments.papers.rows import RowRuns
from bayesprune.experiments.report.tables import Table
from bayesprune.experiments.statistics import paired_difference
from bayesprune.store.runs import RunRecord

_REFERENCE = "magnitude"


def differences_table(found: Sequence[RowRuns]) -> Table | None:
    """A line an experiment and method other than class-blinded; None where no two have runs to pair."""
    lines = tuple(_line(number, name, pairs) for number in EXPERIMENTS for name, pairs in _compared(number, found))
    headings = ("experiment", "method", "pairs", "best with half gone, points", "at the fewest weights, points")
    return Table("Test accuracy above class-blinded pruning's", headings, lines, words=2) if lines else None


def pairs_of(number: str, method: str, found: Sequence[RowRuns]) -> list[Pair]:
    """Runs of a method in an experiment, each with that of class-blinded pruning of the same setting and repeat."""
    rows = {one.row.value: one.records for one in found if one.row.factor == f"{number}: {method}"}
    others = {one.row.value: one.records for one in found if one.row.factor == f"{number}: {_REFERENCE}"}
    return [pair for value, runs in rows.items() for pair in paired_runs(runs, others.get(value, ()))]


def _compared(number: str, found: Sequence[RowRuns]) -> Iterator[tuple[str, list[Pair]]]:
    """The methods of an experiment that have runs to compare, by the paper's names."""
    factors = {one.row.factor: method_of(one.row) for one in found if one.row.factor.startswith(f"{number}: ")}
    for factor, name in factors.items():
        method = factor.partition(": ")[2]
        if method != _REFERENCE and (pairs := pairs_of(number, method, found)):
            yield name, pairs


def _line(number: str, name: str, pairs: Sequence[Pair]) -> tuple[str, ...]:
    """Both differences of a method."""

    def half(run: RunRecord) -> float | None:
        return best_of_half(run, WEIGHTS[str(run.settings["network"])])

    return (number, name, str(len(pairs)), _gap(pairs, half), _gap(pairs, lambda run: steps(run)[-1].accuracy))


def _gap(pairs: Sequence[Pair], number: Callable[[RunRecord], float | None]) -> str:
    """The paired difference of a number that all runs have."""
    values = [(number(run), number(other)) for run, other in pairs]
    ours, theirs = ([value for value in side if value is not None] for side in zip(*values, strict=True))
    if len(ours) < len(pairs) or len(theirs) < len(pairs):
        return MISSING
    return shown_difference(paired_difference(ours, theirs, images=None))

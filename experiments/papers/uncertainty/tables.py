"""The table of the study."""

from collections.abc import Callable, Sequence

from bayesprune.experiments.number_format import NumberFormat
from bayesprune.experiments.papers.uncertainty.measure import PREDICTORS, Measured
from bayesprune.experiments.report.tables import Table
from bayesprune.experiments.statistics import mean_and_spread

_COLUMNS: tuple[tuple[str, Callable[[Measured], float], NumberFormat], ...] = (
    ("accuracy %", lambda one: 100 * one.accuracy, NumberFormat(2)),
    ("NLL", lambda one: one.nll, NumberFormat(4)),
    ("ECE", lambda one: one.ece, NumberFormat(4)),
    ("Brier", lambda one: one.brier, NumberFormat(4)),
    ("AUROC, entropy", lambda one: one.auroc, NumberFormat(4)),
    ("AUROC, highest probability", lambda one: one.auroc_max, NumberFormat(4)),
    ("MACs in all", lambda one: float(one.macs), NumberFormat(0)),
)


def of(found: Sequence[Measured], predictor: str) -> list[Measured]:
    """All repeats of a predictor."""
    return [one for one in found if one.predictor == predictor]


def predictors_table(found: Sequence[Measured], own: str, other: str) -> Table:
    """A row a predictor: mean and spread over repeats."""
    rows = []
    for predictor in PREDICTORS:
        repeats = of(found, predictor)
        if repeats:
            cells = [_cell(repeats, number, form) for _, number, form in _COLUMNS]
            rows.append((predictor, str(repeats[0].networks), str(len(repeats)), *cells))
    headings = ("predictor", "networks or draws", "repeats", *(heading for heading, _, _ in _COLUMNS))
    caption = f"Test split of {own}; AUROC against {other}; mean ± sample standard deviation over repeats"
    return Table(caption, headings, tuple(rows))


def _cell(repeats: Sequence[Measured], number: Callable[[Measured], float], form: NumberFormat) -> str:
    found = mean_and_spread([number(one) for one in repeats])
    return form.show(found.mean, found.sd)

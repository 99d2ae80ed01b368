"""What can be told of networks that no model has seen, from properties of their graphs, and how sure models are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bayesprune.experiments.number_format import MISSING
from bayesprune.experiments.report.tables import Table
from bayesprune.graphs import FEATURES
from bayesprune.graphs.calibration import LEVELS, Calibration, calibration
from bayesprune.graphs.prediction import AccuracyTable, CrossValidated, FoldPredictor, cross_validated, within_groups

HORSESHOE = "horseshoe"
"""Robust Bayesian regression of the logit of accuracy (`bayesprune.models.accuracy`)."""

ALL_PROPERTIES, SOURCES = "all 23", "number of sources"
_SHOWN = 4
"""Properties of each kind of cell that a table names."""

_SIZES = ("nodes", "edges", "source_nodes", "sink_nodes")
INPUTS = {
    ALL_PROPERTIES: FEATURES,
    SOURCES: ("source_nodes",),
    "all but four counts": tuple(name for name in FEATURES if name not in _SIZES),
}
"""The properties that models are given; the second is the baseline."""


@dataclass(frozen=True, eq=False)
class Honest:
    """What one regressor tells from some properties of the graphs of one kind of cell.

    Attributes:
        found: cross-validated.
        new_sources: R squared where numbers of sources are new.
        new_family: R squared where the generator is new.
        within: R squared within a number of sources.
        calibration: of the cross-validated predictive distributions; None for regressors that have none.
    """

    found: CrossValidated
    new_sources: float
    new_family: float
    within: float
    calibration: Calibration | None = None

    def values(self) -> dict[str, Any]:
        """For results.json."""
        scores = self.calibration
        sure = {} if scores is None else {
            "coverage": {f"{level:g}": share for level, share in scores.coverage.items()},
            "width_80": scores.width[0.8], "crps": scores.crps,
        }  # fmt: skip
        known = {
            name: value if value == value else None
            for name, value in (
                ("new_sources", self.new_sources), ("new_family", self.new_family), ("within_sources", self.within),
            )
        }  # fmt: skip
        return {
            "r_squared": self.found.r_squared, "spread": self.found.spread, "interval": list(self.found.interval),
        } | known | sure  # fmt: skip


def predictor_named(name: str, *, quick: bool = False) -> str | FoldPredictor:
    """A predictor for `cross_validated`: `HORSESHOE`, or one of `REGRESSORS`."""
    if name != HORSESHOE:
        return name
    from bayesprune.inference.accuracy import HorseshoePredictor

    return HorseshoePredictor(steps=25, draws=50) if quick else HorseshoePredictor()


def honest(table: AccuracyTable, name: str, inputs: str, repeats: int, *, quick: bool = False) -> Honest:
    """The protocol for one regressor.

    Args:
        table: of one kind of cell.
        name: of the regressor, see `predictor_named`.
        inputs: a name of `INPUTS`.
        repeats: of cross-validation.
        quick: short fits of the horseshoe.
    """
    chosen, sources = INPUTS[inputs], table.properties["source_nodes"].tolist()
    predictor = predictor_named(name, quick=quick)
    found = cross_validated(table, predictor, names=chosen, folds=min(10, len(table)), repeats=repeats)
    new_sources, new_family = (
        cross_validated(table, predictor, names=chosen, groups=groups, folds=len(set(groups))).r_squared
        if len(set(groups)) > 1
        else float("nan")
        for groups in (sources, table.family)
    )
    scores = None if found.draws is None else calibration(table.accuracy, found.draws)
    return Honest(found, new_sources, new_family, within_groups(table, found, sources), scores)


Found = Mapping[tuple[str, str, str], Honest]
"""By cell, regressor and properties."""


def honest_table(found: Found) -> Table:
    """R squared of every regressor."""
    rows = [
        (
            cell, name, inputs, f"{one.found.r_squared:.2f}",
            f"{one.found.interval[0]:.2f} to {one.found.interval[1]:.2f}",
            *(f"{value:.2f}" if value == value else MISSING for value in (one.new_sources, one.new_family, one.within)),
        )
        for (cell, name, inputs), one in found.items()
    ]  # fmt: skip
    headings = (
        "cell", "regressor", "properties", "cross-validated", "95 % interval", "new numbers of sources", "new family",
        "within a number of sources",
    )  # fmt: skip
    return Table("R squared on rows that no model has seen", headings, tuple(rows), words=3)


def calibration_table(found: Found) -> Table:
    """Coverage of the intervals of the regressors that have them, on rows that no model has seen."""
    rows = []
    for (cell, name, inputs), one in found.items():
        scores = one.calibration
        if scores is not None:
            shares = [
                f"{100 * scores.coverage[level]:.0f} ({scores.off(level):+.1f})" for level in LEVELS
            ]  # fmt: skip
            rows.append((cell, name, inputs, *shares, f"{scores.width[0.8]:.3f}", f"{scores.crps:.4f}"))
    headings = (
        "cell", "regressor", "properties", *(f"rows inside the {level:.0%} interval, %" for level in LEVELS),
        "width of the 80% interval", "CRPS",
    )  # fmt: skip
    title = "Coverage of predictive intervals (in brackets standard errors from what it should be)"
    return Table(title, headings, tuple(rows), words=3)


def relevance_table(tables: Mapping[str, AccuracyTable], *, quick: bool = False) -> Table:
    """The properties that the horseshoe looks at most, with all rows of a kind of cell; `quick` for a short fit."""
    from bayesprune.inference.accuracy import fit

    rows = []
    for cell, table in tables.items():
        fitted = fit(table.matrix(), table.accuracy, steps=25 if quick else 1_000)
        relevance, weights = fitted.relevance()[0], fitted.draws["weights"][:, 0].mean(0).tolist()
        for place in sorted(range(len(FEATURES)), key=lambda place: -relevance[place])[:_SHOWN]:
            rows.append((cell, FEATURES[place], f"{relevance[place]:.2f}", f"{weights[place]:+.2f}"))
    headings = ("cell", "property", "probability that it matters", "mean weight")
    title = "Horseshoe: a property matters where its weight is beyond .1 standard deviations of the logit"
    return Table(title, headings, tuple(rows), words=2)


def values(found: Found) -> list[dict[str, Any]]:
    """For results.json."""
    return [
        {"cell": cell, "regressor": name, "properties": inputs} | one.values()
        for (cell, name, inputs), one in found.items()
    ]

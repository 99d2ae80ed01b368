"""Part `prediction`: accuracy of recurrent networks from properties of their graphs, with the study's own tables."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bayesprune.data.places import find_places, first_writable
from bayesprune.errors import DataUnavailableError
from bayesprune.experiments.papers.hidden_structures.honest import (
    ALL_PROPERTIES,
    HORSESHOE,
    INPUTS,
    SOURCES,
    Found,
    calibration_table,
    honest,
    honest_table,
    relevance_table,
)
from bayesprune.experiments.papers.hidden_structures.honest import values as values_of
from bayesprune.experiments.papers.hidden_structures.prediction_plot import predicted_sketch
from bayesprune.experiments.papers.hidden_structures.published_prediction import CORRELATIONS, R_SQUARED
from bayesprune.experiments.papers.paper import Findings
from bayesprune.experiments.report.sections import Document, Section
from bayesprune.experiments.report.tables import Table
from bayesprune.graphs.prediction import (
    REGRESSORS,
    AccuracyTable,
    correlations,
    published_protocol,
    read_table,
)

CELLS = {"tanh": "rnn_tanh", "ReLU": "rnn_relu", "GRU": "gru", "LSTM": "lstm"}
"""What each kind of cell is called in tables, and its file."""

_EXACT = 5e-5
_TITLE = "Accuracy predicted from structure"
_NOTES = (
    "The published protocol tests on 20 of 200 rows, those of one split, with properties scaled by all rows. Bayesian "
    "ridge has no seed and must meet the published figures. Forest and AdaBoost were not seeded: single runs of them "
    "are compared with the mean and spread (±) over 10 seeds here.",
    "Cross-validated: every row is predicted by models that have not seen it, scaled with their own rows; 10 folds, "
    "dealt anew for every repeat. In brackets the 95 % interval of drawing the rows anew.",
    "New numbers of sources: all graphs with one number of sources are in one fold, so a model is asked about numbers "
    "of sources that it has not seen. New family: trained on one generator, asked about the other.",
    "Within a number of sources: what cross-validated predictions tell of the differences between graphs with the same "
    "number of sources; 0 is nothing. Sources are the width of the embedding too, so that a model that knows them "
    "alone knows how wide the input of each network is.",
    "Horseshoe: robust Bayesian regression of the logit of accuracy in Pyro, with a regularised horseshoe prior, fit "
    "by variational inference; it says the median of its predictive distribution. Bayesian ridge's distribution is "
    "normal, in accuracy itself. Coverage is that of the cross-validated distributions; its standard error is that of "
    "as many independent rows.",
)


def tables_of(root: str | Path | None = None) -> dict[str, AccuracyTable]:
    """The study's tables by cell.

    Raises:
        DataUnavailableError: they are not on this machine; says where they go.
        DataError: one is damaged.
    """
    places = find_places(root)
    for folder in places.folders:
        files = {cell: folder / "reber" / "structure" / f"{name}.csv" for cell, name in CELLS.items()}
        if all(file.is_file() for file in files.values()):
            return {cell: read_table(file) for cell, file in files.items()}
    raise DataUnavailableError(
        "the tables of the study of sparse recurrent networks are not on this machine: put "
        f"{', '.join(f'{name}.csv' for name in CELLS.values())} into "
        f"{first_writable(places).absolute() / 'reber' / 'structure'}"
    )


def evaluate(*, quick: bool = False, root: str | Path | None = None) -> Findings:
    """Both protocols on the study's tables.

    Args:
        quick: one repeat instead of five, one seed instead of ten, and in the honest protocol Bayesian ridge and short
            fits of the horseshoe alone.
        root: folder with data sets.

    Raises:
        DataUnavailableError: the tables are not on this machine.
    """
    tables = tables_of(root)
    published = {cell: _published(table, 1 if quick else 10) for cell, table in tables.items()}
    names = (REGRESSORS[0], HORSESHOE) if quick else (*REGRESSORS[:2], HORSESHOE)
    found = {
        (cell, name, inputs): honest(table, name, inputs, _repeats(name, quick), quick=quick)
        for cell, table in tables.items()
        for name in names
        for inputs in (INPUTS if name != HORSESHOE else (ALL_PROPERTIES, SOURCES))
    }
    shown = names[0] if quick else names[1]
    sketch = predicted_sketch(
        {cell: (tables[cell], found[cell, shown, ALL_PROPERTIES].found) for cell in tables}, shown
    )
    met = sum(abs(published[cell]["bayesian-ridge"][0] - R_SQUARED[cell]["bayesian-ridge"]) < _EXACT for cell in tables)
    off = sum(abs(ours - theirs) > 0.0051 for *_, ours, theirs in correlation_pairs(tables))
    verdict = (
        f"Bayesian ridge meets {met} of {len(tables)} published figures to three digits; {off} of "
        f"{len(correlation_pairs(tables))} published correlations differ by more than rounding."
    )
    relevance = relevance_table(tables, quick=quick)
    sections = (
        Section("The published protocol", tables=[_published_table(published)], notes=_NOTES[:1]),
        Section("What rows not seen say", tables=[honest_table(found)], notes=_NOTES[1:4], wide=[sketch]),
        Section("How sure models are", tables=[calibration_table(found), relevance], notes=_NOTES[4:]),
        Section("Correlation with accuracy", tables=[correlation_table(tables)]),
    )
    rows = ", ".join(f"{len(table)} {cell}" for cell, table in tables.items())
    document = Document(_TITLE, f"Networks of the study (arXiv 2107.12917): {rows}.", verdict, sections)
    values = {
        "published_protocol": {
            cell: {name: list(pair) for name, pair in one.items()} for cell, one in published.items()
        },
        "cross_validated": values_of(found),
        "correlations": {cell: correlations(table) for cell, table in tables.items()},
    }
    return Findings(document, values, [_line(cell, found, shown) for cell in tables] + [verdict])


def _published(table: AccuracyTable, seeds: int) -> dict[str, tuple[float, float]]:
    """Mean and spread over seeds of each regressor by the published protocol."""
    found = {}
    for name in REGRESSORS:
        scores = [published_protocol(table, name, seed=seed) for seed in range(1 if name == REGRESSORS[0] else seeds)]
        found[name] = float(np.mean(scores)), float(np.std(scores, ddof=1)) if len(scores) > 1 else 0.0
    return found


def _published_table(found: Mapping[str, Mapping[str, tuple[float, float]]]) -> Table:
    rows = []
    for cell, one in found.items():
        cells = [cell]
        for name in REGRESSORS:
            mean, spread = one[name]
            cells += [f"{R_SQUARED[cell][name]:.4f}", f"{mean:.4f}" + (f" ± {spread:.3f}" if spread else "")]
        rows.append(tuple(cells))
    headings = [f"{name}, {whose}" for name in REGRESSORS for whose in ("published", "ours")]
    return Table("R squared on the study's 20 test rows", ("cell", *headings), tuple(rows))


def correlation_pairs(tables: Mapping[str, AccuracyTable]) -> list[tuple[str, str, float, float]]:
    """Property, cell, our correlation and the published one."""
    ours = {cell: correlations(table) for cell, table in tables.items()}
    return [(name, cell, ours[cell][name], theirs[cell]) for name, theirs in CORRELATIONS.items() for cell in tables]


def correlation_table(tables: Mapping[str, AccuracyTable]) -> Table:
    """Our correlations beside the published ones."""
    pairs = {(name, cell): (ours, theirs) for name, cell, ours, theirs in correlation_pairs(tables)}
    rows = [
        (name, *(f"{value:.2f}" for cell in tables for value in (pairs[name, cell][1], pairs[name, cell][0])))
        for name in CORRELATIONS
    ]
    headings = [f"{cell}, {whose}" for cell in tables for whose in ("published", "ours")]
    return Table("Pearson correlation of properties with test accuracy", ("property", *headings), tuple(rows))


def _repeats(name: str, quick: bool) -> int:
    """Of cross-validation; a fit of the horseshoe takes longer than the others."""
    return 1 if quick else 2 if name == HORSESHOE else 5


def _line(cell: str, found: Found, name: str) -> str:
    every, sources = found[cell, name, ALL_PROPERTIES], found[cell, name, SOURCES]
    return (
        f"{cell}: {name} on all 23 properties, cross-validated R squared {every.found.r_squared:.2f} "
        f"({every.found.interval[0]:.2f} to {every.found.interval[1]:.2f}); the number of sources alone "
        f"{sources.found.r_squared:.2f}; within a number of sources {every.within:.2f}"
    )

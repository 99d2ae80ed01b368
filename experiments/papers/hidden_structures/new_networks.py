"""Networks of part `reber` as a table of graphs with accuracies, and what they came to."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bayesprune.data import load
from bayesprune.data.reber import reber_baselines
from bayesprune.errors import DataUnavailableError
from bayesprune.experiments.number_format import MISSING
from bayesprune.experiments.papers.hidden_structures.honest import (
    ALL_PROPERTIES,
    HORSESHOE,
    INPUTS,
    SOURCES,
    Found,
    calibration_table,
    honest,
    honest_table,
    values,
)
from bayesprune.experiments.papers.hidden_structures.prediction import tables_of
from bayesprune.experiments.papers.hidden_structures.prediction_plot import sources_sketch
from bayesprune.experiments.papers.hidden_structures.published_prediction import OUTCOMES
from bayesprune.experiments.papers.hidden_structures.reber_runs import CELLS, FAMILIES, REBER, cell_of
from bayesprune.experiments.papers.measured import seconds
from bayesprune.experiments.papers.paper import Findings
from bayesprune.experiments.papers.rows import RowRuns
from bayesprune.experiments.report.sections import Document, Section
from bayesprune.experiments.report.tables import Table
from bayesprune.graphs import FEATURES, features, study_graph
from bayesprune.graphs.prediction import REGRESSORS, AccuracyTable, Regressor, r_squared

NAMES = {"tanh": "tanh", "relu": "ReLU", "gru": "GRU", "lstm": "LSTM"}
PREDICTORS = {"bayesian-ridge": 5, "random-forest": 5, HORSESHOE: 2}
"""The regressors of the honest protocol, and how often each is cross-validated."""

FEWEST = 10
"""Networks of a kind of cell from which on accuracy is predicted by cross-validation."""

_NOTES = (
    "Every network is one of `graphs.study_graph`, trained once as the study trained its own; accuracies are those of "
    "the test strings after the last epoch. Published: means over the study's 200 networks a kind of cell.",
    "What rules without a network tell apart of the same test strings: a network has learnt something only where it "
    "does better.",
    "Cross-validated as in part `prediction`, on these networks alone; kinds of cells with fewer than "
    f"{FEWEST} networks are left out. The 95 % interval is that of drawing the networks anew.",
    "Coverage of the cross-validated predictive distributions: of Bayesian ridge, and of the horseshoe regression of "
    "docs/prediction.md.",
    "Trained on the study's 200 networks of a kind of cell, asked about these: graphs, strings' order and initial "
    "weights are new. R squared is around the mean of these networks; correlation is Pearson's.",
)


def table_of(found: Sequence[RowRuns], cell: str) -> AccuracyTable | None:
    """The finished networks with a kind of cell; None without any."""
    rows = [one for one in found if one.row.factor.startswith(f"{REBER}: ") and cell_of(one.row) == cell]
    rows = [one for one in rows if one.records]
    if not rows:
        return None
    graphs = [one.row.value.partition(":")[::2] for one in rows]
    properties = [features(study_graph(family, int(number))) for family, number in graphs]
    return AccuracyTable(
        {name: np.array([float(one[name]) for one in properties]) for name in FEATURES},
        tuple(family.replace("-", "_") for family, _ in graphs),
        np.array([float(one.records[0].result["accuracy"]) for one in rows]),
    )


def networks_findings(found: Sequence[RowRuns]) -> Findings:
    """Tables, picture and verdict of the networks that are finished."""
    tables = {NAMES[cell]: table for cell in CELLS if (table := table_of(found, cell)) is not None}
    times = [seconds(run) for one in found for run in one.records]
    told = _cross_validated(tables)
    sections = []
    if tables:
        outcome = _outcome_table(found, tables)
        sections.append(Section("Outcome", tables=[outcome], notes=_NOTES[:1], wide=[sources_sketch(tables)]))
    for title, shown, note in (
        ("What needs no network", _rules_table(found), 1),
        ("Accuracy from structure", honest_table(told) if told else None, 2),
        ("How sure models are", calibration_table(told) if told else None, 3),
        ("From the study's networks to these", _carried_table(tables), 4),
    ):
        if shown is not None:
            sections.append(Section(title, tables=[shown], notes=_NOTES[note : note + 1]))
    mean = f", {np.mean(times):.0f} seconds a network on average" if times else ""
    verdict = f"{len(times)} of {len(found)} networks are trained{mean}."
    lines = [
        f"{cell}: {name} on {inputs} of {len(tables[cell])} networks, cross-validated R squared "
        f"{one.found.r_squared:.2f} ({one.found.interval[0]:.2f} to {one.found.interval[1]:.2f})"
        for (cell, name, inputs), one in told.items()
    ]
    subtitle = f"{verdict} Recurrent networks built from random graphs, on strings of Reber's grammar."
    document = Document("New networks from random graphs", subtitle, verdict, tuple(sections))
    return Findings(document, {"networks": _values(tables), "cross_validated": values(told)}, [*lines, verdict])


def _values(tables: Mapping[str, AccuracyTable]) -> dict[str, Any]:
    """For results.json: families, properties and accuracies by cell."""
    return {
        cell: {
            "family": list(table.family), "accuracy": table.accuracy.tolist(),
            "properties": {name: own.tolist() for name, own in table.properties.items()},
        }
        for cell, table in tables.items()
    }  # fmt: skip


def _outcome_table(found: Sequence[RowRuns], tables: Mapping[str, AccuracyTable]) -> Table:
    rows = []
    for cell, name in NAMES.items():
        if name not in tables:
            continue
        table, its = tables[name], [one for one in found if one.row.factor == f"{REBER}: {cell}"]
        times = [seconds(run) for one in its for run in one.records]
        cells = [name, f"{len(table)} of {2 * CELLS[cell]}"]
        for family in FAMILIES:
            own = table.accuracy[np.array([each == family.replace("-", "_") for each in table.family])]
            cells += [_mean(own), f"{OUTCOMES[name][family]:.3f}"]
        shares = (table.accuracy > 0.95).mean(), (table.accuracy < 0.52).mean()
        for key, share in zip(("good", "chance"), shares, strict=True):
            cells += [f"{share:.0%}", f"{OUTCOMES[name][key]:.1%}".replace(".0%", "%")]
        rows.append((*cells, f"{np.mean(times):.0f} ({min(times):.0f} to {max(times):.0f})"))
    headings = ["cell", "networks"]
    for what in ("Barabasi-Albert", "Watts-Strogatz", "above .95", "below .52"):
        headings += [f"{what}, ours", f"{what}, published"]
    return Table("Test accuracy of trained networks", (*headings, "seconds a network"), tuple(rows))


def _mean(values: Any) -> str:
    if not len(values):
        return MISSING
    return f"{values.mean():.3f}" + (f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else "")


def _rules_table(found: Sequence[RowRuns]) -> Table | None:
    """Accuracies of trivial rules on the strings of the runs; None where they cannot be had here."""
    names = dict.fromkeys(
        str(run.settings["data"]) for one in found if one.row.factor.startswith(f"{REBER}: ") for run in one.records
    )
    rows = []
    for name in names:
        try:
            rows += [(name, one.name, f"{one.accuracy:.4f}") for one in reber_baselines(load(name))]
        except DataUnavailableError:
            continue
    return (
        Table("Test accuracy of trivial rules", ("strings", "rule", "accuracy"), tuple(rows), words=2) if rows else None
    )


def _cross_validated(tables: Mapping[str, AccuracyTable]) -> Found:
    return {
        (cell, name, inputs): honest(table, name, inputs, repeats)
        for cell, table in tables.items()
        if len(table) >= FEWEST
        for name, repeats in PREDICTORS.items()
        for inputs in (ALL_PROPERTIES, SOURCES)
    }


def _carried_table(tables: Mapping[str, AccuracyTable]) -> Table | None:
    """Models of the study's networks asked about these; None where the study's tables are not on this machine."""
    try:
        theirs = tables_of()
    except DataUnavailableError:
        return None
    rows = []
    for cell, table in tables.items():
        for name in REGRESSORS[:2]:
            for inputs in (ALL_PROPERTIES, SOURCES):
                chosen, old = INPUTS[inputs], theirs[cell]
                together = np.vstack([old.matrix(chosen), table.matrix(chosen)])
                used = np.arange(len(together)) < len(old)
                truth = np.concatenate([old.accuracy, np.zeros(len(table))])
                said = Regressor(name)(together, truth, used[None], [0]).said[0, ~used]
                rows.append((cell, name, inputs, str(len(table)), *_agreement(table.accuracy, said)))
    headings = ("cell", "regressor", "properties", "networks", "R squared", "correlation")
    return Table("Accuracy of new networks, predicted by models of the study's", headings, tuple(rows), words=3)


def _agreement(truth: Any, said: Any) -> tuple[str, str]:
    """R squared and correlation; missing for fewer than 3 networks, or where nothing differs."""
    if len(truth) < 3 or not truth.std():
        return MISSING, MISSING
    correlation = f"{np.corrcoef(truth, said)[0, 1]:.2f}" if said.std() else MISSING
    return f"{r_squared(truth, said):.2f}", correlation

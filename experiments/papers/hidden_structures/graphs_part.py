"""Part `graphs`: our random graphs beside the 800 that the study released, and pictures of some."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bayesprune.experiments.papers.hidden_structures.graphs_plot import examples_sketch
from bayesprune.experiments.papers.hidden_structures.prediction import (
    correlation_pairs,
    correlation_table,
    tables_of,
)
from bayesprune.experiments.papers.hidden_structures.reber_runs import FAMILIES
from bayesprune.experiments.papers.paper import Findings
from bayesprune.experiments.report.sections import Document, Section
from bayesprune.experiments.report.tables import Table
from bayesprune.graphs import FEATURES, features, study_graph

DRAWN, QUICK_DRAWN = 400, 60
"""Graphs of each family that are drawn: as many as the study has over its four kinds of cells."""

FAR = 3.0
"""Standard errors from which on two means are called different."""

_TITLE = "Random graphs of the study"
_NOTES = (
    "Ours: `graphs.study_graph`, seeds from 0 on. Published: the properties that the study released, of all four kinds "
    "of cells together. ± is the standard deviation over graphs, not an error; “apart” is the difference of the means "
    "in standard errors (Welch). Of 46 comparisons between equal laws, 0.12 would be expected beyond 3, and properties "
    "of one graph are not independent.",
    "A column a layer of the layered graph, lines from earlier to later layers. Vertices of the first column are the "
    "sources.",
    "Correlations of properties with test accuracy on the released tables, to two digits.",
)

Values = Mapping[str, np.ndarray[Any, np.dtype[np.float64]]]


def evaluate(*, quick: bool = False, root: str | Path | None = None) -> Findings:
    """Draw graphs and compare their properties with the released ones.

    Args:
        quick: 60 graphs a family instead of 400.
        root: folder with data sets.

    Raises:
        DataUnavailableError: the study's tables are not on this machine.
    """
    tables = tables_of(root)
    drawn = {family: properties_of(family, QUICK_DRAWN if quick else DRAWN) for family in FAMILIES}
    released = {family: _released(tables, family) for family in FAMILIES}
    apart = {family: differences(drawn[family], released[family]) for family in FAMILIES}
    far = [(family, name) for family in FAMILIES for name, value in apart[family].items() if abs(value) > FAR]
    pairs = correlation_pairs(tables)
    off = sum(abs(ours - theirs) > 0.0051 for *_, ours, theirs in pairs)
    named = ", ".join(f"{name} of {family}" for family, name in far)
    verdict = (
        f"{len(far)} of {len(FEATURES) * len(FAMILIES)} mean properties are more than {FAR:g} standard errors from the "
        f"released ones{f' ({named})' if far else ''}; {off} of {len(pairs)} published correlations differ by more "
        "than rounding."
    )
    compared = [_table(family, drawn[family], released[family], apart[family]) for family in FAMILIES]
    sections = (
        Section("Properties", tables=compared, notes=_NOTES[:1]),
        Section("Some graphs", notes=_NOTES[1:2], wide=[examples_sketch(FAMILIES)]),
        Section("Correlation with accuracy", tables=[correlation_table(tables)], notes=_NOTES[2:]),
    )
    count = len(next(iter(drawn[FAMILIES[0]].values())))
    document = Document(_TITLE, f"{count} graphs of each generator beside the study's.", verdict, sections)
    values = {
        "apart": apart,
        "drawn": {family: _summary(own) for family, own in drawn.items()},
        "released": {family: _summary(own) for family, own in released.items()},
    }
    return Findings(document, values, [verdict])


def properties_of(family: str, count: int) -> Values:
    """The 23 properties of the graphs of seeds 0 to count - 1, by name."""
    rows = [features(study_graph(family, seed)) for seed in range(count)]
    return {name: np.array([float(row[name]) for row in rows]) for name in FEATURES}


def differences(ours: Values, theirs: Values) -> dict[str, float]:
    """Difference of the means in standard errors, by property; 0 where neither varies and both are equal."""
    found = {}
    for name in FEATURES:
        one, other = ours[name], theirs[name]
        error = np.sqrt(one.var(ddof=1) / len(one) + other.var(ddof=1) / len(other))
        gap = one.mean() - other.mean()
        found[name] = float(gap / error) if error else float(np.sign(gap) * np.inf if gap else 0.0)
    return found


def _released(tables: Mapping[str, Any], family: str) -> Values:
    key = family.replace("-", "_")
    chosen = [table.take(np.array([each == key for each in table.family])) for table in tables.values()]
    return {name: np.concatenate([table.properties[name] for table in chosen]) for name in FEATURES}


def _summary(values: Values) -> dict[str, list[float]]:
    return {name: [float(own.mean()), float(own.std(ddof=1))] for name, own in values.items()}


def _table(family: str, ours: Values, theirs: Values, apart: Mapping[str, float]) -> Table:
    def shown(values: Values, name: str) -> str:
        return f"{values[name].mean():.4g} ± {values[name].std(ddof=1):.3g}"

    rows = [(name, shown(theirs, name), shown(ours, name), f"{apart[name]:+.1f}") for name in FEATURES]
    return Table(f"{family}: mean ± standard deviation", ("property", "published", "ours", "apart"), tuple(rows))

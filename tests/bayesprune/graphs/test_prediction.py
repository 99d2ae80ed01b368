import csv
import os
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from bayesprune.errors import DataError, SettingError, UnknownNameError
from bayesprune.graphs import FEATURES, features, study_graph
from bayesprune.graphs.prediction import (
    AccuracyTable,
    correlations,
    cross_validated,
    published_protocol,
    r_squared,
    read_table,
    within_groups,
)

RELEASED = Path(os.environ.get("BAYESPRUNE_DATA", "/nowhere")) / "reber" / "structure"
released = pytest.mark.skipif(not RELEASED.is_dir(), reason="needs the released tables")
RIDGE = {"rnn_tanh": 0.4792, "rnn_relu": 0.3608, "gru": 0.6722, "lstm": 0.3721}
FOREST = {"rnn_tanh": (0.43, 0.12), "rnn_relu": (0.56, 0.12), "gru": (0.864, 0.04), "lstm": (0.57, 0.12)}
PUBLISHED = """
layers .25 .30 .28 .34
nodes .40 .44 .44 .49
edges .38 .43 .42 .49
source_nodes .35 .47 .57 .74
diameter -.23 -.27 -.32 -.20
density .29 .15 .29 .34
average_shortest_path_length -.27 -.25 -.36 -.23
eccentricity_var -.22 -.24 -.30 -.21
degree_var -.28 -.26 -.39 -.58
closeness_var -.46 -.39 -.51 -.67
nodes_betweenness_var -.49 -.41 -.56 -.52
edge_betweenness_var -.34 -.30 -.44 -.26
"""


def made(rows: int = 60, noise: float = 0.1) -> AccuracyTable:
    """Accuracy that is linear in the number of sources and in nothing else."""
    random = np.random.default_rng(5)
    found = [features(study_graph(("barabasi-albert", "watts-strogatz")[n % 2], n)) for n in range(rows)]
    properties = {name: np.array([one[name] for one in found]) for name in FEATURES}
    sources = properties["source_nodes"]
    accuracy = 0.1 * sources + noise * random.standard_normal(rows)
    return AccuracyTable(properties, tuple("ab"[n % 2] for n in range(rows)), accuracy)


@released
@pytest.mark.parametrize("cell", RIDGE)
def test_bayesian_ridge_meets_the_published_figures(cell: str) -> None:
    table = read_table(RELEASED / f"{cell}.csv")
    assert published_protocol(table, "bayesian-ridge") == pytest.approx(RIDGE[cell], abs=5e-5)
    with (RELEASED / "published_r_squared.csv").open() as file:
        rows = {row["mode"].lower(): row for row in csv.DictReader(file)}
    assert published_protocol(table, "bayesian-ridge") == pytest.approx(float(rows[cell]["BayesianRidge"]), abs=1e-6)
    middle, width = FOREST[cell]  # of 20 seeds in the note, with four of its deviations
    assert abs(published_protocol(table, "random-forest") - middle) < width


@released
@pytest.mark.parametrize("column", range(4))
def test_correlations_are_those_published(column: int) -> None:
    found = correlations(read_table(RELEASED / f"{('rnn_tanh', 'rnn_relu', 'lstm', 'gru')[column]}.csv"))
    for line in PUBLISHED.split("\n")[1:-1]:
        name, *values = line.split()
        assert abs(found[name] - float(values[column])) <= 0.0051, name


@released
def test_sources_alone_tell_most_of_gru_s_accuracy() -> None:
    table = read_table(RELEASED / "gru.csv")
    found = cross_validated(table, "random-forest", names=["source_nodes"], repeats=1)
    assert found.r_squared == pytest.approx(0.70, abs=0.03)  # as in the note


def test_r_squared_is_scikit_learn_s() -> None:
    random = np.random.default_rng(0)
    truth, predicted = random.random(30), random.random(30)
    assert r_squared(truth, predicted) == pytest.approx(r2_score(truth, predicted))


def test_correlations_are_numpy_s() -> None:
    table = made()
    found = correlations(table)
    expected = {name: np.corrcoef(values, table.accuracy)[0, 1] for name, values in table.properties.items()}
    assert found == pytest.approx(expected)
    flat = AccuracyTable(dict(table.properties) | {"nodes": np.ones(60)}, table.family, table.accuracy)
    assert correlations(flat)["nodes"] == 0.0


def test_cross_validation_finds_what_is_there() -> None:
    table = made()
    sources = cross_validated(table, "bayesian-ridge", names=["source_nodes"], repeats=3)
    least = LinearRegression().fit(table.matrix(["source_nodes"]), table.accuracy)
    fitted = r_squared(table.accuracy, least.predict(table.matrix(["source_nodes"])))
    assert fitted - 0.1 < sources.r_squared < fitted  # a model that has seen all rows does better
    assert sources.interval[0] < sources.r_squared < sources.interval[1] and sources.spread < 0.05
    # Nothing is left to tell within a number of sources; folds without a row predict a little against it.
    assert -0.2 < within_groups(table, sources, list(table.properties["source_nodes"])) <= 0
    again = cross_validated(table, "bayesian-ridge", names=["source_nodes"], repeats=3)
    assert (again.predicted == sources.predicted).all()
    useless = cross_validated(table, "bayesian-ridge", names=["density"], repeats=3)
    assert useless.r_squared < sources.r_squared


def test_rows_of_noise_are_not_predicted() -> None:
    table = made()
    noise = AccuracyTable(table.properties, table.family, np.random.default_rng(1).random(60))
    assert cross_validated(noise, "bayesian-ridge", repeats=2).r_squared < 0.1


def test_groups_are_predicted_by_models_that_have_not_seen_them() -> None:
    """Accuracy is a jump between families: who has not seen one predicts the other's mean, and R squared is -3."""
    table = made(noise=0.0)
    jump = AccuracyTable(table.properties, table.family, np.array([float(one == "a") for one in table.family]))
    names = ["source_nodes"]
    flat = AccuracyTable(dict(table.properties) | {"source_nodes": np.ones(60)}, jump.family, jump.accuracy)
    found = cross_validated(flat, "bayesian-ridge", names=names, groups=jump.family)
    assert found.predicted == pytest.approx(1 - jump.accuracy, abs=1e-6)
    assert found.r_squared == pytest.approx(-3) and found.spread == 0.0


def test_reading_and_refusing_tables(tmp_path: Path) -> None:
    table, path = made(rows=4), tmp_path / "table.csv"
    lines = [",".join(["x", *(repr(float(table.properties[name][n])) for name in FEATURES), "0.5"]) for n in range(4)]
    header = ",".join(["graph", *FEATURES, "test_acc"])
    path.write_text("\n".join([header, *lines]))
    read = read_table(path)
    assert (read.matrix() == table.matrix()).all() and read.family == ("x",) * 4
    assert len(read.take(np.array([True, False, True, True]))) == 3
    for text, message in (
        (header.replace(",density", "").replace(",test_acc", ""), "lacks the columns density, test_acc"),
        (header, "0 rows"),
        ("\n".join([header, lines[0], lines[1].replace("0.5", "good")]), "test_acc is 'good' in row 2|row 2"),
        ("", "lacks the columns graph"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            read_table(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_table(tmp_path / "none.csv")


def test_settings_that_are_refused() -> None:
    table = made(rows=10)
    with pytest.raises(UnknownNameError, match="unknown regressor 'ridge'.*bayesian-ridge"):
        published_protocol(table, "ridge")
    with pytest.raises(UnknownNameError, match="did you mean 'source_nodes'"):
        table.matrix(["sources"])
    for wrong in ({"folds": 1}, {"folds": 11}, {"groups": [0] * 10}, {"groups": [0, 1]}, {"repeats": 0}):
        with pytest.raises(SettingError, match="take one or more repeats"):
            cross_validated(table, "bayesian-ridge", **wrong)

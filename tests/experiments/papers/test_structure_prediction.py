"""`bayesprune paper hidden-structures --part prediction` on small tables of known content."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_ind

from bayesprune.errors import DataError, DataUnavailableError, UnknownNameError
from bayesprune.experiments.papers import paper
from bayesprune.experiments.papers.hidden_structures import graphs_part, prediction
from bayesprune.experiments.papers.hidden_structures.honest import INPUTS
from bayesprune.experiments.papers.hidden_structures.published_prediction import CORRELATIONS, R_SQUARED
from bayesprune.graphs import FEATURES, features, study_graph


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """Tables of 40 graphs whose accuracy grows with the number of sources and falls with the diameter."""
    folder = tmp_path / "reber" / "structure"
    folder.mkdir(parents=True)
    lines = [",".join(["graph", *FEATURES, "test_acc"])]
    for number in range(40):
        family = ("barabasi-albert", "watts-strogatz")[number % 2]
        found = features(study_graph(family, number))
        accuracy = 0.6 + 0.03 * found["source_nodes"] - 0.01 * found["diameter"]
        lines.append(",".join([family.replace("-", "_"), *(repr(float(found[n])) for n in FEATURES), repr(accuracy)]))
    for name in prediction.CELLS.values():
        (folder / f"{name}.csv").write_text("\n".join(lines))
    return tmp_path


def test_both_protocols_on_tables_that_can_be_predicted(tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction, "CELLS", {"GRU": "gru"})
    found = prediction.evaluate(quick=True, root=tables)
    told = found.values["cross_validated"]
    rows = {(one["cell"], one["properties"]): one for one in told if one["regressor"] == "bayesian-ridge"}
    assert len(rows) == len(INPUTS) and len(told) == len(rows) + 2
    assert all(0 <= one["coverage"]["0.8"] <= 1 and one["crps"] > 0 for one in told)
    assert rows["GRU", "all 23"]["r_squared"] > 0.99 and rows["GRU", "all 23"]["within_sources"] > 0.5
    assert rows["GRU", "number of sources"]["within_sources"] < 0.1
    assert found.values["published_protocol"]["GRU"]["bayesian-ridge"][0] > 0.99
    assert "meets 0 of 1" in found.document.verdict and len(found.lines) == 2
    text = found.document.markdown()
    assert text.count("| GRU | horseshoe | number of sources |") == 2
    assert "| GRU | bayesian-ridge | number of sources |" in text and "predicted-accuracy.png" in text
    (sketch,) = found.document.sketches()
    assert sketch.png().startswith(b"\x89PNG")


@pytest.mark.long
def test_the_command(tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    from bayesprune.experiments.cli import main

    monkeypatch.setenv("BAYESPRUNE_DATA", str(tables))
    monkeypatch.chdir(tmp_path)
    assert main(["paper", "hidden-structures", "--part", "prediction", "--quick", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    folder = tmp_path / "paper-hidden-structures-prediction-quick"
    assert document["paper"] == "hidden-structures-prediction" and document["rows"] == []
    assert {one.name for one in folder.iterdir()} == {
        "hidden-structures-prediction.html", "tables.md", "results.json", "predicted-accuracy.png",
    }  # fmt: skip


def test_what_is_missing_is_said(tables: Path, tmp_path: Path) -> None:
    with pytest.raises(DataUnavailableError, match="rnn_tanh.csv, .*lstm.csv into .*reber/structure"):
        prediction.evaluate(root=tmp_path / "elsewhere")
    file = tables / "reber" / "structure" / "gru.csv"
    file.write_text(file.read_text().replace("density", "thickness"))
    with pytest.raises(DataError, match="lacks the columns density"):
        prediction.evaluate(root=tables)
    with pytest.raises(UnknownNameError, match="part of hidden-structures 'predict'.*did you mean 'prediction'"):
        paper("hidden-structures").rows("predict")


def test_published_figures_name_known_properties() -> None:
    assert set(CORRELATIONS) <= set(FEATURES) and len(CORRELATIONS) == 12
    assert set(R_SQUARED) == set(prediction.CELLS)
    assert all(np.isfinite(list(one.values())).all() for one in R_SQUARED.values())


def test_the_generators_beside_the_released_graphs(tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The made-up tables hold our own graphs of even and odd seeds: no property is apart."""
    monkeypatch.setattr(prediction, "CELLS", {"GRU": "gru"})
    found = graphs_part.evaluate(quick=True, root=tables)
    assert found.document.verdict.startswith("0 of 46 mean properties")
    text = found.document.markdown()
    assert "| source_nodes |" in text and "example-graphs.png" in text
    (sketch,) = found.document.sketches()
    assert sketch.png().startswith(b"\x89PNG")


def test_means_that_are_apart_are_told() -> None:
    random = np.random.default_rng(0)
    ours = {name: random.normal(size=100) for name in FEATURES}
    theirs = {name: random.normal(size=50) for name in FEATURES} | {"layers": random.normal(2.0, 3.0, size=50)}
    apart = graphs_part.differences(ours, theirs)
    exact = ttest_ind(ours["layers"], theirs["layers"], equal_var=False).statistic
    assert apart["layers"] == pytest.approx(exact) and abs(exact) > graphs_part.FAR

"""Part `reber`: the plan of networks from random graphs, and its page from made-up runs."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bayesprune.experiments.executor import run_jobs
from bayesprune.experiments.papers import paper
from bayesprune.experiments.papers.hidden_structures import new_networks
from bayesprune.experiments.papers.hidden_structures.reber_runs import cell_of
from bayesprune.experiments.papers.hidden_structures.runs import part_of
from bayesprune.experiments.papers.rows import RowRuns, gather, jobs_of
from bayesprune.graphs import features, study_graph
from bayesprune.run.network_arguments import split_arguments
from bayesprune.store.runs import RunRecord

STUDY = paper("hidden-structures")


def test_the_plan_is_the_studys() -> None:
    rows = STUDY.rows("reber")
    assert Counter(map(cell_of, rows)) == {"gru": 40, "tanh": 10, "relu": 10, "lstm": 10}
    assert Counter(row.value.partition(":")[0] for row in rows) == {"barabasi-albert": 35, "watts-strogatz": 35}
    assert len(jobs_of(rows)) == 70
    for row in rows:
        name, given = split_arguments(row.network)
        assert name == "graphrnn" and given == {"cell": cell_of(row), "graph": row.value, "read": "last_step"}
        assert row.seeds == (int(row.value.partition(":")[2]),)
        assert (row.settings.data, row.settings.epochs, row.settings.batch_size) == ("reber", 15, 128)
    assert all(part_of(row) != "reber" for row in STUDY.rows())
    quick = STUDY.rows("reber", quick=True)
    assert len(quick) == 8 and {row.settings.epochs for row in quick} == {1}
    assert {row.settings.data for row in quick} == {"reber"}
    assert {row.settings.data for row in STUDY.rows("pruning", quick=True)} == {"mnist5k"}


@pytest.fixture
def made(make_run: Callable[..., RunRecord]) -> list[RowRuns]:
    """All GRU networks but the last four, accuracy growing with the number of sources; one tanh network."""
    found = []
    for row in STUDY.rows("reber"):
        family, _, number = row.value.partition(":")
        whole = cell_of(row) == "gru" and int(number) < 18
        records: tuple[RunRecord, ...] = ()
        if whole or (cell_of(row), row.value) == ("tanh", "watts-strogatz:0"):
            run = make_run("dense", row.seeds[0], data="digits", settings={"network": row.network, "data": "digits"})
            run.result["accuracy"] = 0.6 + 0.03 * features(study_graph(family, int(number)))["source_nodes"]
            records = (run,)
        found.append(RowRuns(row, records))
    return found


def test_the_page_of_a_study_that_is_partly_finished(
    made: list[RowRuns], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(new_networks, "PREDICTORS", {"bayesian-ridge": 2})
    monkeypatch.setattr(new_networks, "_rules_table", lambda found: None)
    monkeypatch.setenv("BAYESPRUNE_DATA", str(tmp_path))
    found = STUDY.evaluate(made)
    assert found.document.verdict.startswith("37 of 70 networks are trained")
    text = found.document.markdown()
    assert "| GRU | 36 of 40 |" in text and "| tanh | 1 of 10 |" in text and "accuracy-sources.png" in text
    assert text.count("| GRU | bayesian-ridge | number of sources |") == 2  # R squared and coverage
    assert "From the study's networks" not in text  # its tables are not here
    told = {one["properties"]: one for one in found.values["cross_validated"] if one["cell"] == "GRU"}
    assert told["number of sources"]["r_squared"] > 0.99
    assert len(found.values["networks"]["GRU"]["accuracy"]) == 36
    (sketch,) = found.document.sketches()
    assert sketch.png().startswith(b"\x89PNG")


def test_models_of_other_networks_are_asked_about_these(
    made: list[RowRuns], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where both follow the same rule, what was learnt from one holds for the other."""
    table = new_networks.table_of(made, "gru")
    assert table is not None and set(table.family) == {"barabasi_albert", "watts_strogatz"}
    monkeypatch.setattr(new_networks, "tables_of", lambda: {"GRU": table})
    monkeypatch.setattr(new_networks, "REGRESSORS", ("bayesian-ridge", "bayesian-ridge"))
    carried = new_networks._carried_table({"GRU": table.take(np.arange(len(table)) < 20)})
    assert carried is not None
    assert [row[-2:] for row in carried.rows] == [("1.00", "1.00")] * 4


@pytest.mark.long
def test_a_network_is_trained_and_counted(tmp_path: Path) -> None:
    """One epoch of one network through the machinery of all runs; the page counts it."""
    row = next(
        row for row in STUDY.rows("reber", quick=True) if row.value == "watts-strogatz:0" and cell_of(row) == "tanh"
    )
    (job,) = row.jobs()
    (folder,) = run_jobs([job], tmp_path, workers=1)
    record = RunRecord.read(folder)
    assert record.history[-1]["epoch"] == 1 and 0.4 < record.result["accuracy"] <= 1
    found = STUDY.evaluate(gather([row], [job], [record]))
    assert found.document.verdict.startswith("1 of 1 networks are trained")
    rules = {line.split("|")[2].strip() for line in found.document.markdown().splitlines() if "| reber |" in line}
    assert "last four letters" in rules and len(rules) == 7


def test_nothing_is_finished() -> None:
    found = STUDY.evaluate([RowRuns(row, ()) for row in STUDY.rows("reber")])
    assert found.document.verdict == "0 of 70 networks are trained."

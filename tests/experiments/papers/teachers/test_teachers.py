"""The study of teachers: errors counted by hand, verdicts, what is kept beside runs, and the baselines themselves."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bayesprune.data import from_tensors
from bayesprune.experiments.papers import paper
from bayesprune.experiments.papers.rows import Row, RowRuns
from bayesprune.experiments.papers.teachers import runs, selected, study
from bayesprune.experiments.papers.teachers.selected import FOREST, LASSO, Selection, baseline
from bayesprune.store.runs import RunRecord

SIZES = {"inputs": 200, "fc1": 3, "fc2": 2}
MakeRun = Callable[..., RunRecord]


def run_with(make_run: MakeRun, row: Row, inputs: list[int], rmse: float) -> RowRuns:
    """A finished run of a row that keeps these inputs, counted from 1."""
    ends = [0 if place + 1 in inputs else 1 for place in range(200)] + [0] * 5
    run = make_run(
        row.settings.method, sizes=SIZES, ends=ends, bayesian=True, data=row.settings.data, input_shape=(200,),
        settings=row.settings.to_json(),
    )  # fmt: skip
    run.result["metrics"] = {"rmse": {"value": rmse}}
    return RowRuns(row, (run,))


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lasso, forest and Gibbs draws that take no time."""
    monkeypatch.setattr(study, "gibbs_of", lambda run: Selection((0, 1, 2, 3, 4)))
    chosen = {LASSO: Selection((1, 4, 9, 11), 1.5), FOREST: Selection((1, 4))}
    monkeypatch.setattr(study, "baseline", lambda name, data, place: chosen[name])


@pytest.mark.usefixtures("beside")
def test_errors_are_counted(make_run: MakeRun) -> None:
    rows = [row for row in runs.plan(2) if row.factor == "teacher200" and row.settings.method != "spike-slab"]
    kept = [[1, 2, 3, 4, 5], [2, 5, 7, 8], [1, 2, 3, 4, 5, 200], [2, 3, 4, 5]]
    found = [
        run_with(make_run, row, inputs, 1.0 + place) for place, (row, inputs) in enumerate(zip(rows, kept, strict=True))
    ]
    table = study.evaluate(found).document.sections[1].tables[0]
    cells = {row[0]: row[1:] for row in table.rows}
    assert cells["parsimonious"] == (
        "2", "2", "1.0 (0 to 2)", "1.5 (0 to 3)", "0.51 %", "30.00 %", "x1: 1, x3: 1, x4: 1", "1.50",
    )  # fmt: skip
    assert cells["spike-slab-flat"][2:4] == ("0.5 (0 to 1)", "0.5 (0 to 1)") and cells["spike-slab-flat"][6] == "x1: 1"
    assert cells["parsimonious, gibbs"][2:4] == ("0.0 (0 to 0)", "0.0 (0 to 0)")
    assert cells[LASSO][2:4] == ("2.0 (2 to 2)", "3.0 (3 to 3)") and cells[LASSO][7] == "1.50"
    assert cells[FOREST][2:4] == ("0.0 (0 to 0)", "3.0 (3 to 3)")


@pytest.mark.usefixtures("beside")
def test_the_best_restart_by_validation_counts(make_run: MakeRun) -> None:
    row = runs.plan(1)[0]
    made = [
        run_with(make_run, replace(row, settings=replace(row.settings, seed=seed)), [seed + 1], 1.0)
        for seed in range(3)
    ]
    records = tuple(one.records[0] for one in made)
    for nll, run in zip((1.6, 1.4, 1.5), records, strict=True):
        run.history[-1]["validation_nll"] = nll
    found = study.selections_of([RowRuns(row, records)])
    assert found["teacher200"]["parsimonious"][0].inputs == (1,)


@pytest.mark.usefixtures("beside")
@pytest.mark.parametrize(
    ("kept", "verdicts"),
    [
        ([1, 2, 3, 4, 5], ["reached", "reached"]), ([1, 2, 3, 4, 5, 9], ["reached", "reached"]),
        ([1, 2, 3, 4, 5, 9, 10], ["MISSED", "reached"]), ([2, 3, 4, 5], ["MISSED", "reached"]),
        ([1, 2, 3, 4, 5, 9, 10, 11], ["MISSED", "MISSED"]),
    ],
)  # fmt: skip
def test_figures_to_reach(
    kept: list[int], verdicts: list[str], make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "gibbs_of", lambda run: Selection(tuple(range(100))))
    rows = [row for row in runs.plan(10) if row.factor == "teacher200" and row.settings.method == "parsimonious"]
    found = [run_with(make_run, row, kept, 1.0) for row in rows]
    methods = study.selections_of(found)["teacher200"]
    assert [one.verdict for one in study.targets("teacher200", methods)] == verdicts
    few = {name: {0: draws[0]} for name, draws in methods.items()}
    assert [one.verdict for one in study.targets("teacher200", few)] == ["not measured", "not measured"]


def test_what_is_computed_is_kept_until_the_data_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def counted(data: Any) -> Selection:
        calls.append(data.name)
        return Selection((1, 4), 1.25)

    monkeypatch.setitem(selected._BASELINES, LASSO, counted)
    first = baseline(LASSO, "teacher200@5", tmp_path)
    assert baseline(LASSO, "teacher200@5", tmp_path) == first == Selection((1, 4), 1.25) and len(calls) == 1
    baseline(LASSO, "teacher200@6", tmp_path)
    file = tmp_path / "beside" / "lasso-teacher200@5.json"
    document = json.loads(file.read_text())
    for damaged in (json.dumps(document | {"fingerprint": "other"}), "{}", "no JSON"):
        file.write_text(damaged)
        assert baseline(LASSO, "teacher200@5", tmp_path) == first
    assert len(calls) == 5
    baseline(LASSO, "teacher200@5", None)
    assert len(calls) == 6


def test_baselines_find_what_is_linear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of eight inputs count, by far."""
    random = np.random.default_rng(0)
    x = random.normal(size=(400, 8)).astype(np.float32)
    y = 3.0 * x[:, 2] - 2.0 * x[:, 5] + 0.1 * random.normal(size=400)
    data = from_tensors(x, y, task="regression")
    monkeypatch.setattr(selected, "TREES", 20)
    lasso, forest = selected._lasso(data), selected._forest(data)
    assert {2, 5} <= set(lasso.inputs) and forest.inputs == (2, 5)
    assert lasso.rmse is not None and 0.08 < lasso.rmse < 0.2


def test_the_plan_has_a_row_a_draw() -> None:
    one = paper("teachers")
    rows = one.rows()
    assert {row.settings.data for row in rows} == {f"teacher200@{draw}" for draw in range(10)}
    assert len(one.rows("teacher2000", repeats=3)) == 9 and len(rows) == 30
    assert {row.settings.data for row in one.rows(quick=True)} == {"teacher200@0", "teacher200@1"}
    assert len(one.rows("teacher2000", quick=True)) == 1

"""The study of layer sparsity: outcomes counted by hand, verdicts, and the plan."""

from collections.abc import Callable

import pytest

from bayesprune.experiments.papers import paper
from bayesprune.experiments.papers.layer_sparsity import runs, study
from bayesprune.experiments.papers.layer_sparsity.measured import outcome_of
from bayesprune.experiments.papers.rows import Row, RowRuns
from bayesprune.store.runs import RunRecord

MakeRun = Callable[..., RunRecord]


def run_with(make_run: MakeRun, row: Row, left: int, error: float, change: float = 1e-7) -> RunRecord:
    """A finished run that leaves so many layers."""
    settings = row.settings.to_json()
    run = make_run(row.settings.method, sizes={"fc1": 100}, data=row.settings.data, settings=settings)
    students = runs.part_of(row) == "students"
    key, worse = ("rmse", error) if students else ("accuracy", 1 - error)
    run.result["metrics"] = {key: {"value": worse}}
    run.result.update({"params": 1_000 * left, "nonzero_weights": 900 * left, "macs": 990 * left})
    run.history[-1]["validation_score"] = worse
    if row.settings.method == runs.METHOD:
        before = {key: worse - 0.01} if not students else {key: error + 0.01}
        run.history[-1]["collapse"] = {
            "left": [f"fc{n}" for n in range(left)], "before": before, "after": before, "mean_change": change,
        }  # fmt: skip
    return run


def found_for(make_run: MakeRun, rows: list[Row], outcome: Callable[[Row, int], tuple[float, ...]]) -> list[RowRuns]:
    made = []
    for row in rows:
        records = []
        for seed in row.seeds:
            left, error, *change = outcome(row, seed)
            records.append(run_with(make_run, row, int(left), error, *change))
        made.append(RowRuns(row, tuple(records)))
    return made


def test_an_outcome_is_read_from_the_last_epoch(make_run: MakeRun) -> None:
    row = next(row for row in runs.plan(1) if row.factor == "mnist" and row.value == runs.BOTH)
    one = outcome_of(run_with(make_run, row, 2, 0.03, 1e-3))
    assert (one.active, one.depth, one.params, one.nonzero, one.macs) == (2, 9, 2_000, 1_800, 1_980)
    assert one.before == one.after == pytest.approx(0.04) and one.validation == one.test == pytest.approx(0.03)
    assert one.change == 1e-3
    shallow = next(row for row in runs.plan(1) if row.value == runs.SHALLOW)
    dense = outcome_of(run_with(make_run, shallow, 1, 0.02))
    assert dense.active == 1 and dense.before is None and dense.change is None


@pytest.mark.parametrize(("hits", "expected"), [(10, "reached"), (8, "reached"), (7, "MISSED")])
def test_a_teacher_is_recovered_in_eight_of_ten_draws(make_run: MakeRun, hits: int, expected: str) -> None:
    rows = [row for row in runs.plan(1) if row.factor == "students"]

    def outcome(row: Row, seed: int) -> tuple[float, ...]:
        layers, draw = runs.teacher_of(row)
        right = draw < hits and runs.strength_of(row) == runs.STUDENT_STRENGTH
        return (layers if right else 7, 0.2)

    findings = study.evaluate(found_for(make_run, rows, outcome))
    assert [one["verdict"] for one in findings.values["targets"]] == [expected] * 2
    table = findings.document.sections[1].tables[0]
    cells = {row[:2]: row[2:] for row in table.rows}
    assert cells["2", "0.04"][:4] == ("10", str(hits), "0", str(hits)) and cells["2", "0.01"][3] == "0"
    dead = found_for(make_run, rows, lambda row, seed: (*outcome(row, seed)[:1], 1.0))
    assert {one["verdict"] for one in study.evaluate(dead).values["targets"]} == {"MISSED"}
    few = found_for(make_run, [row for row in rows if runs.teacher_of(row)[1] < 9], outcome)
    assert {one["verdict"] for one in study.evaluate(few).values["targets"]} == {"not measured"}


@pytest.mark.parametrize(
    ("left", "error", "change", "expected"),
    [
        (2, 0.03, 1e-7, ["reached", "reached", "reached"]), (3, 0.03, 1e-7, ["MISSED", "MISSED", "reached"]),
        (1, 0.05, 1e-7, ["MISSED", "MISSED", "reached"]), (2, 0.03, 1e-3, ["reached", "reached", "MISSED"]),
    ],
)  # fmt: skip
def test_depth_and_error_on_pictures(
    make_run: MakeRun, left: int, error: float, change: float, expected: list[str]
) -> None:
    rows = [row for row in runs.plan(3) if row.factor == "mnist"]
    found = found_for(make_run, rows, lambda row, seed: (left, 0.04 if row.value == runs.SHALLOW else error, change))
    findings = study.evaluate(found)
    assert [one["verdict"] for one in findings.values["targets"]] == expected
    names = [sketch.name for section in findings.document.sections for sketch in section.pictures]
    wide = [sketch.name for section in findings.document.sections for sketch in section.wide]
    assert names == ["active-mnist", "errors-mnist"] and wide == ["arms-mnist"]
    for section in findings.document.sections:
        for sketch in (*section.pictures, *section.wide):
            assert sketch.png()[:4] == b"\x89PNG" and sketch.description


@pytest.mark.parametrize(("error", "expected"), [(0.03, "reached"), (0.05, "MISSED")])
def test_the_refit_is_chosen_by_validation(make_run: MakeRun, error: float, expected: str) -> None:
    rows = paper("layer-sparsity").rows("refit")
    best = rows[2].value
    found = found_for(make_run, rows, lambda row, seed: (1, 0.05))
    for one in found:
        deep, chosen = one.row.value != runs.SHALLOW, one.row.value == best
        for run in one.records:  # the others are worse on the validation split and better on the test split
            run.history[-1]["validation_score"] = 0.97 if chosen else 0.96
            run.result["metrics"]["accuracy"]["value"] = 1 - (error if chosen else 0.001 if deep else 0.04)
    findings = study.evaluate(found)
    (target,) = findings.values["targets"]
    assert best in target["subject"] and target["verdict"] == expected
    assert len(findings.document.sections[1].tables[0].rows) == len(rows)


def test_fresh_draws_are_judged_as_the_others_are(make_run: MakeRun) -> None:
    rows = paper("layer-sparsity").rows("fresh-students")
    assert {runs.teacher_of(row)[1] for row in rows} == set(range(10, 20))
    findings = study.evaluate(found_for(make_run, rows, lambda row, seed: (runs.teacher_of(row)[0], 0.2)))
    assert [one["verdict"] for one in findings.values["targets"]] == ["reached"] * 2


def test_the_plan() -> None:
    one = paper("layer-sparsity")
    rows = one.rows("students")
    assert {runs.teacher_of(row) for row in rows} == {(layers, draw) for layers in (1, 2) for draw in range(10)}
    arms = [runs.arm_of(row) for row in one.rows("mnist") if row.value in runs.ARMS]
    assert arms == list(runs.ARMS)
    assert {row.settings.data for row in one.rows("fashion")} == {"fashion-mnist"}
    assert {row.settings.data for row in one.rows("mnist", quick=True)} == {"mnist5k"}
    quick = one.rows(quick=True)
    assert sum(len(row.seeds) for row in quick) == 10
    assert all(len(row.seeds) == 2 for row in one.rows("mnist", repeats=2) if row.value in runs.ARMS)

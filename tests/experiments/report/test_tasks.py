"""The report of tasks without an accuracy, and of classes one by one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bayesprune.experiments.configurations import configurations
from bayesprune.experiments.report.page import render
from bayesprune.experiments.report.plots import score_against_macs, scores_against_macs
from bayesprune.experiments.report.tables import NEVER_RIGHT, recall_tables, runs_table, summary_table
from bayesprune.store.atomic import read_json, write_json
from bayesprune.store.runs import RunRecord
from bayesprune.tasks import TASKS

MakeRun = Callable[..., RunRecord]


def pair(make_run: MakeRun, task: str = "regression", **given: object) -> list[RunRecord]:
    return [make_run(method, task=task, data="diabetes", **given) for method in ("dense", "parsimonious")]


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_a_page_that_says_its_metrics_and_directions(task: str, make_run: MakeRun) -> None:
    page, metrics = render(pair(make_run, task)), TASKS[task].metrics
    for metric in metrics:
        assert f'<th scope="col">{metric.label}{" %" if metric.unit == "%" else ""}</th>' in page
        assert f"<dd>{metric.meaning}" in page
    label = metrics[0].label
    assert f"{label[0].upper()}{label[1:]} against MACs" in page
    lower = [metric.label for metric in metrics if not metric.higher_is_better]
    assert f"Lower is better: {', '.join(lower)} and all costs." in page
    seeds = [make_run(method, seed, task=task) for method in ("dense", "random") for seed in (0, 1)]
    assert ("tells of the seeds alone" in render(seeds)) == (label != "accuracy")


def test_errors_are_drawn_with_their_unit_and_lower_is_better(make_run: MakeRun) -> None:
    picture = score_against_macs(configurations(pair(make_run, rmse=53.21)))
    assert picture.heading == "RMSE against MACs" and "down and to the left is better" in picture.caption
    assert "test RMSE, unit of the targets, lower is better" in picture.svg
    assert "dense: 53.2 at" in picture.svg and "%" not in picture.svg.partition("<desc")[2].partition("</desc>")[0]
    classes = score_against_macs(configurations([make_run("dense", accuracy=0.9), make_run("random")]))
    assert "test accuracy, %" in classes.svg and "up and to the left is better" in classes.caption
    assert "dense: 90.0 % at" in classes.svg


def test_different_tasks_share_no_axis_and_no_number(make_run: MakeRun) -> None:
    runs = [*pair(make_run, rmse=53.21), make_run("dense"), make_run("random")]
    pictures = scores_against_macs(configurations(runs))
    assert [picture.heading for picture in pictures] == ["RMSE against MACs", "Accuracy against MACs"]
    assert len({picture.svg.partition('aria-labelledby="')[2][:20] for picture in pictures}) == 2
    table = summary_table(runs)
    cells = dict(zip(table.headings, table.rows[0], strict=True))
    assert cells["RMSE"] == "53.2" and cells["accuracy %"] == "-"
    page = render(runs)
    assert page.count("against MACs</h3>") == 2
    assert "tells of the seeds alone" not in page  # one seed: there is no interval


def test_a_metric_that_no_run_has_is_drawn_empty(make_run: MakeRun) -> None:
    runs = pair(make_run, rmse=None)
    assert "Means: dense: -; parsimonious: -." in scores_against_macs(configurations(runs))[0].svg
    table = runs_table(configurations(runs), runs)
    assert dict(zip(table.headings, table.rows[0], strict=True))["RMSE"] == "-"


def test_recalls_are_averaged_over_seeds_and_blind_classes_marked(make_run: MakeRun) -> None:
    runs = [
        make_run("dense", 0, recalls=[0.9, 0.5, None]), make_run("dense", 1, recalls=[0.8, 0.7, None]),
        make_run("random", 0, recalls=[1.0, 0.0, 0.25]), make_run("random", 1, recalls=[1.0, 0.5, 0.25]),
    ]  # fmt: skip
    (table,) = recall_tables(configurations(runs))
    assert table.headings == ("class", "dense", "random")
    assert table.rows == (
        ("0", "85.0 ± 7.1", "100.0 ± 0.0"), ("1", "60.0 ± 14.1", f"25.0 ± 35.4{NEVER_RIGHT}"),
        ("2", "-", "25.0 ± 0.0"),
    )  # fmt: skip
    page = render(runs)
    assert "Class by class" in page and "Recall % of each class of mnist5k" in page and "marked with !" in page
    assert "Class by class" not in render([make_run("dense")]) and recall_tables(configurations([make_run()])) == []


def test_many_classes_are_folded_and_data_sets_have_tables_of_their_own(make_run: MakeRun) -> None:
    runs = [make_run("dense", recalls=[0.5] * 21), make_run("dense", data="wine", recalls=[0.9, 0.5, 0.0])]
    assert [len(table.rows) for table in recall_tables(configurations(runs))] == [21, 3]
    assert "<summary>21 classes</summary>" in render(runs) and "<summary>3 classes</summary>" not in render(runs)


def test_classes_show_the_balanced_accuracy_in_the_report(make_run: MakeRun) -> None:
    runs = [make_run("dense", task="classification", balanced_accuracy=0.5, lowest_recall=0.0)]
    table = summary_table(runs)
    cells = dict(zip(table.headings, table.rows[0], strict=True))
    assert cells["balanced accuracy %"] == "50.0" and cells["lowest recall %"] == "0.0"


def test_a_folder_of_the_former_schema_stands_beside_one_of_today(make_run: MakeRun) -> None:
    old, new = make_run("dense", accuracy=0.9), make_run("random", task="classification", accuracy=0.8)
    folder = old.folder or Path()
    document = read_json(folder / "run.json")
    result = {name: value for name, value in document["result"].items() if name not in ("task", "metrics")}
    document = {name: value for name, value in document.items() if name != "task"} | {"schema": 1, "result": result}
    write_json(folder / "run.json", document)
    runs = [RunRecord.read(folder), new]
    table = summary_table(runs)
    first, second = (dict(zip(table.headings, row, strict=True)) for row in table.rows)
    assert (first["accuracy %"], second["accuracy %"]) == ("90.0", "80.0")
    assert first["balanced accuracy %"] == "-" != second["balanced accuracy %"]
    page = render(runs)
    assert "Accuracy against MACs" in page and "<dd>share of right answers; higher is better</dd>" in page

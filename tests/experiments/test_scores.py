"""Metrics of any task in tables and sentences: unit, direction, and no accuracy where there is none."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from bayesprune.experiments.commands.progress import _outcome
from bayesprune.experiments.commands.sentences import sentence_about
from bayesprune.experiments.scores import ACCURACY, Score, score_of, scores_of
from bayesprune.experiments.statistics import PairedDifference, verdict
from bayesprune.experiments.summary import metrics_for, summary_rows, terminal_table
from bayesprune.experiments.verdict import verdict_of
from bayesprune.store.runs import RunRecord
from bayesprune.tasks import TASKS

MakeRun = Callable[..., RunRecord]
RMSE = Score("rmse", "RMSE", "root of the mean squared error", "unit of the targets", higher_is_better=False)
IOU = Score("mean_iou", "mean IoU", unit="%")
NATS = Score("deviance", "deviance", unit="nats", higher_is_better=False)


def regression(make_run: MakeRun, method: str, rmse: float, macs: int, seeds: int = 4) -> list[RunRecord]:
    """Runs whose errors are this one, a hundredth more or less."""
    return [
        make_run(method, seed, task="regression", rmse=rmse + (-1) ** seed / 100, macs=macs, params=macs + 50)
        for seed in range(seeds)
    ]


def study(make_run: MakeRun, ours: float = 53.2, rival: float = 54.5, dense: float = 51.1) -> list[RunRecord]:
    return [
        *regression(make_run, "dense", dense, 10_000),
        *regression(make_run, "parsimonious", ours, 1000),
        *regression(make_run, "l1-units", rival, 990),
    ]


def test_a_run_says_its_metrics_in_order(make_run: MakeRun) -> None:
    run = make_run(task="regression", rmse=53.2)
    assert [score.key for score in scores_of([run])] == ["rmse", "mae", "r2", "nll", "coverage"]
    assert score_of(run) == RMSE and score_of(run).of(run) == 53.2
    old = make_run()
    assert score_of(old) == ACCURACY and score_of(old).of(old) == old.result["accuracy"]


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_rows_a_table_and_a_sentence(task: str, make_run: MakeRun) -> None:
    runs = [make_run(method, seed, task=task) for method in ("dense", "parsimonious", "random") for seed in (0, 1)]
    metrics = TASKS[task].metrics
    for row in summary_rows(runs):
        assert all(row[metric.key]["mean"] is not None for metric in metrics)
    assert [metric.key for metric in metrics_for(runs)][: len(metrics)] == [metric.key for metric in metrics]
    label = metrics[0].label
    assert label in sentence_about(runs) and label in sentence_about(runs[:1]) and label in sentence_about(runs[:2])
    assert _outcome(runs[0]).startswith(label)
    assert label.split()[0] in printed(runs)


def printed(runs: list[RunRecord], width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(terminal_table(runs))
    output: Any = console.file
    return str(output.getvalue())


def test_the_narrow_table_of_regression(make_run: MakeRun) -> None:
    text = printed([make_run(task="regression", seed=seed, rmse=53.21 + seed, mae=0.01234) for seed in (0, 1)])
    heading = [word for word in text.splitlines()[1].split("  ") if word.strip()] if "RMSE" in text else []
    assert "53.7 ± 0.7" in text and "0.0123" in text and "accuracy" not in text and "coverage" not in text, heading


def test_classes_keep_the_narrow_table_that_they_had(make_run: MakeRun) -> None:
    for run in (make_run(), make_run(task="classification")):
        narrow = [metric.narrow for metric in metrics_for([run]) if metric.narrow]
        assert narrow == ["accuracy %", "NLL", "ECE", "params", "MACs", "latency ms", "time/dense"]


def test_a_metric_that_a_run_lacks_is_a_dash(make_run: MakeRun) -> None:
    runs = [make_run("dense"), make_run("dense", task="regression", data="diabetes", rmse=53.2)]
    classes, numbers = summary_rows(runs)
    assert classes["rmse"]["mean"] is None and numbers["accuracy"]["mean"] is None
    assert numbers["rmse"]["mean"] == 53.2 and classes["accuracy"]["mean"] is not None
    assert "-" in printed(runs)


def test_a_metric_that_is_not_defined_stops_nothing(make_run: MakeRun) -> None:
    runs = [make_run(method, task="regression", rmse=None) for method in ("dense", "parsimonious", "random")]
    assert verdict_of(runs).startswith("There is no other method to compare parsimonious with")
    assert "RMSE -" in sentence_about(runs[:1]) and _outcome(runs[0]).startswith("RMSE -")


def test_a_metric_of_a_users_own_takes_no_column_of_the_costs(make_run: MakeRun) -> None:
    run = make_run()
    run.result["metrics"] = {"macs": {"value": 0.5, "label": "macs", "better": "lower"}}
    assert summary_rows([run])[0]["macs"]["mean"] == run.result["macs"]
    assert sentence_about([run]).startswith("parsimonious, lenet300 on mnist5k, seed 0: macs 0.500 (lower is better)")


def test_meaning_unit_and_direction_are_said(make_run: MakeRun) -> None:
    meanings = {metric.key: metric.meaning for metric in metrics_for([make_run(task="regression")])}
    assert meanings["rmse"] == "root of the mean squared error, in the unit of the targets; lower is better"
    assert meanings["nll"] == "mean negative log-likelihood of an example, in nats; lower is better"
    assert meanings["r2"] == "share of the variance that is explained; higher is better"
    assert meanings["coverage"] == "share of targets inside the 90 % interval (0.9 is right)"


def test_sentences_about_runs_of_one_method(make_run: MakeRun) -> None:
    runs = regression(make_run, "dense", 53.2, 1000, seeds=2)
    assert ": RMSE 53.2 (unit of the targets, lower is better) on 1,000 test images with 1,000 MACs" in sentence_about(
        runs[:1]
    )
    assert ": RMSE 53.2 (unit of the targets, lower is better) with 1,000 MACs" in sentence_about(runs)
    far = [*runs, make_run("dense", 9, task="regression", rmse=60.0, macs=1000)]
    assert ": RMSE 53.2 to 60.0 (unit of the targets, lower is better) with" in sentence_about(far)


def test_the_verdict_knows_that_lower_errors_are_better(make_run: MakeRun) -> None:
    # Differences are the same for all seeds, so that the interval is one point: there is no noise of images in it.
    sentence = verdict_of(study(make_run))
    assert sentence.startswith(
        "parsimonious beats l1-units by 1.3 RMSE (unit of the targets, lower is better; 95 % interval 1.3 to 1.3, "
        "4 seeds). l1-units takes no more MACs: 990 MACs and 1,040 parameters against 1,000 and 1,050."
    )
    assert (
        "Against dense, parsimonious is worse by 2.1 RMSE (unit of the targets, lower is better; 95 % interval 2.1 to "
        "2.1, 4 seeds); it keeps 10 % of the MACs" in sentence
    )
    assert verdict_of(study(make_run, rival=50.0)).startswith("l1-units beats parsimonious by 3.2 RMSE (")
    assert "parsimonious is better by 0.80 RMSE (" in verdict_of(study(make_run, dense=54.0))
    assert "parsimonious has the same RMSE (" in verdict_of(study(make_run, dense=53.2))


def test_the_verdict_of_errors_without_a_fair_rival(make_run: MakeRun) -> None:
    ours, small = regression(make_run, "parsimonious", 50.0, 1000), regression(make_run, "random", 60.0, 100)
    large = regression(make_run, "magnitude", 49.0, 5000)
    assert "so RMSE is not compared" in verdict_of([*ours, *small])
    assert (
        "magnitude is better by 1.0 RMSE (unit of the targets, lower is better; 95 % interval 1.0 to 1.0, 4 seeds), "
        "but it is no equal" in verdict_of([*ours, *small, *large])
    )
    two = [*ours, *regression(make_run, "random", 60.0, 900), *regression(make_run, "taylor", 55.0, 900)]
    assert "taylor has the best RMSE of 2 rivals that take no more MACs" in verdict_of(two)
    assert "what pruning cost in RMSE is not known" in verdict_of(two)


def test_runs_of_different_tasks_are_no_rivals(make_run: MakeRun) -> None:
    runs = [*regression(make_run, "parsimonious", 0.5, 1000), make_run("random", macs=990)]
    assert verdict_of(runs).startswith("There is no other method to compare parsimonious with")


@pytest.mark.parametrize(
    ("score", "difference", "sentence"),
    [
        (
            RMSE, PairedDifference(1.3, 0.6, 2.0, 5, 0.95),
            "A beats B by 1.3 RMSE at once (unit of the targets, lower is better; 95 % interval 0.6 to 2.0, 5 seeds).",
        ),
        (
            RMSE, PairedDifference(-1234.0, -2000.0, 1.0, 3, 0.95),
            "A and B cannot be told apart in RMSE at once: B is 1,234 ahead, which may be chance (unit of the targets, "
            "lower is better; 95 % interval -1 to 2,000, 3 seeds).",
        ),
        (
            RMSE, PairedDifference(2.0, None, None, 1, 0.95),
            "A is better by 2.0 RMSE than B at once (unit of the targets, lower is better), but one seed decides "
            "nothing: run at least 3.",
        ),
        (
            RMSE, PairedDifference(0.0, None, None, 1, 0.95),
            "A and B have the same RMSE at once; one seed decides nothing: run at least 3.",
        ),
        (
            IOU, PairedDifference(-0.013, -0.020, -0.006, 5, 0.95),
            "B beats A by 1.3 points of mean IoU at once (95 % interval 0.6 to 2.0, 5 seeds).",
        ),
        (
            NATS, PairedDifference(0.012, 0.002, 0.022, 5, 0.95),
            "A beats B by 0.012 nats of deviance at once (lower is better; 95 % interval 0.002 to 0.022, 5 seeds).",
        ),
        (
            NATS, PairedDifference(1e-18, -1.0, 1.0, 2, 0.95),
            "A and B cannot be told apart in deviance at once: their means are the same (lower is better; 95 % "
            "interval -1.000 to 1.000, 2 seeds).",
        ),
        (
            Score("f", "F1"), PairedDifference(3e-7, 1e-7, 5e-7, 5, 0.95),
            "A beats B by 3e-07 F1 at once (95 % interval 1e-07 to 5e-07, 5 seeds).",
        ),
    ],
)  # fmt: skip
def test_the_sentence_of_any_metric(score: Score, difference: PairedDifference, sentence: str) -> None:
    assert verdict("A", "B", difference, "at once", score) == sentence


@pytest.mark.parametrize(
    ("score", "value", "text"),
    [(ACCURACY, 0.9352, "93.5 %"), (RMSE, 53.21, "53.2"), (NATS, 1.2, "1.20 nats"), (RMSE, 2.5e7, "2.5e+07")],
)
def test_values_with_their_unit(score: Score, value: float, text: str) -> None:
    assert score.show(value) == text


def test_a_class_that_is_never_recognised_is_told(make_run: MakeRun) -> None:
    blind = make_run("random", recalls=[1.0, 0.0, None])
    assert "No test example of class 1 gets the right answer." in sentence_about([blind])
    assert "gets the right answer" not in sentence_about([make_run("random", recalls=[1.0, 0.2, None])])
    both = [make_run("parsimonious"), blind, make_run("random", 1, recalls=[0.0, 0.0, 0.1])]
    assert sentence_about(both).endswith(
        "In 2 runs of random no test example of some class gets the right answer (classes 0 and 1)."
    )
    many = make_run("random", 2, recalls=[0.0] * 9)
    assert "of classes 0, 1, 2, 3, 4, ... gets the right answer." in sentence_about([many])

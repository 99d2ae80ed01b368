"""Which runs are averaged, their means and spreads against numpy, and the table for the terminal."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from bayesprune.experiments.summary import metrics_for, summary_rows, terminal_table
from bayesprune.store.runs import RunRecord

MakeRun = Callable[..., RunRecord]


@pytest.fixture
def study(make_run: MakeRun) -> list[RunRecord]:
    methods = ("dense", "parsimonious", "l1-units")
    return [make_run(method, seed) for seed in range(3) for method in methods]


def printed(records: list[RunRecord], width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(terminal_table(records))
    output: Any = console.file
    return str(output.getvalue())


def test_rows_are_means_and_standard_deviations_in_order_of_appearance(study: list[RunRecord]) -> None:
    rows = summary_rows(study)
    assert [(row["method"], row["label"], row["n"]) for row in rows] == [
        (method, method, 3) for method in ("dense", "parsimonious", "l1-units")
    ]
    dense = {run.result["seed"]: run.result["train_seconds"] for run in study if run.result["method"] == "dense"}
    for row in rows:
        results = [run.result for run in study if run.result["method"] == row["method"]]
        for metric in metrics_for(study):
            if metric.key == "time_against_dense":
                values = [result["train_seconds"] / dense[result["seed"]] for result in results]
            else:
                values = [result[metric.key] for result in results]
            expected = {"mean": np.mean(values), "sd": np.std(values, ddof=1)}
            assert row[metric.key] == pytest.approx(expected, rel=1e-9, abs=1e-12), metric.key


def test_one_seed_has_no_spread_and_no_dense_run_no_ratio(make_run: MakeRun) -> None:
    (row,) = summary_rows([make_run("parsimonious", 4, accuracy=0.5)])
    assert row["accuracy"] == {"mean": 0.5, "sd": None}
    assert row["time_against_dense"] == {"mean": None, "sd": None}


def test_dense_runs_on_other_data_are_no_reference(make_run: MakeRun) -> None:
    rows = summary_rows([make_run("dense", data="mnist"), make_run("random", data="mnist5k")])
    assert [row["time_against_dense"]["mean"] for row in rows] == [1.0, None]


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1}, {"epochs": 20}, {"settings": {"learning_rate": 0.1}}, {"settings": {"threads": 2}},
        {"settings": {"options": {"training": "plain"}}}, {"settings": {"batch_size": 7}},
    ],
)  # fmt: skip
def test_time_is_held_against_no_unlike_dense_run(make_run: MakeRun, other: dict[str, Any]) -> None:
    unlike = make_run("dense", train_seconds=100.0, **other)
    row = summary_rows([unlike, make_run("random", train_seconds=5.0)])[-1]
    assert row["time_against_dense"]["mean"] is None
    like = make_run("dense", train_seconds=20.0)
    row = summary_rows([unlike, like, make_run("random", train_seconds=5.0)])[-1]
    assert row["time_against_dense"]["mean"] == 0.25


def test_what_is_removed_does_not_change_the_dense_run(make_run: MakeRun) -> None:
    size = {"price": 2.0, "options": {"start": 0.9}, "keep": ["fc2"], "inputs": "none", "estimator": "disarm"}
    runs = [make_run("dense", train_seconds=20.0), make_run("parsimonious", train_seconds=5.0, settings=size)]
    assert [row["time_against_dense"]["mean"] for row in summary_rows(runs)] == [1.0, 0.25]


def test_a_missing_number_is_not_averaged_away(make_run: MakeRun) -> None:
    (row,) = summary_rows([make_run("random", 0), make_run("random", 1, nll=None)])
    assert row["nll"] == {"mean": None, "sd": None}
    assert row["accuracy"]["sd"] is not None


def test_a_run_that_is_given_twice_counts_once(study: list[RunRecord]) -> None:
    assert study[1].folder is not None
    assert summary_rows([*study, RunRecord.read(study[1].folder)]) == summary_rows(study)


def test_the_terminal_table_shows_percent_with_spread(make_run: MakeRun) -> None:
    runs = [make_run("dense", seed, accuracy=0.953 + 0.004 * (seed - 1)) for seed in range(3)]
    text = printed(runs, 200)
    assert "95.3 ± 0.4" in text
    assert "accuracy %" in text


def test_accuracy_on_many_test_images_has_two_decimals(make_run: MakeRun) -> None:
    run = make_run("dense", accuracy=0.98766)
    run.data["split_sizes"]["test"] = 10_000
    assert "98.77" in printed([run], 200)


def test_a_narrow_terminal_breaks_no_number(study: list[RunRecord]) -> None:
    wide, narrow = printed(study, 200), printed(study, 80)
    assert max(map(len, narrow.splitlines())) <= 80
    assert "…" not in narrow
    numbers = {word for word in wide.split() if word[0].isdigit()}
    assert numbers <= set(narrow.split())
    assert "parsimonious" in narrow


def test_a_method_name_is_not_read_as_markup(make_run: MakeRun) -> None:
    assert "[red]mine[/red]" in printed([make_run("[red]mine[/red]", bayesian=False)], 200)

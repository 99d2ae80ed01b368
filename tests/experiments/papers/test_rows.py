"""Rows: each run is made once, and every row finds its own."""

from collections.abc import Callable

from bayesprune.experiments.papers.rows import Row, RowRuns, gather, jobs_of, names_of, varied
from bayesprune.run.settings import RunSettings

MakeStudy = Callable[..., list[RowRuns]]
BASE = RunSettings("parsimonious", data="mnist", epochs=6, price=14.0, options={"alpha": 0.3})


def rows() -> list[Row]:
    return [
        Row("base", "base", BASE, (0, 1)),
        Row("start", "0.5 (base)", BASE, (0, 1, 2)),
        Row("start", "0.9", varied(BASE, options={"start": 0.9}), (0,)),
    ]


def test_runs_that_rows_share_are_made_once() -> None:
    jobs = jobs_of(rows())
    assert [(job.settings.seed, job.settings.options.get("start")) for job in jobs] == [
        (0, None), (1, None), (2, None), (0, 0.9),
    ]  # fmt: skip
    assert names_of(rows()) == [
        "lenet300 base, seed 0", "lenet300 base, seed 1", "lenet300 start 0.5 (base), seed 2",
        "lenet300 start 0.9, seed 0",
    ]  # fmt: skip


def test_every_row_finds_its_runs_and_those_that_are_missing_are_missing(make_study: MakeStudy) -> None:
    whole = make_study(rows())
    assert [[run.result["seed"] for run in one.records] for one in whole] == [[0, 1], [0, 1, 2], [0]]
    jobs = jobs_of(rows())
    records = [whole[0].records[1], whole[2].records[0]]
    some = gather(rows(), [jobs[1], jobs[3]], records)
    assert [[run.result["seed"] for run in one.records] for one in some] == [[1], [1], [0]]
    assert some[2].records[0].settings["options"] == {"alpha": 0.3, "start": 0.9}


def test_changes_keep_the_options_of_the_base() -> None:
    changed = varied(BASE, price=20.0, options={"start": 0.25})
    assert (changed.price, changed.options) == (20.0, {"alpha": 0.3, "start": 0.25})
    assert BASE.options == {"alpha": 0.3}


def test_a_row_moves_to_other_data_whole() -> None:
    moved = rows()[0].on("mnist5k")
    assert {job.settings.data for job in moved.jobs()} == {"mnist5k"}
    assert moved.settings.price == 14.0

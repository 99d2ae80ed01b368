"""Finished runs are found again, also those whose size another run gave."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bayesprune.errors import SettingError
from bayesprune.experiments.executor import run_jobs
from bayesprune.experiments.job_order import finished_runs
from bayesprune.experiments.jobs import Job
from bayesprune.run.settings import RunSettings


@pytest.fixture(scope="module")
def jobs(small_npz: str) -> list[Job]:
    """A matched run, the one it matches, and one that begins with a dense network."""

    def settings(method: str, **given: Any) -> RunSettings:
        return RunSettings(method, data=small_npz, widths=(12, 8), epochs=2, batch_size=50, **given)

    dense = settings("dense")
    pruned = settings("magnitude", density=0.5, options={"prune_share": 0.0})
    return [
        Job(settings("l1-units"), "parsimonious"),
        Job(settings("parsimonious")),
        Job(dense),
        Job(pruned, start=dense),
    ]


@pytest.fixture(scope="module")
def made(jobs: list[Job], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """The folder of all runs, and their own."""
    root = tmp_path_factory.mktemp("runs")
    return root, run_jobs(jobs, root, workers=1)


def test_all_are_found_where_all_are_finished(jobs: list[Job], made: tuple[Path, list[Path]]) -> None:
    root, folders = made
    assert finished_runs(jobs, root) == dict(enumerate(folders))
    assert list(finished_runs(jobs, root)) == [0, 1, 2, 3]


def test_a_run_without_the_run_it_matches_is_not_found(
    jobs: list[Job], made: tuple[Path, list[Path]], tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(made[0], copy)
    shutil.rmtree(copy / made[1][1].name)
    assert list(finished_runs(jobs, copy)) == [2, 3]
    assert finished_runs(jobs, tmp_path / "nothing") == {}


def test_what_a_run_matches_must_be_among_them(jobs: list[Job], tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="matches 'parsimonious', which is not among the runs"):
        finished_runs([jobs[0], replace(jobs[2])], tmp_path)

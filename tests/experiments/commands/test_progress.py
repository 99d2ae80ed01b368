"""How the runs get on: a bar on a terminal only, and an estimate of the time left that counts what there is to do."""

import io
import math
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from rich.progress import Progress as Bar

from bayesprune.budgets.predicted import MEASURING
from bayesprune.experiments.commands import progress
from bayesprune.experiments.commands.output import terminal
from bayesprune.experiments.commands.progress import Watcher, labels, watching
from bayesprune.experiments.jobs import WAITING, Job
from bayesprune.run.settings import RunSettings
from bayesprune.training import Progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the seconds that have passed."""
    now = [0.0]
    monkeypatch.setattr(progress, "monotonic", lambda: now[0])
    return lambda seconds: now.__setitem__(0, seconds)


def watcher_of(methods: list[str], phases: list[dict[str, int]], out: Path) -> tuple[Watcher, Any]:
    """A watcher of runs with a bar that nobody sees, and the bar's task."""
    bar = Bar(disable=True)
    watcher = Watcher([Job(RunSettings(method)) for method in methods], phases, out, bar, "opening")
    return watcher, bar.tasks[0]


def test_the_time_left_is_that_of_the_work_left(
    tmp_path: Path, clock: Callable[[float], None], capsys: pytest.CaptureFixture[str]
) -> None:
    watcher, task = watcher_of(["dense", "parsimonious"], [{"fixed": 1000}, {"prune": 400, "fixed": 1000}], tmp_path)
    assert task.total == pytest.approx(1000 + 400 * 1.1 + 1000 * 0.35)
    clock(50.0)  # starting took its time, which says nothing of the pace
    watcher.report(0, Progress("fixed", 0, 1000, 1.0))
    clock(60.0)
    watcher.report(0, Progress("fixed", 500, 1000, 1.0))
    assert task.completed == pytest.approx(500)
    assert task.fields["left"] == f"about 0:{round(10 * (task.total - 500) / 500)} left"
    assert task.description == "dense seed 0: fixed"
    clock(61.0)
    watcher.report(1, Progress("prune", 0, 1400, 1.0))
    clock(70.0)
    watcher.report(1, Progress("fixed", 500, 1400, 1.0))
    assert task.completed == pytest.approx(500 + 400 * 1.1 + 100 * 0.35)
    watcher.report(1, Progress("fixed", 501, 1400, 1.0))
    clock(80.0)
    watcher.report(0, Progress("transfer", 700, 1000, 7.7, {"kernel distance": 6439.2, "target distance": 1.0221}))
    assert task.description == "dense seed 0: transfer (kernel distance 6.44e+03, target distance 1.02)"
    assert capsys.readouterr().err == "opening\n"


def test_what_was_done_before_is_neither_done_nor_to_do(
    tmp_path: Path, clock: Callable[[float], None], make_run: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    reused = make_run("dense").folder
    watcher, task = watcher_of(["dense", "dense"], [{"fixed": 1000}, {"fixed": 1000}], tmp_path / "runs")
    watcher.finished(0, reused)
    assert (task.total, task.completed, task.fields["runs"], watcher.reused) == (1000, 0, "1/2", 1)
    clock(1.0)
    watcher.report(1, Progress("fixed", 600, 1000, 1.0))  # the first sign of a run that was resumed at step 600
    clock(11.0)
    watcher.report(1, Progress("fixed", 700, 1000, 1.0))
    assert (task.total, task.completed) == (400, 100)
    assert task.fields["left"] == "about 0:33 left"
    watcher.finished(1, make_run("dense", 1).folder)
    assert (task.total, task.completed, task.fields["runs"], watcher.reused) == (400, 400, "2/2", 1)
    opening, line = capsys.readouterr().err.splitlines()
    assert opening == "opening" and re.fullmatch(r"\[2/2\] dense seed 0: accuracy .* s", line)


def test_runs_are_named_by_what_tells_them_apart() -> None:
    settings = [RunSettings("parsimonious", seed=seed, price=price) for price in (1, 2) for seed in (0, 1)]
    jobs = [Job(one) for one in [*settings, RunSettings("dense")]]
    assert labels(jobs) == [
        "parsimonious seed 0 price=1.0",
        "parsimonious seed 1 price=1.0",
        "parsimonious seed 0 price=2.0",
        "parsimonious seed 1 price=2.0",
        "dense seed 0",
    ]


def test_nothing_is_said_before_a_run_gets_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with watching([Job(RunSettings("dense"))], [{"fixed": 10}], tmp_path, 1):
        pass
    assert not capsys.readouterr().err


def read_all(terminal: int) -> str:
    """What is written to a terminal until nobody has it open any more."""
    pieces = []
    with suppress(OSError):  # how Linux says that the other end is closed
        while piece := os.read(terminal, 1 << 16):
            pieces.append(piece)
    os.close(terminal)
    return b"".join(pieces).decode()


def test_a_terminal_gets_a_bar_and_the_pipe_the_object(small_data: str, tmp_path: Path, repository: Path) -> None:
    ours, theirs = pty.openpty()
    arguments = ["prune", "--data", small_data, "--epochs", "20", "--out", str(tmp_path / "runs"), "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "bayesprune", *arguments], cwd=repository, stdout=subprocess.PIPE, stderr=theirs,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "120"}, text=True,
    )  # fmt: skip
    os.close(theirs)
    shown = read_all(ours)
    answer, _ = process.communicate()
    assert process.returncode == 0
    assert "parsimonious seed 0: " in shown and "━" in shown and "/1 runs" in shown
    assert "into" not in shown
    assert answer.startswith('{"schema": 2') and answer.count("\n") == 1


def test_a_dumb_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for name, drawn in (("dumb", False), ("xterm", True)):
        monkeypatch.setenv("TERM", name)
        monkeypatch.setattr(sys, "stderr", Terminal())
        assert terminal()[1] is drawn
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert terminal()[1] is False


def test_waiting_for_another_process_is_said_once_and_is_no_work(
    tmp_path: Path, clock: Callable[[float], None], capsys: pytest.CaptureFixture[str]
) -> None:
    watcher, task = watcher_of(["dense"], [{"fixed": 1000}], tmp_path)
    for _ in range(3):
        watcher.report(0, Progress(WAITING, 0, 1, math.nan))
    assert task.description == "dense seed 0: waiting for the process that makes this run"
    watcher.report(0, Progress("fixed", 600, 1000, 1.0))  # the other process was killed, and its run is gone on with
    clock(10.0)
    watcher.report(0, Progress("fixed", 800, 1000, 1.0))
    assert (task.completed, task.total) == (200, 400)
    assert capsys.readouterr().err == "opening\ndense seed 0: waiting for the process that makes this run\n"


def test_a_latency_table_is_told_of_once_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    watcher, task = watcher_of(["parsimonious", "l1-units"], [{"prune": 400}, {"fixed": 400}], tmp_path)
    for number in (0, 0, 1):
        watcher.report(number, Progress(f"{MEASURING} 3/8", 0, 1, math.nan))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "opening" and [line.partition(":")[0] for line in lines[1:]] == [
        "parsimonious seed 0", "l1-units seed 0",
    ]  # fmt: skip
    assert all("timing layers" in line for line in lines[1:])
    assert task.completed == 0

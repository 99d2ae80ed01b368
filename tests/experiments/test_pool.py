"""Accidents of a pool: whatever happens to one run, the others are saved and nobody waits for ever."""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from bayesprune.errors import BayespruneError, NetworkError
from bayesprune.experiments.executor import run_jobs
from bayesprune.experiments.jobs import WAITING, Job, folder_of
from bayesprune.experiments.worker import Ended, Failure
from bayesprune.run.settings import RunSettings
from bayesprune.store.lock import locked
from bayesprune.store.tree import load_tree
from bayesprune.training import Progress

NETWORKS = """
import multiprocessing, os, signal, time
from pathlib import Path
from bayesprune.models import LeNet300

EVALUATES = Path(__file__).parent / "evaluates"

class Slow(LeNet300):
    steps = 0

    def forward(self, inputs):
        self.steps += self.training
        if self.steps == 10 and not self.training:  # it is trained, and is measured now
            EVALUATES.touch()
            time.sleep(0.02)
        return super().forward(inputs)

def slow(input_shape, classes):
    return Slow((12, 8), input_shape, classes)

def bad(input_shape, classes):
    in_worker = multiprocessing.parent_process() is not None
    while in_worker and not EVALUATES.exists():
        time.sleep(0.01)
    accident = (Path(__file__).parent / "accident").read_text()
    if accident == "interrupt":
        os.kill(os.getppid(), signal.SIGINT)
    if accident == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if accident == "exit":
        os._exit(3)
    if accident == "failure":
        raise RuntimeError("boom")
    return LeNet300((12, 8), input_shape, classes)
"""


@pytest.fixture
def make_job(small_npz: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Job]:
    """Makes a short run of one of the networks above on the small data."""
    (tmp_path / "accidental_networks.py").write_text(NETWORKS)
    monkeypatch.syspath_prepend(tmp_path)

    def make(network: str, **settings: Any) -> Job:
        plain: dict[str, Any] = {"data": small_npz, "epochs": 2, "batch_size": 50}
        return Job(RunSettings("dense", network=f"accidental_networks:{network}", **plain | settings))

    return make


@pytest.mark.parametrize(
    ("accident", "error", "message"),
    [
        ("interrupt", KeyboardInterrupt, "^$"),
        pytest.param(
            "kill",
            BayespruneError,
            "a worker process was killed .out of memory.. while it made dense seed 7",
            marks=pytest.mark.long,
        ),
        pytest.param("exit", BayespruneError, "ended with status 3 while it made dense seed 7", marks=pytest.mark.long),
        pytest.param("failure", NetworkError, "failed with RuntimeError: boom", marks=pytest.mark.long),
    ],
)
def test_an_accident_while_another_run_is_measured(
    accident: str, error: type[BaseException], message: str, make_job: Callable[..., Job], tmp_path: Path
) -> None:
    (tmp_path / "accident").write_text(accident)
    slow, bad = make_job("slow"), make_job("bad", seed=7, epochs=5000)
    with pytest.raises(error, match=message):
        run_jobs([slow, bad], tmp_path / "runs", workers=2)
    assert multiprocessing.active_children() == []
    folder = folder_of(slow, tmp_path / "runs")
    # Finished, or the accident came while the last epoch was being recorded.
    assert folder.finished or load_tree(folder.checkpoint_file)["counters"]["step"] == 10
    assert not folder_of(bad, tmp_path / "runs").finished


@pytest.mark.long
def test_sigterm_saves_every_run_of_a_pool(make_job: Callable[..., Job], tmp_path: Path) -> None:
    jobs = [make_job("slow", seed=seed, epochs=5000) for seed in (0, 1)]
    seen: set[int] = set()

    def report(number: int, now: Progress) -> None:
        if number not in seen:
            seen.add(number)
            if len(seen) == 2:
                signal.raise_signal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        run_jobs(jobs, tmp_path / "runs", workers=2, report=report)
    assert multiprocessing.active_children() == []
    files = [folder_of(job, tmp_path / "runs").checkpoint_file for job in jobs]
    assert all(load_tree(file)["counters"]["step"] > 0 for file in files)


def test_a_run_that_another_process_makes_comes_last_and_is_waited_for(
    make_job: Callable[..., Job], tmp_path: Path
) -> None:
    jobs = [make_job("slow", seed=seed, epochs=1) for seed in (0, 1, 2)]
    root, held, free, order = tmp_path / "runs", Event(), Event(), []

    def another_process() -> None:
        with locked(folder_of(jobs[0], root).path):
            held.set()
            assert free.wait(60)

    def report(number: int, now: Progress) -> None:
        if now.phase == WAITING:
            order.append(f"{number} waits")
            free.set()

    thread = Thread(target=another_process)
    thread.start()
    assert held.wait(60)
    folders = run_jobs(jobs, root, workers=1, report=report, finished=lambda number, folder: order.append(str(number)))
    thread.join()
    assert list(dict.fromkeys(order)) == ["1", "2", "0 waits", "0"]
    assert all((folder / "run.json").exists() for folder in folders)


def test_what_another_process_finished_meanwhile_is_not_made_again(
    make_job: Callable[..., Job], tmp_path: Path
) -> None:
    """The other process finishes the run while this one waits for it."""
    job, root, held, waits = make_job("slow"), tmp_path / "runs", Event(), Event()
    (made,) = run_jobs([job], tmp_path / "elsewhere", workers=1)
    folder, steps = folder_of(job, root).path, []

    def another_process() -> None:
        with locked(folder):
            held.set()
            assert waits.wait(60)
            for file in made.iterdir():
                (folder / file.name).write_bytes(file.read_bytes())

    def report(number: int, now: Progress) -> None:
        if now.phase == WAITING:
            waits.set()
        else:
            steps.append(now.step)

    thread = Thread(target=another_process)
    thread.start()
    assert held.wait(60)
    assert run_jobs([job], root, workers=1, report=report) == [folder]
    thread.join()
    assert steps == [] and waits.is_set()


def test_what_a_kill_left_half_written_goes_when_the_run_is_made(make_job: Callable[..., Job], tmp_path: Path) -> None:
    job, root = make_job("slow"), tmp_path / "runs"
    folder = folder_of(job, root).path
    folder.mkdir(parents=True)
    (folder / ".checkpoint.safetensors.0123abcd.tmp").write_bytes(b"half")
    (folder / ".new.0123abcd.tmp").mkdir()
    (folder / ".new.0123abcd.tmp" / "network.safetensors").write_bytes(b"half")
    run_jobs([job], root, workers=1)
    assert sorted(os.listdir(folder)) == ["history.jsonl", "network.safetensors", "run.json"]


class Own(Exception):
    """An error of a user's, with arguments of its own."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (MemoryError("none left"), MemoryError, "^none left\n"),
        (RuntimeError("boom"), RuntimeError, "^boom\n"),
        (Own(1, 2), RuntimeError, "^Own: 1 and 2\n"),
        (SystemExit(4), RuntimeError, "^SystemExit: 4\n"),
        (UnicodeDecodeError("utf-8", b"", 0, 1, "why"), RuntimeError, "^UnicodeDecodeError: .* why\n"),
    ],
)
def test_errors_that_are_not_ours_are_sent_too(error: BaseException, kind: type[Exception], message: str) -> None:
    here, there = multiprocessing.Pipe()
    with here, there:
        there.send(Failure.of(error))
        failure = here.recv()
    with pytest.raises(kind, match=message) as caught:
        failure.raise_again()
    assert type(caught.value) is kind and type(error).__name__ in caught.value.__notes__[0]


def test_a_worker_that_was_asked_to_stop_is_an_interruption() -> None:
    for status in (130, -signal.SIGTERM):
        with pytest.raises(KeyboardInterrupt):
            Ended(status).raise_for("dense seed 0")


SCRIPT = """
import bayesprune as bp
print("imported")
plain = {{"data": {data!r}, "seeds": 1, "epochs": 1, "batch_size": 50, "widths": (6, 5), "out": "runs", "workers": 2}}
records = bp.compare(methods=["dense", "parsimonious"], **plain)
print(*[record.result["method"] for record in records])
"""


@pytest.mark.long
def test_a_script_needs_no_main_guard(small_npz: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT.format(data=small_npz))
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "imported\ndense parsimonious\n", "")


OWN_NETWORK = """
import bayesprune as bp
from bayesprune.models import LeNet300

def make(input_shape, classes):
    return LeNet300((6, 5), input_shape, classes)

{guard}
    plain = {{"data": {data!r}, "seeds": 1, "epochs": 1, "batch_size": 50, "out": "runs", "workers": 2}}
    try:
        print(len(bp.compare("__main__:make", methods=["dense", "parsimonious"], **plain)))
    except bp.BayespruneError as error:
        print(error)
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("guard", "words"),
    [('if __name__ == "__main__":', "2\n"), ("if True:", "put what makes runs under `if __name__ ==")],
)
def test_a_network_of_the_script_itself_needs_one(guard: str, words: str, small_npz: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(OWN_NETWORK.format(data=small_npz, guard=guard))
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and words in done.stdout and done.stdout.count("\n") == 1 and done.stderr == ""


COUNTED = """
from pathlib import Path
from bayesprune.models import LeNet300

class Counted(LeNet300):
    begun = False

    def forward(self, inputs):
        if self.training and len(inputs) >= 40 and not self.begun:
            self.begun = True
            with open("begun", "a") as file:
                file.write("one more run\\n")
        return super().forward(inputs)

def make(input_shape, classes):
    return Counted((12, 8), input_shape, classes)
"""


@pytest.mark.long
def test_two_processes_make_the_runs_of_one_study_once(small_npz: str, tmp_path: Path) -> None:
    (tmp_path / "counted_network.py").write_text(COUNTED)
    (tmp_path / "study.toml").write_text(
        f'data = "{small_npz}"\nnetwork = "counted_network:make"\nepochs = 40\nbatch_size = 50\nseeds = 4\n'
        'methods = ["dense"]\n'
    )
    command = [sys.executable, "-m", "bayesprune", "study", "study.toml", "--json", "--workers"]
    processes = [
        subprocess.Popen([*command, workers], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for workers in ("1", "2")
    ]
    outcomes = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outcomes
    assert (tmp_path / "begun").read_text().count("\n") == 4 == len(list((tmp_path / "runs").glob("*/run.json")))
    assert not list(tmp_path.rglob("*.lock")) and not list(tmp_path.rglob("*.tmp"))

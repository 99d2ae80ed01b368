"""Ctrl-C and kills of whole processes: everything finished is kept, nobody is left behind, the same command goes on."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any, TypeAlias

import pytest

from bayesprune.store.tree import load_tree

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc"),
]

FLAGS = ("compare", "--epochs", "12", "--seeds", "2", "--workers", "2", "--json")
PATIENCE = 480.0


Process: TypeAlias = subprocess.Popen[str]
Start = Callable[..., Process]


@pytest.fixture(scope="module")
def start(repository: Path) -> Iterator[Start]:
    """Starts a comparison in a process group of its own; what is left of it at the end is killed."""
    started: list[Process] = []

    def begin(out: Path, *flags: str) -> Process:
        command = [sys.executable, "-m", "bayesprune", *FLAGS, "--out", str(out), *flags]
        process = subprocess.Popen(
            command, cwd=repository, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def wait_for(condition: Callable[[], bool], process: Process | None = None) -> None:
    """Wait until something is so, but not longer than a process lives."""
    end = monotonic() + PATIENCE
    while not condition():
        assert process is None or process.poll() is None, "the process ended before"
        assert monotonic() < end, "it did not come to pass"
        sleep(0.02)


def members(group: int) -> list[int]:
    """The processes of a group that have not ended."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                state, _, in_group = (folder / "stat").read_text().rsplit(")", 1)[1].split()[:3]
            except OSError:
                continue
            if int(in_group) == group and state != "Z":
                found.append(int(folder.name))
    return found


def finished(out: Path) -> set[str]:
    """The runs that are finished."""
    return {file.parent.name for file in out.glob("*/run.json")}


def under_way(out: Path) -> list[Path]:
    """The checkpoints of runs that are not finished."""
    return sorted(file for file in out.glob("*/checkpoint.safetensors") if file.parent.name not in finished(out))


def results(text: str) -> list[dict[str, Any]]:
    """The runs of a JSON object without what is measured by the clock."""
    runs: list[dict[str, Any]] = json.loads(text)["runs"]
    return [{key: value for key, value in run.items() if key not in ("latency_ms", "train_seconds")} for run in runs]


@pytest.fixture(scope="module")
def undisturbed(start: Start, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the comparison comes to when nobody disturbs it."""
    process = start(tmp_path_factory.mktemp("undisturbed"))
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    return results(out)


def interrupt_group(process: Process) -> None:
    """Ctrl-C at a terminal: every process of the group gets it."""
    os.killpg(process.pid, signal.SIGINT)


def interrupt_main(process: Process) -> None:
    """A signal to the main process alone."""
    os.kill(process.pid, signal.SIGINT)


@pytest.mark.parametrize(("interrupt", "done"), [(interrupt_group, 0), (interrupt_main, 0), (interrupt_group, 3)])
def test_ctrl_c(
    interrupt: Callable[..., None], done: int, start: Start, tmp_path: Path, undisturbed: list[dict[str, Any]]
) -> None:
    process = start(tmp_path)
    wait_for(lambda: len(finished(tmp_path)) >= done and bool(under_way(tmp_path)), process)
    sleep(0.3)
    interrupt(process)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert not out
    assert err.splitlines()[-1].startswith("bayesprune: interrupted; finished runs are kept")
    assert "Traceback" not in err
    wait_for(lambda: not members(process.pid))
    kept = {name: (tmp_path / name / "run.json").read_bytes() for name in finished(tmp_path)}
    assert len(kept) >= done
    states = under_way(tmp_path)
    assert states or done  # a run of a method without gates may have ended before the signal came
    assert all(load_tree(file)["counters"]["step"] > 0 for file in states)
    assert not list(tmp_path.rglob("*.tmp"))

    resumed = start(tmp_path)
    out, err = resumed.communicate(timeout=PATIENCE)
    assert resumed.returncode == 0, err
    assert results(out) == undisturbed
    assert all((tmp_path / name / "run.json").read_bytes() == content for name, content in kept.items())
    if kept:
        assert f"reused {len(kept)} finished run" in err


def test_a_second_ctrl_c_ends_at_once(start: Start, tmp_path: Path) -> None:
    process = start(tmp_path)
    wait_for(lambda: bool(under_way(tmp_path)), process)
    for _ in range(2):
        interrupt_group(process)
        sleep(0.05)
    process.communicate(timeout=30)
    assert process.returncode == 130
    wait_for(lambda: not members(process.pid))


def test_a_worker_that_was_killed_is_one_line(start: Start, tmp_path: Path) -> None:
    process = start(tmp_path)
    wait_for(lambda: len(finished(tmp_path)) >= 1, process)
    workers = [pid for pid in members(process.pid) if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]
    assert workers
    os.kill(workers[0], signal.SIGKILL)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert "a worker process was killed (out of memory?)" in err.splitlines()[-1]
    assert "Traceback" not in err
    wait_for(lambda: not members(process.pid))

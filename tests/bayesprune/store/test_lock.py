"""The lock of a folder: one holder at a time, and none that outlives its process."""

import subprocess
import sys
from pathlib import Path
from threading import Event, Thread

import pytest

from bayesprune.errors import StoreError
from bayesprune.store.lock import locked

HOLDER = """
import sys, time
from pathlib import Path
from bayesprune.store.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


class GaveUp(Exception):
    """Raised by one who will not wait."""


def give_up() -> None:
    raise GaveUp


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        with pytest.raises(GaveUp), locked(folder, give_up):
            raise AssertionError("two processes hold the lock")
        waited: list[None] = []

        def kill() -> None:
            waited.append(None)
            process.kill()

        with locked(folder, kill):
            assert waited
    finally:
        process.kill()
        process.communicate()
    assert list(folder.iterdir()) == []


def test_threads_take_turns(tmp_path: Path) -> None:
    held, waits, done = Event(), Event(), []

    def hold() -> None:
        with locked(tmp_path / "run"):
            held.set()
            assert waits.wait(60)
            done.append("first")

    def wait() -> None:
        assert held.wait(60)
        with locked(tmp_path / "run", waits.set):
            done.append("second")

    threads = [Thread(target=target) for target in (hold, wait)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == ["first", "second"]


def test_the_same_thread_may_take_it_twice_and_files_stay(tmp_path: Path) -> None:
    with locked(tmp_path / "a" / "run"):
        with locked(tmp_path / "a" / "run", give_up):
            (tmp_path / "a" / "run" / "mine").touch()
        with locked(tmp_path / "b", give_up):  # another folder is another lock
            pass
        assert (tmp_path / "a" / "run" / ".lock").exists()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "mine", "run"]


def test_a_failure_frees_it(tmp_path: Path) -> None:
    with pytest.raises(GaveUp), locked(tmp_path / "run"):
        raise GaveUp
    with locked(tmp_path / "run", give_up):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_locked_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    message = r"cannot write .*file/run/\.lock: .*; a part of this path is a file"
    with pytest.raises(StoreError, match=message), locked(tmp_path / "file" / "run"):
        pass
    (tmp_path / "run" / ".lock").mkdir(parents=True)
    with pytest.raises(StoreError, match=r"run/\.lock"), locked(tmp_path / "run"):
        pass

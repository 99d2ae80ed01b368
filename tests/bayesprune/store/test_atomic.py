"""Atomic files: all or nothing, and errors that name the path and the cure.

The superuser ignores permission bits, so failures of the disk are put in the place of the system's calls.
"""

import errno
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

import bayesprune
from bayesprune.errors import StoreError
from bayesprune.store.atomic import (
    check_writable,
    read_bytes,
    read_json,
    write_bytes,
    write_json,
    write_text,
)


def fail_with(code: int) -> object:
    def failing(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return failing


def test_what_is_written_is_read_back_and_replaces_the_old(tmp_path: Path) -> None:
    file = tmp_path / "new" / "folder" / "a.bin"
    write_bytes(file, b"old content, longer")
    write_bytes(str(file), b"new")
    assert read_bytes(file) == b"new"
    assert os.listdir(file.parent) == ["a.bin"]


def test_text_is_utf8_and_json_is_plain(tmp_path: Path) -> None:
    write_text(tmp_path / "t", "größe")
    assert (tmp_path / "t").read_bytes() == "größe".encode()
    write_json(tmp_path / "j", {"a": (1, float("nan")), "ö": "x"})
    assert read_json(tmp_path / "j") == {"a": [1, None], "ö": "x"}
    assert b"NaN" not in read_bytes(tmp_path / "j")


def test_the_mode_follows_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "a", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_a_long_but_legal_name_can_be_written(tmp_path: Path) -> None:
    write_bytes(tmp_path / ("n" * 255), b"x")
    assert os.listdir(tmp_path) == ["n" * 255]


@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
@pytest.mark.parametrize(
    ("code", "cure"),
    [
        (errno.EACCES, "permissions"),
        (errno.EROFS, "not read-only"),
        (errno.ENOSPC, "free some space"),
        (errno.EIO, "check the path and the disk"),
    ],
)
def test_a_failing_disk_names_path_and_cure_and_leaves_the_old_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int, cure: str
) -> None:
    file = tmp_path / "run.json"
    write_bytes(file, b"old")
    monkeypatch.setattr(os, call, fail_with(code))
    with pytest.raises(StoreError, match=f"cannot write .*run.json: .*; .*{cure}"):
        write_bytes(file, b"new")
    monkeypatch.undo()
    assert read_bytes(file) == b"old"
    assert os.listdir(tmp_path) == ["run.json"]


def test_a_disk_that_fills_up_while_writing_leaves_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    opened = os.open

    def open_then_fill(path: str, flags: int, mode: int = 0o777) -> int:
        os.close(opened(path, flags, mode))
        return opened("/dev/full", os.O_WRONLY)

    monkeypatch.setattr(os, "open", open_then_fill)
    with pytest.raises(StoreError, match="free some space"):
        write_bytes(tmp_path / "a", b"x" * 100_000)
    assert os.listdir(tmp_path) == []


def test_an_interrupt_while_writing_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(tmp_path / "a", b"x")
    assert os.listdir(tmp_path) == []


def test_a_kill_at_any_moment_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    file = tmp_path / "state"
    code = (
        "import itertools, sys; from bayesprune.store.atomic import write_bytes\n"
        "for turn in itertools.count(): write_bytes(sys.argv[1], bytes([turn % 256]) * 1_000_000)"
    )
    for moment in (0.0, 0.001, 0.002, 0.005, 0.01):
        file.unlink(missing_ok=True)
        process = subprocess.Popen([sys.executable, "-c", code, str(file)], cwd=Path(bayesprune.__file__).parents[1])
        try:
            while not file.exists():
                assert process.poll() is None
                time.sleep(0.001)
            time.sleep(moment)
        finally:
            process.kill()
            process.wait()
        data = file.read_bytes()
        assert data == data[:1] * 1_000_000


def test_a_file_or_folder_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="a part of this path is a file"):
        write_bytes(tmp_path / "file" / "run.json", b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match="a folder has this name"):
        write_bytes(tmp_path / "folder", b"")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_values_and_paths_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="key 'a' is a set, which JSON cannot hold; convert it first"):
        write_json(tmp_path / "a", {"a": {1}})
    with pytest.raises(StoreError, match="no UTF-8 form"):
        write_text(tmp_path / "a", "\ud800")
    with pytest.raises(StoreError, match="null"):
        write_bytes(tmp_path / "a\0b", b"")
    looped: list[object] = []
    looped.append(looped)
    with pytest.raises(StoreError):
        write_json(tmp_path / "a", looped)
    assert os.listdir(tmp_path) == []


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot read .*gone: .*check the path"):
        read_bytes(tmp_path / "gone")
    with pytest.raises(StoreError, match="it is a folder"):
        read_bytes(tmp_path)
    (tmp_path / "half.json").write_text('{"a": 1')
    with pytest.raises(StoreError, match="half.json is damaged: it is not JSON"):
        read_json(tmp_path / "half.json")


def test_trying_a_folder_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_writable(tmp_path / "not" / "there" / "yet")
    check_writable(tmp_path)
    assert os.listdir(tmp_path) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="a part of this path is a file"):
        check_writable(tmp_path / "file" / "runs")
    monkeypatch.setattr(os, "open", fail_with(errno.EROFS))
    with pytest.raises(StoreError, match=r"runs: .*; choose a folder on a disk that is not read-only"):
        check_writable(tmp_path / "runs")
    assert os.listdir(tmp_path) == ["file"]

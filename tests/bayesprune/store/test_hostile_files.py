"""Files that are no files, too large, or of another run: refused by name, at once, and without filling memory."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bayesprune.errors import StoreError
from bayesprune.store import runs
from bayesprune.store.atomic import read_bytes, read_json
from bayesprune.store.runs import RunFolder, RunRecord
from bayesprune.store.tensors import load_tensors, save_tensors
from bayesprune.store.tree import load_tree

Tensors = dict[str, Tensor]
FILES = ("run.json", "history.jsonl", "network.safetensors", "posterior.safetensors")


@pytest.fixture
def finished(
    tmp_path: Path, record: RunRecord, network: Tensors, posterior: Tensors, entry: dict[str, Any]
) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.write_record(replace(record, history=[entry]), network, posterior)
    return folder


def read_all(folder: RunFolder) -> None:
    """Read every file of a finished run."""
    _ = folder.read_record().posterior
    folder.load_network()


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def folder_instead(path: Path) -> None:
    path.mkdir()


def huge(path: Path) -> None:
    path.touch()
    os.truncate(path, 2**40)


REFUSALS = {
    pipe: "no ordinary file",
    device: "no ordinary file",
    folder_instead: "it is a folder",
    huge: "larger than any file",
}
IN_PLACE = [(name, put, message) for name in FILES for put, message in REFUSALS.items()]
LOOPS = [("run.json", loop, "holds no run"), ("network.safetensors", loop, "leads back to itself")]


@pytest.mark.parametrize(("name", "put", "message"), IN_PLACE + LOOPS)
def test_what_is_no_file_of_ours_is_refused_at_once(
    finished: RunFolder, name: str, put: Callable[[Path], None], message: str
) -> None:
    (finished.path / name).unlink()
    put(finished.path / name)
    with pytest.raises(StoreError, match=message) as caught:
        read_all(finished)
    assert name in str(caught.value) and "\n" not in str(caught.value)
    assert name != "run.json" or not finished.finished


@pytest.mark.parametrize("put", [pipe, device, huge])
def test_checkpoints_too(tmp_path: Path, put: Callable[[Path], None]) -> None:
    put(tmp_path / "state")
    with pytest.raises(StoreError, match="cannot read .*state"):
        load_tree(tmp_path / "state")


def test_a_limit_is_exact(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_bytes(tmp_path / "file", 5) == b"12345"
    with pytest.raises(StoreError, match="larger than any file"):
        read_bytes(tmp_path / "file", 4)


def test_the_header_of_a_large_file_is_read_first(tmp_path: Path, network: Tensors) -> None:
    """8 GiB of nothing behind whole tensors, or instead of them: refused before they are read."""
    file = tmp_path / "network.safetensors"
    save_tensors(file, network)
    size = file.stat().st_size
    os.truncate(file, 2**33)
    with pytest.raises(StoreError, match=f"it has 8,589,934,592 of {size} bytes"):
        load_tensors(file)
    os.truncate(file, 0)
    os.truncate(file, 2**33)
    with pytest.raises(StoreError, match="not a whole safetensors file"):
        load_tensors(file)
    file.write_bytes((2**62).to_bytes(8, "little") + b"{}")
    with pytest.raises(StoreError, match="its header has 4,611,686,018,427,387,904 of 10 bytes"):
        load_tensors(file)


@pytest.mark.parametrize("number", ["1" + "0" * 400, "-" + "9" * 30, "9223372036854775808", "9" * 5000])
def test_whole_numbers_that_no_count_comes_to_are_refused(finished: RunFolder, number: str) -> None:
    text = finished.run_file.read_text()
    finished.run_file.write_text(text.replace('"nll": 0.2', f'"nll": {number}'))
    with pytest.raises(StoreError, match=r"run\.json is damaged: .*digits is too large"):
        finished.read_record()
    assert not finished.finished


def test_the_largest_whole_number_is_read(tmp_path: Path) -> None:
    for number in (2**63 - 1, 1 - 2**63, 0):
        (tmp_path / "n.json").write_text(json.dumps([number]))
        assert read_json(tmp_path / "n.json") == [number]


def other_run(record: RunRecord) -> RunRecord:
    return replace(record, settings=record.settings | {"seed": 1}, result=record.result | {"seed": 1})


def test_tensors_of_another_run_are_refused(
    finished: RunFolder, record: RunRecord, network: Tensors, posterior: Tensors, tmp_path: Path
) -> None:
    other = RunFolder(tmp_path / "other")
    weights = {name: value + 1 for name, value in network.items()}
    gates = posterior | {"decided": 1 - posterior["decided"]}
    other.write_record(other_run(record), weights, gates)
    for name, read in (("network", other.load_network), ("posterior", lambda: other.read_record().posterior)):
        read()
        shutil.copy(finished.path / f"{name}.safetensors", other.path)
        with pytest.raises(StoreError, match=rf"{name}\.safetensors .* is not the file that run\.json was written"):
            read()


def test_a_run_without_checksums_still_loads(finished: RunFolder, network: Tensors) -> None:
    document = json.loads(finished.run_file.read_text())
    del document["checksums"]
    finished.run_file.write_text(json.dumps(document))
    assert finished.read_record().posterior is not None
    assert all(torch.equal(value, network[name]) for name, value in finished.load_network().items())


class Killed(BaseException):
    """Stands for a kill: nothing tidies up after it."""


@pytest.mark.parametrize("replaced", range(7))
def test_dying_while_an_older_run_is_written_over_never_mixes_the_two(
    finished: RunFolder,
    record: RunRecord,
    network: Tensors,
    entry: dict[str, Any],
    replaced: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Three files are written beside the old ones, and then take their places."""
    count, replace_file = [0], os.replace

    def dies(source: Path, target: Path) -> None:
        count[0] += 1
        if count[0] > replaced:
            raise Killed
        replace_file(source, target)

    weights = {name: value + 1 for name, value in network.items()}
    monkeypatch.setattr(os, "replace", dies)
    try:
        finished.write_record(replace(other_run(record), history=[entry | {"loss": 0.5}]), weights)
    except Killed:
        assert replaced < 6
    monkeypatch.undo()
    if replaced in (4, 5):
        with pytest.raises(StoreError, match="not the file that run.json was written with"):
            read_all(finished)
    else:
        assert finished.read_record().result["seed"] == (0 if replaced < 4 else 1)
        expected = network if replaced < 4 else weights
        assert all(torch.equal(value, expected[name]) for name, value in finished.load_network().items())


def test_a_posterior_that_a_kill_left_of_an_older_run_is_not_taken_for_this_runs(
    finished: RunFolder, record: RunRecord, network: Tensors, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*files: Path) -> None:
        raise Killed

    monkeypatch.setattr(runs, "_remove", dies)
    with pytest.raises(Killed):
        finished.write_record(other_run(record), network)
    assert finished.posterior_file.exists() and finished.read_record().posterior is None


def test_a_disk_that_is_full_leaves_the_older_run_whole(
    finished: RunFolder, record: RunRecord, network: Tensors, posterior: Tensors, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {name: (finished.path / name).read_bytes() for name in FILES}
    weights = {name: value + 1 for name, value in network.items()}
    write = os.fsync
    for most in range(5):  # a file and its folder are forced to the disk in turn
        count = [0]

        def full(descriptor: int, most: int = most, count: list[int] = count) -> None:
            count[0] += 1
            if count[0] > most:
                raise OSError(28, "No space left on device")
            write(descriptor)

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match="No space left on device"):
            finished.write_record(other_run(record), weights, posterior)
        assert {path.name: path.read_bytes() for path in finished.path.iterdir()} == before

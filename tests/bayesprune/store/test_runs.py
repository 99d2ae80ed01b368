"""Run folders: what is written is read, what is unfinished or damaged is said by file and key."""

import errno
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import bayesprune
from bayesprune.errors import StoreError
from bayesprune.store.identity import run_id
from bayesprune.store.runs import RunFolder, RunRecord
from bayesprune.store.tree import load_tree, save_tree

Tensors = dict[str, Tensor]
Entry = dict[str, Any]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "runs" / "abc")


@pytest.fixture
def finished(folder: RunFolder, record: RunRecord, network: Tensors, posterior: Tensors, entry: Entry) -> RunFolder:
    folder.write_record(replace(record, history=[entry]), network, posterior)
    return folder


def test_a_finished_run_comes_back_whole(
    finished: RunFolder, record: RunRecord, network: Tensors, posterior: Tensors, entry: Entry
) -> None:
    again = RunRecord.read(finished.path)
    assert again == replace(record, history=[entry], folder=finished.path)
    assert again == RunRecord.read(finished.run_file)
    assert again.id == run_id(record.settings)
    assert again.gates == 6
    loaded = again.posterior
    assert loaded is not None
    assert sorted(loaded) == sorted(posterior)
    assert all(torch.equal(loaded[name], posterior[name]) for name in posterior)
    state = finished.load_network()
    assert all(torch.equal(state[name], network[name]) for name in network)


def test_run_json_has_the_keys_that_others_read(finished: RunFolder) -> None:
    document = json.loads(finished.run_file.read_text())
    assert list(document) == [
        "schema", "id", "settings", "result", "groups", "layers", "input_shape", "classes", "task", "data",
        "versions", "whole", "checksums",
    ]  # fmt: skip
    assert (document["schema"], document["input_shape"]) == (2, [1, 2, 2])
    assert document["versions"]["bayesprune"] == bayesprune.__version__
    # A CUDA wheel's own version has a "+cu" that the package's metadata lack.
    assert document["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]


def test_the_posterior_is_read_at_the_first_use_only(finished: RunFolder, posterior: Tensors) -> None:
    finished.posterior_file.write_bytes(b"damaged")
    record = finished.read_record()
    with pytest.raises(StoreError, match=r"posterior\.safetensors is damaged"):
        _ = record.posterior
    finished.posterior_file.unlink()
    assert finished.read_record().posterior is None
    assert replace(record, folder=None).posterior is None


def test_a_method_without_posterior_leaves_none_behind(
    finished: RunFolder, record: RunRecord, network: Tensors
) -> None:
    record.write(finished.path, network)
    assert not finished.posterior_file.exists()
    assert finished.read_record().posterior is None


def test_a_history_in_the_record_is_written(
    folder: RunFolder, record: RunRecord, network: Tensors, entry: Entry
) -> None:
    folder.write_record(replace(record, history=[entry, entry | {"epoch": 2, "loss": math.nan}]), network)
    assert folder.read_history() == [entry, entry | {"epoch": 2, "loss": None}]


def test_numbers_that_are_not_finite_are_null_on_disk(folder: RunFolder, record: RunRecord, network: Tensors) -> None:
    metrics = record.result["metrics"] | {"nll": record.result["metrics"]["nll"] | {"value": math.inf}}
    folder.write_record(replace(record, result=record.result | {"nll": math.inf, "metrics": metrics}), network)
    result = folder.read_record().result
    assert result["nll"] is None and result["metrics"]["nll"]["value"] is None


def test_run_json_is_written_last_and_means_finished(
    folder: RunFolder,
    record: RunRecord,
    network: Tensors,
    posterior: Tensors,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save_tree(folder.checkpoint_file, {"step": 55})
    replaced = os.replace

    def full_disk(source: Path, target: Path) -> None:
        if target.name == "run.json":
            raise OSError(errno.ENOSPC, "No space left on device")
        replaced(source, target)

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(StoreError, match=r"run\.json: No space left"):
        folder.write_record(record, network, posterior)
    assert not folder.finished
    assert os.listdir(folder.path) == ["checkpoint.safetensors"]
    assert load_tree(folder.checkpoint_file) == {"step": 55}
    with pytest.raises(StoreError, match="is not finished: the same command goes on with it"):
        folder.read_record()
    monkeypatch.undo()
    folder.write_record(record, network, posterior)
    assert folder.finished
    assert sorted(os.listdir(folder.path)) == ["network.safetensors", "posterior.safetensors", "run.json"]


def test_a_path_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"holds no run: run\.json is not there; check the path"):
        RunRecord.read(tmp_path / "typo")
    assert not RunFolder(tmp_path / "typo").finished
    assert RunFolder(tmp_path / "typo").read_history() == []
    assert list(tmp_path.iterdir()) == []


def change(path: str, value: object) -> Callable[[dict[str, Any]], None]:
    def apply(document: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        place: Any = document
        for name in parents:
            place = place[int(name) if name.isdigit() else name]
        place[last] = value

    return apply


def without_checksums(folder: RunFolder) -> None:
    """As a run looks that was written before there were any."""
    document = json.loads(folder.run_file.read_text())
    del document["checksums"]
    folder.run_file.write_text(json.dumps(document))


def drop(name: str) -> Callable[[dict[str, Any]], None]:
    def apply(document: dict[str, Any]) -> None:
        *parents, last = name.split(".")
        for parent in parents:
            document = document[parent]
        del document[last]

    return apply


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (drop("settings"), "key 'settings' is missing"),
        (drop("result.macs"), "key 'result.macs' is missing"),
        (drop("versions.bayesprune"), "key 'versions.bayesprune' is missing"),
        (change("schema", 3), "key 'schema' must be 2 or 1"),
        (change("schema", True), "key 'schema' must be 2 or 1"),
        (change("settings.seed", 1), "key 'id' is .* but its settings and version make"),
        (change("versions.bayesprune", "0.0.1"), "key 'id' is"),
        (change("id", "0" * 12), "key 'id' is '000000000000'"),
        (change("result.accuracy", 1.5), "key 'result.accuracy' must be a number from 0 to 1 or null, not 1.5"),
        (drop("result.accuracy"), "key 'result.accuracy' must be there, as it is among the metrics"),
        (drop("result.metrics"), "key 'metrics' must be there"),
        (change("task", {}), "key 'task' must be there"),
        (change("result.metrics.nll.value", "low"), "key 'result.metrics.nll.value' must be a number"),
        (change("result.accuracy", None), "key 'result.accuracy'"),
        (change("result.accuracy", 0.125), "key 'result.accuracy' must be .*, as among the metrics"),
        (change("result.accuracy", True), "key 'result.accuracy'"),
        (change("result.brier", 2.5), "key 'result.brier' must be a number from 0 to 2"),
        (change("result.params", 1.0), "key 'result.params' must be a whole number of at least 0"),
        (change("result.macs", -1), "key 'result.macs'"),
        (change("result.method", ""), "key 'result.method' must be text"),
        (change("result.architecture", {"fc1": "2"}), "key 'result.architecture.fc1' must be a whole number"),
        (change("result", []), "key 'result' must be an object"),
        (change("groups.0.kept", [3, 0]), r"key 'groups\[0\]\.kept' must be rising indices below 4"),
        (change("groups.0.kept", [0, 4]), r"key 'groups\[0\]\.kept'"),
        (change("groups.1.kept", [1, 1]), r"key 'groups\[1\]\.kept'"),
        (change("groups.1.size", 0), r"key 'groups\[1\]\.size' must be a whole number of at least 1"),
        (change("groups", {}), "key 'groups' must be a list"),
        (change("layers.0.dense_macs", "8"), r"key 'layers\[0\]\.dense_macs'"),
        (change("input_shape", []), "key 'input_shape' must be a list of at least 1"),
        (change("classes", 0), "key 'classes'"),
        (change("data.split_sizes.test", None), "key 'data.split_sizes.test'"),
        (change("versions.torch", 2), "key 'versions.torch' must be text"),
    ],
)
def test_a_damaged_or_tampered_run_json_is_refused_by_file_and_key(
    finished: RunFolder, tamper: Callable[[dict[str, Any]], None], message: str
) -> None:
    document = json.loads(finished.run_file.read_text())
    tamper(document)
    finished.run_file.write_text(json.dumps(document))
    with pytest.raises(StoreError, match=r"run\.json: " + message):
        finished.read_record()
    assert not finished.finished


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"schema": NaN}', "[" * 900 + "]" * 900])
def test_a_run_json_that_is_no_document_is_refused(finished: RunFolder, text: str) -> None:
    finished.run_file.write_text(text)
    with pytest.raises(StoreError, match=r"run\.json"):
        finished.read_record()
    assert not finished.finished


def test_settings_nested_beyond_reading_are_refused(finished: RunFolder) -> None:
    document = json.loads(finished.run_file.read_text())
    text = json.dumps(document).replace('"lenet300"', "[" * 800 + "]" * 800)
    finished.run_file.write_text(text)
    with pytest.raises(StoreError, match=r"run\.json"):
        finished.read_record()


@given(place=st.integers(0, 10_000), old=st.integers(0, 4), new=st.binary(max_size=4))
def test_a_mutated_run_json_is_read_or_refused_with_a_store_error(
    finished: RunFolder, place: int, old: int, new: bytes
) -> None:
    original = finished.path / "original"
    if not original.exists():
        original.write_bytes(finished.run_file.read_bytes())
    data = bytearray(original.read_bytes())
    place %= len(data)
    data[place : place + old] = new
    finished.run_file.write_bytes(bytes(data))
    if finished.finished and _history_checksum(finished.run_file) in (None, _history_checksum(original)):
        assert 0.0 <= finished.read_record().result["accuracy"] <= 1.0
    else:
        with pytest.raises(StoreError):
            finished.read_record()


def _history_checksum(run_file: Path) -> object:
    """Of the history that run.json was written with; None where it does not say."""
    return json.loads(run_file.read_bytes()).get("checksums", {}).get("history.jsonl")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("result", {"method": "dense"}, "key 'result.seed' is missing"),
        ("classes", 0, "key 'classes'"),
        ("versions", {}, "key 'versions.bayesprune' is missing"),
        ("settings", {"net": torch.zeros(1)}, "key 'settings.net' is a Tensor, which JSON cannot hold"),
        ("settings", {"price": math.nan}, "key 'settings.price' is nan"),
        ("data", {"name": {1}}, "key 'data.name' is a set"),
    ],
)
def test_a_wrong_record_is_refused_before_anything_is_written(
    folder: RunFolder, record: RunRecord, network: Tensors, field: str, value: Any, message: str
) -> None:
    with pytest.raises(StoreError, match=message):
        folder.write_record(replace(record, **{field: value}), network)
    assert not folder.path.exists()


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("decided", torch.zeros(6)),
        ("decided", torch.full((6,), 2, dtype=torch.uint8)),
        ("inclusion_probability", torch.zeros(5)),
        ("inclusion_probability", torch.full((6,), math.nan)),
        ("trace", torch.full((2, 6), -0.1)),
        ("trace", torch.zeros(3, 6)),
        ("steps", torch.zeros(2)),
    ],
)
def test_a_posterior_that_does_not_fit_is_refused_when_written_and_when_read(
    finished: RunFolder, record: RunRecord, network: Tensors, posterior: Tensors, name: str, tensor: Tensor
) -> None:
    from bayesprune.store.tensors import save_tensors

    wrong = posterior | {name: tensor}
    with pytest.raises(StoreError, match="posterior.safetensors: tensor"):
        finished.write_record(record, network, wrong)
    save_tensors(finished.posterior_file, wrong)
    with pytest.raises(StoreError, match=r"posterior.safetensors is .* not the file that run\.json was written with"):
        _ = finished.read_record().posterior
    without_checksums(finished)
    with pytest.raises(StoreError, match="posterior.safetensors: tensor"):
        _ = finished.read_record().posterior
    del wrong[name]
    with pytest.raises(StoreError, match="not missing"):
        finished.write_record(record, network, wrong)


def test_a_line_cut_short_was_never_written(finished: RunFolder, entry: Entry) -> None:
    whole = finished.history_file.read_bytes()
    for length in range(1, len(whole)):
        finished.history_file.write_bytes(whole + whole[:length])
        assert finished.read_history() == [entry]
    finished.history_file.write_bytes(whole[:20])
    assert finished.read_history() == []


@pytest.mark.parametrize("damage", [b"{}\n", b"not JSON\n", b"\n", b"[]\n", b'{"epoch": NaN}\n'])
def test_a_damaged_line_that_is_not_the_last_is_named(finished: RunFolder, damage: bytes) -> None:
    line = finished.history_file.read_bytes()
    finished.history_file.write_bytes(line + damage + line)
    with pytest.raises(StoreError, match=r"history\.jsonl line 2"):
        finished.read_history()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epoch": 0}, "key 'epoch' must be a whole number of at least 1"),
        ({"alive": {"fc1": -1}}, "key 'alive.fc1'"),
        ({"macs": math.nan}, "key 'macs' must be a number of at least 0"),
        ({"loss": torch.tensor(1.0)}, "key 'loss' is a Tensor"),
        ({"validation_accuracy": 87.5}, "key 'validation_accuracy' must be a number from 0 to 1 or null"),
    ],
)
def test_a_wrong_entry_is_refused_and_not_written(
    folder: RunFolder, record: RunRecord, network: Tensors, entry: Entry, change: Entry, message: str
) -> None:
    with pytest.raises(StoreError, match=r"history\.jsonl: .*" + message):
        folder.write_record(replace(record, history=[entry | change]), network)
    assert not folder.path.exists()


def test_a_run_that_cannot_be_written_is_named(tmp_path: Path, record: RunRecord, network: Tensors) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot write .*; a part of this path is a file"):
        RunFolder(tmp_path / "file").write_record(record, network)


def test_looking_at_runs_does_not_load_torch(finished: RunFolder) -> None:
    code = (
        "import sys; from pathlib import Path; from bayesprune.store.runs import RunFolder\n"
        "assert RunFolder(Path(sys.argv[1])).read_record().classes == 10\n"
        "assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    root = Path(bayesprune.__file__).parents[1]
    subprocess.run([sys.executable, "-c", code, str(finished.path)], check=True, cwd=root)

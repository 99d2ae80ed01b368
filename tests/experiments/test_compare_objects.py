"""`compare` with modules, functions and data of one's own."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import bayesprune as bp
from bayesprune.data import Data
from bayesprune.errors import DataError, NetworkError, SettingError
from bayesprune.experiments.configurations import configurations
from bayesprune.experiments.jobs import execute
from bayesprune.experiments.verdict import verdict_of
from bayesprune.models import LeNet300
from bayesprune.store.runs import RunFolder, RunRecord
from bayesprune.training import Progress

SHORT: dict[str, Any] = {"epochs": 1, "batch_size": 50, "progress": False}
Pair = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def own(shift: float = 0.0) -> nn.Module:
    """A module of the user's own with random weights."""
    first = nn.Linear(36, 5)
    with torch.no_grad():
        first.bias.add_(shift)
    return nn.Sequential(nn.Flatten(), first, nn.ReLU(), nn.Linear(5, 3))


def make(classes: int) -> nn.Module:
    """A function of the user's own."""
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 6), nn.ReLU(), nn.Linear(6, classes))


def drawn(record: RunRecord) -> Any:
    return record.settings["weights_digest"]


def numbers() -> Pair:
    """Inputs and a number each."""
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(120, 4)).astype(np.float32)
    return inputs, (30.0 * inputs[:, 0] + generator.normal(size=120)).astype(np.float32)


def times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.*") if path.name != ".lock"}


def test_a_module_starts_every_run_and_is_not_changed(small_data: Data, tmp_path: Path) -> None:
    module = own()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    records = bp.compare(module, small_data, seeds=2, out=tmp_path, workers=4, **SHORT)
    assert [(r.result["method"], r.result["seed"]) for r in records] == [
        (method, seed) for method in ("dense", "parsimonious", "magnitude", "l1-units", "random") for seed in (0, 1)
    ]
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert len({drawn(record) for record in records}) == 1 and {r.settings["network"] for r in records} == {
        "Sequential"
    }
    assert [len(one.records) for one in configurations(records)] == [2] * 5
    assert all(record.folder is not None and record.folder.name == record.id for record in records)
    first = times(tmp_path)
    again = bp.compare(module, small_data, seeds=2, out=tmp_path, **SHORT)
    assert [record.id for record in again] == [record.id for record in records] and times(tmp_path) == first
    other = bp.compare(own(1.0), small_data, seeds=1, methods=["dense"], out=tmp_path, **SHORT)
    assert other[0].id not in {record.id for record in records}


def test_a_function_draws_its_weights_by_the_seed_and_seeds_are_averaged(small_data: Data, tmp_path: Path) -> None:
    records = bp.compare(make, small_data, seeds=2, methods=["dense", "parsimonious"], out=tmp_path, **SHORT)
    assert drawn(records[0]) == drawn(records[2]) != drawn(records[1]) == drawn(records[3])
    assert [(one.label, len(one.records)) for one in configurations(records)] == [("dense", 2), ("parsimonious", 2)]
    assert "Against dense, parsimonious" in verdict_of([records[1], records[0], *records[2:]])
    before = times(tmp_path)
    again = bp.compare(make, small_data, seeds=2, methods=["dense", "parsimonious"], out=tmp_path, **SHORT)
    assert [r.id for r in again] == [r.id for r in records] and times(tmp_path) == before
    loaded = bp.load(records[0].folder or "", make)
    assert loaded.network(torch.zeros(2, 1, 6, 6)).shape == (2, 3)


def test_a_run_of_an_object_is_that_of_prune(small_data: Data, tmp_path: Path) -> None:
    module = own()
    (record,) = bp.compare(module, small_data, seeds=1, methods=["dense"], out=tmp_path, **SHORT)
    pruned = bp.prune(module, small_data, "dense", **SHORT)
    assert pruned.record().id == record.id and pruned.evaluation.nll == record.result["nll"]


def test_names_and_registered_classes_with_data_of_ones_own(small_data: Data, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"seeds": 1, "methods": ["dense"], "out": tmp_path, "widths": (7,), **SHORT}
    records = [bp.compare(network, small_data, **settings)[0] for network in ("mlp", bp.models.MLP)]
    assert records[0].id == records[1].id and records[0].settings["network"] == "mlp"
    assert bp.load(records[0].folder or "").settings.widths == (7,)


def test_a_module_with_data_by_name_and_what_prune_gave_back(small_npz: str, tmp_path: Path) -> None:
    module = LeNet300((12, 8), (1, 6, 6), 3)
    (record,) = bp.compare(module, small_npz, seeds=1, methods=["dense"], out=tmp_path, **SHORT)
    assert record.settings["data"] == small_npz and bp.load(record.folder or "").settings.network == "lenet300"
    pruned = bp.prune(module, small_npz, "l1-units", budget="macs=50%", **SHORT)
    (again,) = bp.compare(pruned, small_npz, seeds=1, methods=["dense"], out=tmp_path, **SHORT)
    assert again.result["macs"] == pruned.evaluation.macs


def test_numbers_are_compared_by_their_error(tmp_path: Path) -> None:
    records = bp.compare("mlp", numbers(), seeds=2, methods=["dense", "parsimonious"], out=tmp_path, **SHORT)
    assert {record.result["task"] for record in records} == {"regression"}
    assert "RMSE (unit of the targets, lower is better" in verdict_of(records)


def test_an_interrupted_run_is_gone_on_with(small_data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, settings = own(), {**SHORT, "epochs": 2}
    whole = bp.compare(module, small_data, seeds=1, methods=["dense"], out=tmp_path / "whole", **settings)
    steps: list[int] = []
    stopping(monkeypatch, steps, 7)
    with pytest.raises(KeyboardInterrupt):
        bp.compare(module, small_data, seeds=1, methods=["dense"], out=tmp_path / "runs", **settings)
    (checkpoint,) = (tmp_path / "runs").glob("*/checkpoint.safetensors")
    assert steps[-1] == 7 and not RunFolder(checkpoint.parent).finished
    monkeypatch.undo()
    stopping(monkeypatch, steps, 99)
    (record,) = bp.compare(module, small_data, seeds=1, methods=["dense"], out=tmp_path / "runs", **settings)
    assert steps[7] == 8 and record.id == whole[0].id
    assert record.result["metrics"] == whole[0].result["metrics"]


def stopping(monkeypatch: pytest.MonkeyPatch, steps: list[int], last: int) -> None:
    """Let the next comparison be stopped after so many steps, as by Ctrl-C."""

    def stopped(*arguments: Any, progress: Callable[[Progress], None], **given: Any) -> Path:
        def tell(now: Progress) -> None:
            progress(now)
            steps.append(now.step)
            if now.step == last:
                signal.raise_signal(signal.SIGINT)

        return execute(*arguments, progress=tell, **given)

    monkeypatch.setattr("bayesprune.experiments.executor.execute", stopped)


@pytest.mark.parametrize(
    ("network", "data", "error", "message"),
    [
        (None, None, DataError, "data is None"), ("mlp", 7, DataError, "data is an int"),
        (7, "small", NetworkError, "network is an int"), (dict, "small", NetworkError, "torch.nn.Module is needed"),
    ],
)  # fmt: skip
def test_what_is_neither_network_nor_data_is_refused_before_anything_is_written(
    network: Any, data: Any, error: type[Exception], message: str, small_data: Data, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        bp.compare(network, small_data if data == "small" else data, out=tmp_path / "runs", **SHORT)
    assert list(tmp_path.iterdir()) == []


def test_settings_that_do_not_fit_objects_are_refused(small_data: Data, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="widths is for a network that the run makes"):
        bp.compare(own(), small_data, widths=(3,), out=tmp_path, **SHORT)
    with pytest.raises(SettingError, match="task='regression', and small was made for 'classification'"):
        bp.compare(own(), small_data, task="regression", out=tmp_path, **SHORT)
    with pytest.raises(SettingError, match="workers must be an integer >= 1"):
        bp.compare(own(), small_data, workers=0, out=tmp_path, **SHORT)

"""Run folders of version 0.1.0 (schema 1), which knew classification of one tensor only."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import bayesprune as bp
from bayesprune.data import Data
from bayesprune.store.runs import RunRecord


def network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.ReLU(), nn.Linear(8, 3))


def former(folder: Path) -> dict[str, Any]:
    """Rewrite a run.json as version 0.1.0 wrote it: no task, no metrics, nothing of the inputs."""
    file = folder / "run.json"
    document: dict[str, Any] = json.loads(file.read_text())
    document["schema"] = 1
    del document["task"]
    for name in ("task", "metrics", "recalls"):
        document["result"].pop(name, None)
    for name in ("normalisation", "inputs", "features"):
        document["data"].pop(name, None)
    document["versions"]["bayesprune"] = "0.1.0"
    file.write_text(json.dumps(document))
    return document


@pytest.mark.parametrize("method", ["l1-units", "magnitude", "parsimonious"])
def test_it_is_read(method: str, small_data: Data, tmp_path: Path) -> None:
    size: dict[str, Any] = {"density": 0.5} if method == "magnitude" else {"budget": "macs=60%"}
    torch.manual_seed(0)
    pruned = bp.prune(network(), small_data, method, epochs=2, progress=False, **size)
    document = former(pruned.save(tmp_path / "run"))
    record = RunRecord.read(tmp_path / "run")
    assert record.task == {"name": "classification", "outputs": 3}
    assert record.result["metrics"]["accuracy"]["value"] == document["result"]["accuracy"]
    loaded = bp.load(tmp_path / "run", factory=network)
    inputs = next(iter(small_data.test.batches(20)))[0]
    assert torch.equal(loaded.network(inputs), pruned.network.eval()(inputs))
    assert loaded.kept == pruned.kept and loaded.input_shape == (1, 6, 6) and loaded.classes == 3
    assert loaded.evaluation.accuracy == pruned.evaluation.accuracy
    assert loaded.evaluate(small_data).metrics == pytest.approx(pruned.evaluation.metrics, rel=1e-5)
    assert "accuracy" in repr(loaded)
    asked: list[Callable[[], Any]] = [lambda: loaded.predict(inputs), loaded.pipeline]
    for ask in asked:
        with pytest.raises(
            bp.StoreError, match="made by version 0.1.0, which did not keep what was done to the inputs"
        ):
            ask()


def test_it_can_be_written_anew(small_data: Data, tmp_path: Path) -> None:
    """As a folder of today's schema."""
    torch.manual_seed(0)
    pruned = bp.prune(network(), small_data, "l1-units", epochs=2, progress=False, budget="macs=60%")
    former(pruned.save(tmp_path / "run"))
    loaded = bp.load(tmp_path / "run", factory=network)
    again = bp.load(loaded.save(tmp_path / "again"), factory=network)
    assert json.loads((tmp_path / "again" / "run.json").read_text())["schema"] == 2
    assert again.kept == pruned.kept and again.evaluation.accuracy == pruned.evaluation.accuracy


@pytest.mark.parametrize("name", ["accuracy", "nll", "ece", "brier"])
def test_one_that_lacks_a_metric_is_refused(name: str, small_data: Data, tmp_path: Path) -> None:
    torch.manual_seed(0)
    pruned = bp.prune(network(), small_data, "dense", epochs=1, progress=False)
    document = former(pruned.save(tmp_path / "run"))
    del document["result"][name]
    (tmp_path / "run" / "run.json").write_text(json.dumps(document))
    with pytest.raises(bp.StoreError, match=f"result.{name}") as caught:
        RunRecord.read(tmp_path / "run")
    assert "\n" not in str(caught.value)

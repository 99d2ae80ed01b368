"""Predictions for people: calibration and entropy counted by hand, and the pictures."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import entropy

import bayesprune as bp
from bayesprune.errors import SettingError
from bayesprune.experiments.agreement_view import plot_agreement
from bayesprune.experiments.evidence_view import all_with_data
from bayesprune.experiments.prediction_view import Predictions, plot_calibration, plot_entropy, predictions_of
from bayesprune.run.predictive import Predictive
from bayesprune.store.runs import RunRecord
from bayesprune.tasks import TASKS

CHANCES = np.array([[0.9, 0.1], [0.85, 0.15], [0.3, 0.7], [0.45, 0.55], [0.05, 0.95], [0.08, 0.92]])
TARGETS = [0, 1, 1, 0, 1, 1]


def made() -> Predictions:
    """Six examples of two classes."""
    outputs, targets = torch.from_numpy(CHANCES).log(), torch.tensor(TARGETS)
    task = TASKS["classification"](2)
    law = task.likelihood()
    predicted = Predictive(torch.zeros(1, 4, 6), outputs, targets, None, task.measured(outputs, targets, law))
    return Predictions.of(predicted, task)


def test_bins_hold_the_examples_of_their_confidence() -> None:
    expected = [(0.55, 0.0, 1), (0.7, 1.0, 1), (0.85, 0.0, 1), ((0.9 + 0.95 + 0.92) / 3, 1.0, 3)]
    assert np.array(made().calibration()) == pytest.approx(np.array(expected))


def test_entropy_is_scipy_s_and_is_parted_by_the_answer() -> None:
    found = made()
    expected, right = entropy(CHANCES, axis=1), np.array([True, False, True, False, True, True])
    assert found.right is not None and np.array_equal(found.right, right)
    assert found.entropy == pytest.approx(expected)
    document = found.document()
    assert document["entropy"] == {
        "right": pytest.approx(expected[right].mean()), "wrong": pytest.approx(expected[~right].mean())
    }  # fmt: skip
    assert (document["examples"], document["draws"], document["metrics"]["accuracy"]) == (6, 4, pytest.approx(4 / 6))
    assert f"{expected[~right].mean():.3f} where it is wrong" in found.text() and "accuracy 66.67 %" in found.text()


def test_the_pictures(tmp_path: Path) -> None:
    svg = plot_calibration(made(), tmp_path / "calibration.svg").read_text("utf-8")
    assert "probability of the answer" in svg and "6 test examples" in svg
    svg = plot_entropy(made(), tmp_path / "entropy.svg").read_text("utf-8")
    assert "right: 4, mean" in svg and "wrong: 2, mean" in svg
    with Image.open(plot_calibration(made(), tmp_path / "new" / "calibration.png")) as image:
        assert image.format == "PNG"
    with pytest.raises(SettingError, match=r"\.png or \.svg"):
        plot_entropy(made(), tmp_path / "entropy.gif")


def test_another_task_has_metrics_and_no_calibration(small_npz: str, tmp_path: Path) -> None:
    inputs = torch.randn(200, 4)
    data = bp.data.from_tensors(inputs, inputs[:, :1] * 2, task="regression")
    pruned = bp.prune("mlp", data, widths=(6,), epochs=1, price=0.01, progress=False)
    found = Predictions.of(pruned.predictive(torch.ones(1, 2, pruned.structure.gate_count)), data.task)
    assert found.confidence is None and found.calibration() == [] and "RMSE" in found.text()
    assert "entropy" not in found.document()


def test_restarts_on_disk_are_predicted_together(small_npz: str, tmp_path: Path) -> None:
    data = bp.load_data(small_npz)
    quick: dict[str, Any] = {"epochs": 2, "batch_size": 40, "widths": (8, 6), "price": 1.0, "progress": False}
    runs = [bp.prune("lenet300", data, seed=seed, **quick) for seed in (0, 1)]
    records = [RunRecord.read(run.save(tmp_path / str(number))) for number, run in enumerate(runs)]
    found = predictions_of(records, 6)
    assert isinstance(found, Predictions) and found.predicted.log_likelihood.shape == (2, 6, 60)
    chances: list[torch.Tensor] = []
    for run in runs:
        z = bp.to_datatree(runs, draws=6)["posterior"]["z"].to_numpy()[len(chances)]
        gates = torch.from_numpy(z)[:, run.structure.original_gates()]
        one = run.predictive(gates[None])
        chances.append(one.outputs.softmax(1))
    mean = torch.stack(chances).mean(0)
    torch.testing.assert_close(found.predicted.outputs.softmax(1), mean, atol=1e-5, rtol=1e-4)
    few = predictions_of(records, 6, 10)
    assert isinstance(few, Predictions) and few.document()["examples"] == 10
    unnamed = RunRecord.read(
        bp.prune("lenet300", (torch.rand(60, 1, 6, 6), torch.arange(60) % 3), **quick).save(tmp_path / "x")
    )
    assert "cannot be loaded by name" in str(predictions_of([unnamed], 6))
    svg = plot_agreement(records, tmp_path / "agreement.svg").read_text("utf-8")
    assert "2 restarts; hidden units" in svg and "by chance" in svg and "fc1" in svg


def test_data_of_several_runs_are_read_once(small_npz: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bp.load_data(small_npz)
    quick: dict[str, Any] = {"epochs": 1, "batch_size": 40, "widths": (8, 6), "price": 1.0, "progress": False}
    runs = [bp.prune("lenet300", data, seed=seed, **quick) for seed in (0, 1)]
    records = [RunRecord.read(run.save(tmp_path / str(number))) for number, run in enumerate(runs)]
    read: list[str] = []
    load = bp.data.load

    def counted(name: str, **settings: Any) -> Any:
        read.append(name)
        return load(name, **settings)

    monkeypatch.setattr("bayesprune.data.load", counted)
    found = all_with_data(records)
    assert len(found) == 2 and not any(isinstance(one, str) for one in found) and read == [small_npz]

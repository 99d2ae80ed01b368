"""Evidence of runs on disk, and the picture of it: its numbers are the run's own, its refusals one line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import bayesprune as bp
from bayesprune.data import Data
from bayesprune.errors import SettingError
from bayesprune.experiments.evidence_view import _pixels, affordable, document, evidence_of, plot_evidence
from bayesprune.run.evidence import Evidence
from bayesprune.store.runs import RunRecord

QUICK: dict[str, Any] = {"epochs": 2, "batch_size": 40, "widths": (8, 6), "progress": False}


def made(count: int = 12, *, price: Any = 3.0) -> Evidence:
    """Pixels of 3 x 4 and two units of a layer."""
    values = torch.linspace(-2, 40, count + 2, dtype=torch.float64)
    prices = None if price is None else torch.as_tensor(price, dtype=torch.float64).expand(count + 2)
    groups = ("inputs",) * count + ("fc1",) * 2
    indices = torch.cat([torch.arange(count), torch.tensor([5, 9])])
    return Evidence(groups, indices, values, torch.ones(count + 2), prices, torch.zeros(count + 2).bool(), 10, 20)


def test_a_run_whose_data_have_a_name(small_npz: str, tmp_path: Path) -> None:
    data = bp.load_data(small_npz)
    pruned = bp.prune("lenet300", data, price=1.0, **QUICK)
    found = evidence_of(RunRecord.read(pruned.save(tmp_path / "run")))
    assert isinstance(found, Evidence) and found.examples == 240
    torch.testing.assert_close(found.evidence, pruned.evidence().evidence, rtol=1e-5, atol=1e-5)
    assert affordable(RunRecord.read(tmp_path / "run")) == int(5e12 / (len(found) * pruned.evaluation.macs))
    few = evidence_of(RunRecord.read(tmp_path / "run"), 50)
    assert isinstance(few, Evidence) and few.examples == 50


def test_a_line_says_why_there_is_none(small_data: Data, small_npz: str, tmp_path: Path) -> None:
    unnamed = RunRecord.read(bp.prune("lenet300", small_data, "dense", **QUICK).save(tmp_path / "unnamed"))
    said = evidence_of(unnamed, 100)
    assert isinstance(said, str) and said.startswith("the data 'small' cannot be loaded by name") and "\n" not in said
    other = tmp_path / "other.npz"
    arrays = dict(np.load(small_npz.removeprefix("npz:")))
    np.savez(other, **arrays)
    run = RunRecord.read(bp.prune("lenet300", bp.load_data(f"npz:{other}"), "dense", **QUICK).save(tmp_path / "run"))
    arrays["x_train"] = arrays["x_train"] + 1
    np.savez(other, **arrays)
    assert "are not those that the run was trained on" in str(evidence_of(run, 100))
    other.unlink()
    assert "cannot be loaded by name" in str(evidence_of(run, 100))


@pytest.mark.parametrize("price", [3.0, None, [2.0] * 12 + [7.0] * 2])
def test_the_picture(price: Any, tmp_path: Path) -> None:
    svg = plot_evidence(made(price=price), tmp_path / "units.svg", (1, 3, 4)).read_text("utf-8")
    assert all(text in svg for text in ("weakest: inputs[0] -2.0, inputs[1]", "input pixels", "10 of 20", "fc1"))
    assert "mathdefault" not in svg
    assert ("price, 3 nats" in svg) == (price == 3.0)
    assert ("price of fc1, median 7" in svg) == isinstance(price, list)
    with Image.open(plot_evidence(made(price=price), tmp_path / "units.PNG", (1, 3, 4))) as image:
        assert image.format == "PNG"
    with pytest.raises(SettingError, match=r"written as .png or .svg"):
        plot_evidence(made(), tmp_path / "units.pdf")


def test_pixels_lie_where_they_are() -> None:
    image = _pixels(made(7), (1, 3, 4))
    assert image is not None
    assert image.shape == (3, 4) and np.isnan(image.flatten()[7:]).all()
    assert image.flatten()[:7].tolist() == made(7).evidence[:7].tolist()
    colours = _pixels(made(12), (3, 2, 2))  # pixel 0 of each of three colours is 0, 4 and 8
    assert colours is not None
    values = made(12).evidence
    assert colours[0, 0] == pytest.approx(float(values[0] + values[4] + values[8]))
    assert _pixels(made(12), (12,)) is None and _pixels(made(3), (3, 8, 8)) is None


def test_the_document_is_plain() -> None:
    found = document(made())
    assert (found["examples"], found["size"], found["unit"]) == (10, 20, "nats")
    assert found["groups"]["fc1"]["units"] == 2 and found["groups"]["inputs"]["below_price"] == 2
    assert found["weakest"][0]["unit"] == "inputs[0]" and len(found["weakest"]) == 10
    assert document(made(price=None))["groups"]["inputs"]["below_price"] is None

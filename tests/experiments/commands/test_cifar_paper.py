"""`bayesprune paper cifar` on short runs of narrow networks."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bayesprune.experiments.papers import PAPERS
from bayesprune.experiments.papers.cifar import runs
from bayesprune.experiments.papers.rows import Row
from bayesprune.run.settings import RunSettings


@pytest.mark.long
def test_the_command_makes_a_study_that_begins_with_trained_networks(
    command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dense, at a budget, and the same from the dense network, whose statistics are estimated anew."""
    generator = np.random.default_rng(0)
    pictures, labels = generator.random((90, 3, 16, 16)).astype(np.float32), np.arange(90) % 3
    pictures[np.arange(90), labels] += 1.0
    np.savez(tmp_path / "pictures.npz", x=pictures, y=labels)
    base = RunSettings(
        "dense", "resnet20", epochs=2, batch_size=10, widths=(2, 2, 3), noise=0.0, optimizer="sgd", augment="crop-flip"
    )
    sized = replace(base, method="l1-units", budget="macs=60%", options={"prune_share": 0.0})
    deep = replace(
        base, network="vgg16", widths=(2,) * 14, method="parsimonious", learning_rate=2e-3, budget="macs=60%"
    )
    rows = (
        Row(runs.DENSE, "dense", base, (0,)),
        Row(runs.TRAINED, "l1-units, from dense", sized, (0,), start=base),
        Row(runs.SIZED, "vgg16", deep, (0,)),
    )
    monkeypatch.setitem(
        PAPERS, "cifar", replace(PAPERS["cifar"], plan=lambda repeats: rows, part_of=lambda row: "vgg16")
    )
    outcome = command("paper", "cifar", "--data", f"npz:{tmp_path / 'pictures.npz'}", "--workers", 1, "--json")
    assert outcome.status == 0, outcome.err
    dense, tuned, other = json.loads(outcome.out)["rows"]
    assert tuned["runs"][0]["macs"] <= 0.6 * dense["runs"][0]["macs"] and other["runs"][0]["params"] > 0

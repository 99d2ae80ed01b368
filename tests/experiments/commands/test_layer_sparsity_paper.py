"""The study of layer sparsity by its command, on short runs."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bayesprune.experiments.papers import PAPERS
from bayesprune.experiments.papers.layer_sparsity import runs


@pytest.mark.long
def test_the_command_makes_the_study(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        replace(row, settings=replace(row.settings, data="mnist5k", epochs=2), seeds=(0,))
        for row in runs.plan(1)
        if row.factor == "mnist" and row.value in (runs.BOTH, runs.SHALLOW)
    ]
    monkeypatch.setitem(PAPERS, "layer-sparsity", replace(PAPERS["layer-sparsity"], plan=lambda repeats: rows))
    outcome = command("paper", "layer-sparsity", "--workers", 1, "--json")
    assert outcome.status == 0, outcome.err
    found = json.loads(outcome.out)
    assert {one["row"] for one in found["outcomes"]["mnist"]} == {runs.BOTH, runs.SHALLOW}
    assert {"active-mnist.png", "errors-mnist.png", "arms-mnist.png"} <= {
        file.name for file in Path("paper-layer-sparsity").iterdir()
    }

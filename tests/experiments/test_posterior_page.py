"""The examples of docs/posterior.md run one after the other, and every group that it names is there."""

import re
import warnings
from pathlib import Path
from typing import Any

import pytest

import bayesprune as bp


@pytest.mark.long
def test_the_page_s_examples_run(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(__import__("arviz"), "concat"):
        pytest.skip("ArviZ 1.x has other plots and no concat")
    monkeypatch.chdir(tmp_path)
    text = (repository / "docs" / "posterior.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 5
    found: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few draws, and of a short training
        for number, block in enumerate(blocks):
            exec(compile(block, f"docs/posterior.md, block {number + 1}", "exec"), found)
    import matplotlib.pyplot as plt

    plt.close("all")
    named = set(re.findall(r"^\| `([a-z_]+)` \|", text, re.MULTILINE))
    assert named == set(found["tree"].children)
    assert all(run.evaluation.accuracy > 0.85 for run in found["runs"])
    assert set(found["table"].index) == {"parsimonious", "spike-slab-flat"}
    assert found["joined"].posterior["z"].sizes["chain"] == 2 and (tmp_path / "draws.nc").is_file()
    assert bp.load_tree(tmp_path / "draws.nc").identical(found["tree"])
    stats = found["tree"]["sample_stats"]
    row = re.search(r"\| `sample_stats` \| (.*?) \|", text)
    assert row is not None
    assert set(re.findall("`([a-z_]+)`", row[1])) == {*map(str, stats.data_vars), "evidence"}

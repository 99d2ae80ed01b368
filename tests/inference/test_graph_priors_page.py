"""The examples of docs/graph-priors.md run, and say what the page says."""

from typing import Any

import pyro
import pytest


def test_the_page_s_examples_run(page_blocks: Any) -> None:
    """One after the other, as a reader would; nothing enters Pyro's global store."""
    pyro.clear_param_store()
    blocks = page_blocks("graph-priors.md")
    assert len(blocks) == 5
    found: dict[str, Any] = {}
    for number, block in enumerate(blocks):
        exec(compile(block, f"docs/graph-priors.md, block {number + 1}", "exec"), found)
        if number == 2:
            assert found["exact"].log_evidence == pytest.approx(found["evidence"], abs=1e-3)
            assert found["exact"].marginal("family")["watts-strogatz"] > 0.99
    assert float(0.5 * (found["draws"].settings_probability - found["exact"].of_settings).abs().sum()) < 0.08
    assert set(found["tree"].children) == {"posterior", "sample_stats", "constant_data"}
    assert list(pyro.get_param_store().keys()) == []

"""The examples of docs/pyro.md run, and the network that Pyro's SVI leaves is smaller and good."""

from typing import Any

import pyro
import torch


def test_the_page_s_examples_run(page_blocks: Any) -> None:
    """One after the other, as a reader would; nothing enters Pyro's global store."""
    pyro.clear_param_store()
    blocks = page_blocks("pyro.md")
    assert len(blocks) == 4
    found: dict[str, Any] = {}
    for number, block in enumerate(blocks):
        exec(compile(block, f"docs/pyro.md, block {number + 1}", "exec"), found)
        if number == 1:
            with torch.no_grad():
                said = found["network"](found["pictures"][1200:]).argmax(1)
            right = float((said == found["classes"][1200:]).double().mean())
            assert right > 0.85
            assert found["structure"].gate_count < 112
            assert not found["network"].fc1._forward_pre_hooks
    assert list(pyro.get_param_store().keys()) == []

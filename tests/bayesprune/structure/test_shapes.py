"""Networks of many shapes: their groups are those that a person finds, and the compact network is the gated one."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bayesprune.batches import call, each, is_batch
from bayesprune.structure import Gating, Structure, compact, find
from bayesprune.structure.nesting import tensors_in
from tests.bayesprune.structure.shapes import SHAPES

ONCE = settings(max_examples=max(1, settings().max_examples // 20))
KNOWN: dict[str, tuple[nn.Module, Any, Structure]] = {}


@torch.no_grad()
def found(name: str) -> tuple[nn.Module, Any, Structure]:
    """A network in float64 none of whose tensors has equal entries, an example, and what is found."""
    if name not in KNOWN:
        torch.manual_seed(0)
        shape = SHAPES[name]
        network = shape.make().double().eval()
        for tensor in (*network.parameters(), *network.buffers()):
            if tensor.is_floating_point():
                tensor.add_(torch.rand_like(tensor) * 0.3)
        assert is_batch(shape.example)
        example = each(lambda part: part.double() if part.is_floating_point() else part, shape.example)
        KNOWN[name] = network, example, find(network, example, **shape.options)
    return KNOWN[name]


@torch.no_grad()
def said(network: nn.Module, example: Any) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors_in(call(network, example))])


@pytest.mark.parametrize("name", SHAPES)
def test_groups_are_those_found_by_thinking(name: str) -> None:
    _, _, structure = found(name)
    assert {group.name: group.size for group in structure.groups} == SHAPES[name].groups


@pytest.mark.parametrize("name", SHAPES)
def test_no_layer_is_left_whole_in_silence(name: str) -> None:
    network, _, structure = found(name)
    producing = {layer for group in structure.groups for layer in group.producers}
    for layer, module in network.named_modules():
        if isinstance(module, (nn.Linear, nn.modules.conv._ConvNd, nn.Embedding)):
            inside = any(layer.startswith(f"{outer}.") for outer in producing)
            assert layer in producing or inside or structure.whole[layer], layer


@pytest.mark.parametrize("name", SHAPES)
@ONCE
@given(seed=st.integers(0, 10**6))
def test_compact_equals_gated(name: str, seed: int) -> None:
    network, example, structure = found(name)
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(structure.gate_count, generator=generator)
    share = float(torch.rand(1, generator=generator))
    gates = structure.consistent(structure.protect(scores < share, scores))
    small, gating = deepcopy(network), Gating(network, structure)
    with gating.applied(gates.double()):
        expected = said(network, example)
    gating.remove()
    compact(small, structure, gates)
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in network.parameters()) or bool(
        gates.all()
    )
    assert float((said(small, example) - expected).abs().max()) <= 1e-9 * float(expected.abs().max().clamp_min(1.0))

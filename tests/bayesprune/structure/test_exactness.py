"""A compacted network is the gated one, whatever is gated and however often it is compacted."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bayesprune.structure import Gating, Structure, compact, find

ONCE = settings(max_examples=settings().max_examples // 10)


def relative_difference(one: Tensor, other: Tensor) -> float:
    assert one.shape == other.shape
    return float((one - other).abs().max() / other.abs().max().clamp_min(1e-12))


@torch.no_grad()
def gated_outputs(network: nn.Module, structure: Structure, gates: Tensor, inputs: Tensor) -> Tensor:
    gating = Gating(network, structure)
    with gating.applied(gates.float()):
        outputs: Tensor = network(inputs)
    gating.remove()
    return outputs


@ONCE
@given(seed=st.integers(0, 10**6))
def test_compact_equals_gated(case: Any, seed: int) -> None:
    gates = case.gates(seed)
    expected = gated_outputs(case.copy(), case.structure, gates, case.example)
    small = case.copy()
    compact(small, case.structure, gates)
    with torch.no_grad():
        assert relative_difference(small(case.example), expected) <= 1e-5


@ONCE
@given(seed=st.integers(0, 10**6))
def test_two_compactions_equal_one(case: Any, seed: int) -> None:
    network = case.copy()
    middle = compact(network, case.structure, case.gates(seed))
    second = case.gates(seed + 1, middle)
    twice = compact(network, middle, second)
    both = torch.zeros(case.structure.gate_count, dtype=torch.bool)
    both[twice.original_gates()] = True
    with torch.no_grad():
        outputs = network(case.example)
    assert relative_difference(outputs, gated_outputs(case.copy(), case.structure, both, case.example)) <= 1e-5
    direct = case.copy()
    once = compact(direct, case.structure, both)
    assert once.kept() == twice.kept()
    tensors = direct.state_dict()
    assert list(tensors) == list(network.state_dict())
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in network.state_dict().items())
    assert str(direct) == str(network)


def test_gates_that_are_open_change_nothing(case: Any) -> None:
    everything = torch.ones(case.structure.gate_count, dtype=torch.bool)
    with torch.no_grad():
        expected = case.network(case.example)
    assert torch.equal(gated_outputs(case.copy(), case.structure, everything, case.example), expected)
    same = case.copy()
    structure = compact(same, case.structure, everything)
    with torch.no_grad():
        assert torch.equal(same(case.example), expected)
    assert structure.kept() == {group.name: list(range(group.size)) for group in case.structure.groups}


def test_one_channel_a_group_still_runs(case: Any) -> None:
    preference = torch.rand(case.structure.gate_count, generator=torch.Generator().manual_seed(3))
    closed = torch.zeros(case.structure.gate_count, dtype=torch.bool)
    gates = case.structure.protect(closed, preference)
    small = case.copy()
    compact(small, case.structure, gates)
    expected = gated_outputs(case.copy(), case.structure, gates, case.example)
    with torch.no_grad():
        assert relative_difference(small(case.example), expected) <= 1e-5


def test_training_mode_agrees_too(case: Any) -> None:
    """Batch statistics are per channel, so that gating is exact in training mode as well."""
    gates = case.gates(7)
    small = case.copy().train()
    compact(small, case.structure, gates)
    expected = gated_outputs(case.copy().train(), case.structure, gates, case.example)
    with torch.no_grad():
        assert relative_difference(small(case.example), expected) <= 2e-5


def test_a_gate_before_batchnorm_is_no_removal(randomise: Any) -> None:
    """The contrast: multiplied before the normalisation, a closed channel comes out as a constant."""
    torch.manual_seed(0)
    network = randomise(nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3)))
    images, gates = torch.randn(2, 1, 8, 8), torch.tensor([True, False, True, False])
    structure = find(network, images)
    expected = gated_outputs(network, structure, gates, images)
    factors = gates.float().reshape(1, -1, 1, 1)
    handle = network[0].register_forward_hook(lambda _, __, maps: maps * factors)
    with torch.no_grad():
        before_norm = network(images)
    handle.remove()
    compact(network, structure, gates)
    with torch.no_grad():
        assert relative_difference(network(images), expected) <= 1e-5
    assert relative_difference(before_norm, expected) > 0.05


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_number_formats(zoo: Any, dtype: torch.dtype) -> None:
    case = zoo("residual")
    network, example = case.copy().to(dtype), case.example.to(dtype)
    structure = find(network, example, inputs="all", check=dtype == torch.float64)
    gates = case.gates(1)
    with Gating(network, structure).applied(gates.to(dtype)), torch.no_grad():
        expected = network(example)
    compact(network, structure, gates)
    with torch.no_grad():
        outputs = network(example)
    assert outputs.dtype == dtype
    assert relative_difference(outputs, expected) <= (1e-12 if dtype == torch.float64 else 0.05)

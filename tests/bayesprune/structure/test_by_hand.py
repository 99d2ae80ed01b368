"""Attention, recurrent layers, normalisations, functions and spread writers: gated, compact and counted."""

import pytest
import torch
from torch import Tensor, nn

from bayesprune.structure import ExpectedCost, Gating, Structure, compact, layer_costs
from tests.bayesprune.structure.by_hand import CASES, Case

BOTH = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def random_gates(structure: Structure, density: float, seed: int) -> Tensor:
    random = torch.rand(structure.gate_count, generator=torch.Generator().manual_seed(seed))
    return structure.consistent(structure.protect(random < density, random))


@torch.no_grad()
def gated(network: nn.Module, structure: Structure, gates: Tensor, inputs: Tensor) -> Tensor:
    gating = Gating(network, structure)
    with gating.applied(gates):
        outputs: Tensor = network(inputs)
    gating.remove()
    return outputs


@BOTH
def test_all_open_is_the_network_itself(case: Case) -> None:
    network, structure, inputs = case()
    with torch.no_grad():
        expected = network(inputs)
    ones = torch.ones(structure.gate_count)
    torch.testing.assert_close(gated(network, structure, ones, inputs), expected, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        assert torch.equal(network(inputs), expected)  # everything was put back


@BOTH
@pytest.mark.parametrize("seed", range(4))
def test_compact_is_gated_also_in_steps(case: Case, seed: int) -> None:
    network, structure, inputs = case()
    network.double()
    inputs = inputs.double() if inputs.is_floating_point() else inputs
    first = random_gates(structure, 0.7, seed)
    expected = gated(network, structure, first.double(), inputs)
    smaller = compact(network, structure, first)
    with torch.no_grad():
        torch.testing.assert_close(network(inputs), expected, rtol=1e-9, atol=1e-9)
    second = random_gates(smaller, 0.6, seed + 10)
    expected = gated(network, smaller, second.double(), inputs)
    compact(network, smaller, second)
    with torch.no_grad():
        torch.testing.assert_close(network(inputs), expected, rtol=1e-9, atol=1e-9)


@BOTH
@pytest.mark.parametrize("seed", range(2))
def test_expected_cost_at_a_vertex_is_that_of_the_compact_network(case: Case, seed: int) -> None:
    network, structure, inputs = case()
    costs = layer_costs(network, inputs)
    gates = random_gates(structure, 0.6, seed)
    macs, params = ExpectedCost.of(network, structure, costs)(gates.double())
    smaller = compact(network, structure, gates)
    counted = layer_costs(network, inputs)
    assert float(params) == pytest.approx(sum(parameter.numel() for parameter in network.parameters()))
    assert float(macs) == pytest.approx(sum(layer.macs for layer in counted))
    again, _ = ExpectedCost.of(network, smaller, counted)(torch.ones(smaller.gate_count).double())
    assert float(again) == pytest.approx(float(macs))

"""Closed sections deleted: the same function, with fewer parameters, as the gated network."""

from copy import deepcopy
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bayesprune.errors import NetworkError, SettingError
from bayesprune.sections.find import find_sections, with_sections
from bayesprune.structure import ExpectedCost, Gating, Structure, compact, find, layer_costs
from bayesprune.structure.held import Held
from bayesprune.training.adam import fused_adam
from tests.bayesprune.sections.networks import Nested, Residual, Scaled, SmallResNet, stirred


def fused_adam_of(rate: float, parameters: Any) -> torch.optim.Optimizer:
    return fused_adam(list(parameters), rate, 0.0)


IMAGES = torch.randn(3, 1, 6, 6, generator=torch.Generator().manual_seed(0))
MAKERS = (Residual, SmallResNet, Nested, Scaled)
_MADE: dict[str, tuple[nn.Module, Structure]] = {}


def made(make: type[nn.Module]) -> tuple[nn.Module, Structure]:
    """A network, and its groups and sections; attention's channels cannot be cut, its section can."""
    if make.__name__ not in _MADE:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = stirred(make())
        try:
            units = find(network, IMAGES)
        except NetworkError:
            units = Structure((), (), ())
        _MADE[make.__name__] = network, with_sections(units, find_sections(network, IMAGES).sections)
    network, structure = _MADE[make.__name__]
    return deepcopy(network), structure


def random_gates(structure: Structure, seed: int, share: float) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    gates = torch.rand(structure.gate_count, generator=generator) < share
    protected = structure.protect(gates, torch.rand(structure.gate_count, generator=generator))
    return structure.consistent(protected)


def gated(network: nn.Module, structure: Structure, gates: Tensor) -> Tensor:
    gating = Gating(network, structure)
    with gating.applied(gates.float()):
        said: Tensor = network(IMAGES)
    gating.remove()
    return said.detach()


@settings(max_examples=settings().max_examples // 8)
@given(make=st.sampled_from(MAKERS), seed=st.integers(0, 10_000), share=st.sampled_from([0.2, 0.5, 0.8]))
def test_compact_is_gated_and_costs_what_is_expected(make: type[nn.Module], seed: int, share: float) -> None:
    network, structure = made(make)
    gates = random_gates(structure, seed, share)
    assert structure.passes_on(gates)
    expected = gated(network, structure, gates)
    macs, params = ExpectedCost.of(network, structure, layer_costs(network, IMAGES))(gates.double())
    smaller = compact(network, structure, gates)
    torch.testing.assert_close(network(IMAGES), expected, rtol=1e-5, atol=1e-5)
    assert params == sum(parameter.numel() for parameter in network.parameters())
    if make is not Scaled:  # what attention multiplies by itself counts as a constant
        assert macs == sum(layer.macs for layer in layer_costs(network, IMAGES))

    # Once more, and all in one go from the dense network.
    again = random_gates(smaller, seed + 1, 0.6)
    expected = gated(network, smaller, again)
    smallest = compact(network, smaller, again)
    torch.testing.assert_close(network(IMAGES), expected, rtol=1e-5, atol=1e-5)
    other, _ = made(make)
    assert compact(other, structure, structure.open_from_kept(smallest.kept())).kept() == smallest.kept()
    other.load_state_dict(network.state_dict())
    assert torch.equal(other(IMAGES), network(IMAGES))


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("training", [False, True])
def test_a_deleted_section_leaves_the_function_unchanged(make: type[nn.Module], training: bool) -> None:
    network, structure = made(make)
    network.train(training)
    for gate in structure.section_gates.tolist():
        gates = torch.ones(structure.gate_count, dtype=torch.bool)
        gates[gate] = False
        one, other = deepcopy(network), deepcopy(network)
        expected = gated(one, structure, gates)
        compact(other, structure, structure.consistent(gates))
        torch.testing.assert_close(other(IMAGES), expected, rtol=1e-5, atol=1e-5)
        assert type(other) is make and len(other.state_dict()) < len(one.state_dict())


@pytest.mark.parametrize(
    "optimizer", [torch.optim.Adam, partial(torch.optim.SGD, lr=0.1, momentum=0.9), partial(fused_adam_of, 0.1)]
)
def test_optimizers_masks_and_what_is_alike_lose_what_is_gone(optimizer: Any) -> None:
    network, structure = made(SmallResNet)
    moving = optimizer(network.parameters())
    network(IMAGES).sum().backward()
    moving.step()
    gone = [network.get_parameter(f"blocks.0.{name}.weight") for name in ("conv1", "bn1", "conv2", "bn2")]
    masks = {"blocks.0.conv1.weight": torch.ones(4, 4, 3, 3), "fc.weight": torch.ones(3, 6)}
    gates = torch.ones(structure.gate_count, dtype=torch.bool)
    gates[structure.section_gates[0]] = False
    compact(network, structure, structure.consistent(gates), optimizers=[moving], masks=masks)
    left = moving.param_groups[0]["params"]
    assert [id(one) for one in left] == [id(one) for one in network.parameters()]
    assert not any(one is other for one in left for other in gone) and not any(one in moving.state for one in gone)
    assert list(masks) == ["fc.weight"]
    network(IMAGES).sum().backward()
    moving.step()


@settings(max_examples=settings().max_examples // 2)
@given(make=st.sampled_from(MAKERS), seed=st.integers(0, 10_000))
def test_what_an_accelerator_reopens_is_what_protect_does(make: type[nn.Module], seed: int) -> None:
    _, structure = made(make)
    generator = torch.Generator().manual_seed(seed)
    gates = torch.rand(structure.gate_count, generator=generator) < 0.3
    preference = torch.rand(structure.gate_count, generator=generator)
    protected = structure.protect(gates, preference)
    assert torch.equal(Held(structure, torch.device("cpu")).reopened(gates, preference), protected)
    assert structure.passes_on(gates) == torch.equal(gates, protected)


def test_groups_inside_a_closed_section_may_be_emptied_and_others_may_not() -> None:
    network, structure = made(SmallResNet)
    gates = torch.ones(structure.gate_count, dtype=torch.bool)
    places = structure.slices()
    gates[places["blocks.0.conv1"]] = False
    with pytest.raises(SettingError, match="group 'blocks.0.conv1' would be emptied"):
        compact(network, structure, gates)
    assert bool(structure.protect(gates, torch.ones(len(gates)))[places["blocks.0.conv1"]].any())
    gates[places["blocks.0.section"]] = False
    assert torch.equal(structure.protect(gates, torch.ones(len(gates))), gates)
    assert structure.passes_on(gates)
    smaller = compact(network, structure, gates)
    assert smaller.kept()["blocks.0.conv1"] == smaller.kept()["blocks.0.section"] == []
    assert [one.name for one in smaller.sections] == ["blocks.1.section", "blocks.2.section"]
    gates[places["conv"]] = False  # the stream goes on through the skip
    assert bool(structure.protect(gates, torch.ones(len(gates)))[places["conv"]].any())


def test_an_outer_section_takes_the_inner_one_along() -> None:
    network, structure = made(Nested)
    gates = torch.ones(structure.gate_count, dtype=torch.bool)
    gates[structure.section_gates[0]] = False
    useful = structure.consistent(gates)
    assert not useful[structure.section_gates].any()
    smaller = compact(network, structure, useful)
    assert smaller.sections == () and [group.kind for group in smaller.groups if not len(group.kept)]


@pytest.mark.parametrize("make", [Residual, SmallResNet, Nested])
def test_the_expected_cost_is_the_mean_over_draws(make: type[nn.Module]) -> None:
    network, structure = made(make)
    cost = ExpectedCost.of(network, structure, layer_costs(network, IMAGES))
    generator = torch.Generator().manual_seed(1)
    theta = torch.rand(structure.gate_count, generator=generator, dtype=torch.float64)
    draws = torch.bernoulli(theta.expand(1_000, -1), generator=generator)
    drawn = torch.stack([torch.stack(cost(gates)) for gates in draws])
    error = drawn.std(0) / len(drawn) ** 0.5
    assert bool(((drawn.mean(0) - torch.stack(cost(theta))).abs() < 5 * error).all())


def test_the_expected_cost_is_multilinear_in_units_and_sections() -> None:
    network, structure = made(SmallResNet)
    cost = ExpectedCost.of(network, structure, layer_costs(network, IMAGES))
    theta = torch.rand(structure.gate_count, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for gate in range(structure.gate_count):
        at = []
        for value in (0.0, 0.5, 1.0):
            moved = theta.clone()
            moved[gate] = value
            at.append(torch.stack(cost(moved)))
        torch.testing.assert_close(at[1], (at[0] + at[2]) / 2)

"""Writers that stay as wide as they were: what stands behind them, in front of their readers, and beside both."""

import pytest
import torch
from torch import Tensor, nn

from bayesprune.structure import Gating, SelectChannels, Structure, compact
from bayesprune.structure.selectors import Selected, Spread, SpreadChannels
from tests.bayesprune.structure.by_hand import ByHand, counting


def opened(structure: Structure, *closed: int) -> Tensor:
    gates = torch.ones(structure.gate_count, dtype=torch.bool)
    gates[list(closed)] = False
    return gates


@pytest.mark.parametrize("axis", [-1, 1])
def test_zeros_stand_where_channels_were(axis: int) -> None:
    spread = SpreadChannels(torch.tensor([1, 4]), 5, axis)
    features = torch.randn(3, 2, 6) if axis == 1 else torch.randn(3, 7, 2)
    said = spread(features)
    assert torch.equal(said.index_select(axis, torch.tensor([1, 4])), features)
    assert not said.index_select(axis, torch.tensor([0, 2, 3])).any()
    assert spread.kept.tolist() == [1, 4] and str(spread) == f"SpreadChannels(2 features over 5, axis={axis})"


def test_a_layer_may_select_and_be_spread_in_any_order() -> None:
    """Wrappers, names and state depend on what was kept, not on the steps that led there."""
    states = []
    for steps in ([(1, 8)], [(1,), (7,)], [(8,), (1,)]):
        torch.manual_seed(0)
        network, structure, inputs = counting()
        network.eval()
        with torch.no_grad(), Gating(network, structure).applied(opened(structure, 1, 8).float()):
            expected = network(inputs)
        for closed in steps:
            structure = compact(network, structure, opened(structure, *closed))
        with torch.no_grad():
            torch.testing.assert_close(network(inputs), expected)
        assert isinstance(network.first, Spread) and isinstance(network.middle, Selected)
        assert [name for name, _ in network.middle.named_children()] == ["select", "layer", "spread"]
        assert [reader.layer for reader in structure.readers] == ["middle.layer", "last.layer"]
        assert structure.spread == {"first.layer", "middle.layer"}
        states.append({name: value.clone() for name, value in network.state_dict().items()})
    for state in states[1:]:
        assert list(state) == list(states[0])
        assert all(torch.equal(value, states[0][name]) for name, value in state.items())


def test_what_nobody_closes_is_not_wrapped() -> None:
    network, structure, _ = counting()
    smaller = compact(network, structure, opened(structure))
    assert not any(isinstance(m, (SelectChannels, SpreadChannels)) for m in network.modules())
    assert smaller.spread == structure.spread
    compact(network, smaller, opened(smaller, 0))
    assert isinstance(network.first, Spread) and isinstance(network.middle, Selected)
    assert isinstance(network.last, nn.Conv2d)


def test_optimizer_masks_and_their_names_follow() -> None:
    network, structure, inputs = counting()
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
    network(inputs).square().mean().backward()
    optimizer.step()
    weight = network.get_parameter("middle.weight")
    before = optimizer.state[weight]["momentum_buffer"].clone()
    masks = {name: torch.ones_like(value) for name, value in network.named_parameters()}
    compact(network, structure, opened(structure, 2, 6), optimizers=[optimizer], masks=masks)
    assert network.get_parameter("middle.layer.weight") is weight and weight.shape == (5, 5, 1, 1)
    assert torch.equal(optimizer.state[weight]["momentum_buffer"], before[1:][:, [0, 1, 3, 4, 5]])
    assert {name: mask.shape for name, mask in masks.items()} == {n: p.shape for n, p in network.named_parameters()}
    network(inputs).square().mean().backward()
    optimizer.step()


def test_it_exports() -> None:
    network, structure, inputs = counting()
    network.eval()
    compact(network, structure, opened(structure, 1, 8, 9))
    with torch.no_grad():
        torch.testing.assert_close(torch.export.export(network, (inputs,)).module()(inputs), network(inputs))


def test_a_concatenation_of_wide_and_narrow_writers() -> None:
    """Only the wide one's channels arrive with zeros."""

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide, self.narrow, self.head = nn.Linear(3, 4), nn.Linear(3, 5), nn.Linear(9, 2)

        def forward(self, inputs: Tensor) -> Tensor:
            said: Tensor = self.head(torch.cat([self.wide(inputs).view(-1, 4).tanh(), self.narrow(inputs).tanh()], 1))
            return said

    network, inputs = Both(), torch.randn(6, 3)
    hand = ByHand(network)
    wide, narrow = hand.group("wide", 4), hand.group("narrow", 5)
    hand.writes("wide", wide, spread=True)
    hand.writes("narrow", narrow)
    hand.reads("head", torch.cat([wide, narrow]))
    structure = hand.build()
    gates = opened(structure, 0, 2, 5, 8)
    with torch.no_grad():
        with Gating(network, structure).applied(gates.float()):
            expected = network(inputs)
        smaller = compact(network, structure, gates)
        torch.testing.assert_close(network(inputs), expected)
        assert network.get_buffer("head.select.kept").tolist() == [1, 3, 4, 5, 6]
        assert network.get_parameter("head.layer.weight").shape == (2, 5) and len(smaller.readers[0].arriving) == 7

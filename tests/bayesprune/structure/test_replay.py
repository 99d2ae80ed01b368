"""Flips replayed from the gated layer on are those of the compacted network, for networks of many kinds."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from bayesprune.models import LeNet5, LeNet300
from bayesprune.models.networks.resnet import SmallResNet
from bayesprune.structure import compact, find
from bayesprune.structure.copying import copied
from bayesprune.structure.replay import Replay


class InPlace(nn.Module):
    """Batch normalisation, rectifiers in place, a sum in place, and two layers side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv2d(2, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU(inplace=True)
        self.left, self.right = nn.Conv2d(5, 4, 3, padding=1, padding_mode="circular"), nn.Conv2d(5, 4, 1)
        self.wide, self.head = nn.Conv2d(8, 6, 3, stride=2), nn.Linear(6 * 2 * 2, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.act(self.norm(self.conv(inputs)))
        both = torch.cat([self.left(hidden).relu_(), relu(self.right(hidden), inplace=True)], 1)
        both += 0.5
        return self.head(self.wide(both).relu().flatten(1))


class Residual(SmallResNet):
    """One block a stage."""

    blocks = 1


class Sequence(nn.Module):
    """A linear layer over [B, T, F]."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(3, 5), nn.Linear(5, 4), nn.Linear(4, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.second(self.first(inputs).relu()).relu().mean(1))


class Branching(nn.Module):
    """What it does depends on the values, so that it cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.first(inputs).relu()
        return self.head(hidden if float(inputs.detach().sum()) > -1e9 else -hidden)


class CountsRows(nn.Module):
    """Takes the number of examples from its inputs: flips side by side would not be seen as examples."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.first(inputs).relu().view(inputs.shape[0], -1))


class Mixing(nn.Module):
    """Lets the examples of a batch depend on each other."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.first(inputs).relu()
        return self.head(hidden - hidden.mean(0))


NETWORKS: dict[str, tuple[Any, tuple[int, ...], dict[str, Any]]] = {
    "lenet300": (lambda: LeNet300((6, 5), (1, 3, 3), 4), (1, 3, 3), {"inputs": "all"}),
    "lenet5": (lambda: LeNet5((3, 4, 6), (1, 16, 16), 3), (1, 16, 16), {"inputs": "all", "flatten_inputs": True}),
    "in place": (InPlace, (2, 6, 6), {"inputs": "all"}),
    "residual": (lambda: Residual((3, 6, 12)), (3, 8, 8), {}),
    "sequence": (Sequence, (6, 3), {"inputs": "all"}),
}


def made(name: str) -> tuple[nn.Module, Any, Tensor]:
    """A network in float64 that was pruned already, its structure and some inputs."""
    make, shape, settings = NETWORKS[name]
    network, inputs = make().double().eval(), torch.randn(5, *shape, dtype=torch.float64)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            nn.init.normal_(module.running_mean)
            nn.init.normal_(module.bias)
    structure = find(network, inputs, **settings)
    gates = torch.rand(structure.gate_count) < 0.7
    gates = structure.consistent(structure.protect(gates, torch.rand(structure.gate_count)))
    return network, compact(network, structure, gates), inputs


@pytest.mark.parametrize("name", NETWORKS)
def test_a_closed_gate_is_the_compacted_network(name: str) -> None:
    network, structure, inputs = made(name)
    replay = Replay.of(network, structure, inputs)
    assert replay is not None
    checked = 0
    with replay.ready():
        whole = replay.run(inputs)
        torch.testing.assert_close(whole, network(inputs), rtol=1e-12, atol=1e-12)
        for gates in replay.alike(range(structure.gate_count)):
            for gate, found in zip(gates, replay.flipped(gates).chunk(len(gates)), strict=True):
                smaller, opened = copied(network), torch.ones(structure.gate_count, dtype=torch.bool)
                opened[gate] = False
                if structure.passes_on(opened):
                    compact(smaller, structure, opened)
                    torch.testing.assert_close(found, smaller(inputs), rtol=1e-9, atol=1e-9)
                    checked += 1
    assert checked > structure.gate_count / 2
    assert not network.training and all(not module._forward_pre_hooks for module in network.modules())
    assert all(module.inplace for module in network.modules() if getattr(module, "inplace", None) is not None)


@pytest.mark.parametrize("name", NETWORKS)
def test_flips_of_a_network_with_closed_gates(name: str) -> None:
    """Opening and closing, against the compacted networks of both."""
    network, structure, inputs = made(name)
    replay = Replay.of(network, structure, inputs)
    assert replay is not None
    present = structure.protect(torch.rand(structure.gate_count) < 0.6, torch.rand(structure.gate_count))
    with replay.ready():
        replay.run(inputs, present.double())
        for gates in replay.alike(range(structure.gate_count)):
            for gate, found in zip(gates, replay.flipped(gates).chunk(len(gates)), strict=True):
                other = present.clone()
                other[gate] = ~other[gate]
                if structure.passes_on(other):
                    smaller = copied(network)
                    compact(smaller, structure, other)
                    torch.testing.assert_close(found, smaller(inputs), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("make", [Branching, CountsRows, Mixing])
def test_what_cannot_be_replayed_is_not(make: Any) -> None:
    network, inputs = make(), torch.randn(8, 4)
    assert Replay.of(network, find(network, inputs), inputs) is None


def test_several_inputs_are_not_replayed() -> None:
    network, inputs = LeNet300((4, 3), (5,), 2), torch.randn(3, 5)
    assert Replay.of(network, find(network, inputs), (inputs,)) is None

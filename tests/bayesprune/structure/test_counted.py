"""Attributes in which a network's code keeps a number of channels follow it, where that is exact."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import bayesprune as bp
from bayesprune.data import from_tensors
from bayesprune.structure import compact, find
from bayesprune.structure.blame import agree, gated_outputs
from bayesprune.structure.groups import Structure
from bayesprune.structure.passes import Passes

PASSES = Passes(training_too=False, run=frozenset())


class Counting(nn.Module):
    """Maps in a row by a number of channels that is kept in an attribute, behind a norm over them."""

    def __init__(self, *, side: int = 8) -> None:
        super().__init__()
        self.side, self.width = side, 8
        self.first, self.norm, self.head = nn.Conv2d(1, 8, 3, padding=1), nn.LayerNorm(8), nn.Linear(8, 2)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.first(images.view(-1, 1, self.side, 8)).reshape(len(images), self.width, -1)
        outputs: Tensor = self.head(self.norm(maps.transpose(1, 2)).relu().mean(1))
        return outputs


class Wrong(Counting):
    """The same attribute is a number of other things as well."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * self.width


def half(structure: Structure, seed: int = 0) -> Tensor:
    random = torch.rand(structure.gate_count, generator=torch.Generator().manual_seed(seed))
    return structure.protect(random < 0.5, random)


@torch.no_grad()
@pytest.mark.parametrize("side", [8, 4])
def test_the_right_attribute_follows(side: int) -> None:
    """Also where another one happens to hold the same number."""
    network, images = Counting(side=side).eval(), torch.randn(3, side * 8)
    structure = find(network, images, inputs="none")
    assert [(group.name, group.size, group.counted) for group in structure.groups] == [("first", 8, ("width",))]
    assert not structure.spread
    for seed in range(2):  # a second compaction goes on from the first
        gates = half(structure, seed)
        expected = gated_outputs(deepcopy(network), structure, images, gates, PASSES)
        structure = compact(network, structure, gates)
        assert agree([network(images)], expected) and network.width == int(gates.sum()) and network.side == side


@torch.no_grad()
def test_where_none_is_the_right_one_channels_are_spread() -> None:
    """Behind the norm, too, whose statistics run over what is left."""
    network, images = Wrong().eval(), torch.randn(3, 64)
    structure = find(network, images, inputs="none")
    assert structure.spread == {"first", "norm"} and structure.groups[0].counted == ()
    for seed in range(2):
        gates = half(structure, seed)
        expected = gated_outputs(deepcopy(network), structure, images, gates, PASSES)
        structure = compact(network, structure, gates)
        assert agree([network(images)], expected) and network.width == 8
    left = structure.gate_count
    assert network.get_parameter("norm.layer.weight").shape == (left,)
    assert network.get_submodule("norm.layer").normalized_shape == (left,)
    assert network.get_parameter("head.layer.weight").shape == (2, left)


@pytest.mark.parametrize("make", [Counting, Wrong])
def test_a_run_is_saved_and_loaded(make: Any, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    inputs, targets = torch.randn(90, 64, generator=generator), torch.arange(90) % 2
    torch.manual_seed(0)
    data = from_tensors(inputs, targets)
    pruned = bp.prune(make(), data, "l1-units", epochs=1, batch_size=30, budget="macs=40%", progress=False)
    assert 0 < len(pruned.groups[0].kept) < 8
    loaded = bp.load(pruned.save(tmp_path / "run"), factory=make)
    assert loaded.groups[0].counted == pruned.groups[0].counted
    with torch.no_grad():
        assert torch.equal(loaded.network(inputs), pruned.network(inputs))

"""Exactness on the networks people have, from torchvision."""

from typing import Any

import pytest
import torch

from bayesprune.data.torchvision_guard import import_torchvision
from bayesprune.structure import ExpectedCost, Gating, compact, find, layer_costs

NETWORKS = {
    "vgg16_bn": 15, "resnet18": 12, "mobilenet_v2": 25, "densenet121": 120, "efficientnet_b0": 40,
    "resnext50_32x4d": 21, "shufflenet_v2_x1_0": 37,
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("name", NETWORKS)
def test_compact_equals_gated(name: str, randomise: Any) -> None:
    torch.manual_seed(0)
    network = randomise(getattr(import_torchvision().models, name)(num_classes=10))
    images = torch.randn(3, 3, 32, 32)
    structure = find(network, images)
    assert len(structure.groups) == NETWORKS[name]
    both = torch.ones(structure.gate_count, dtype=torch.bool)
    smaller, outputs = structure, []
    gating = Gating(network, structure)
    for seed in (1, 2):  # gates of the second compaction within those of the first
        random = torch.rand(structure.gate_count, generator=torch.Generator().manual_seed(seed))
        both = structure.protect(both & (random < 0.7), random)
        with gating.applied(both.float()), torch.no_grad():
            outputs.append((both.clone(), network(images)))
    gating.remove()
    for gates, expected in outputs:
        smaller = compact(network, smaller, gates[smaller.original_gates()])
        with torch.no_grad():
            difference = (network(images) - expected).abs().max() / expected.abs().max()
        assert float(difference) <= 1e-5
    assert torch.equal(structure.open_from_kept(smaller.kept()), both)


@pytest.mark.long
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "densenet121"])
def test_expected_cost_at_a_vertex(name: str) -> None:
    torch.manual_seed(0)
    network, images = getattr(import_torchvision().models, name)(num_classes=10), torch.randn(1, 3, 32, 32)
    structure = find(network, images, check=False)
    positions = {layer.name: layer.positions for layer in layer_costs(network, images)}
    random = torch.rand(structure.gate_count)
    gates = structure.protect(random < 0.5, random)
    macs, params = ExpectedCost(network, structure, positions)(gates.double())
    compact(network, structure, gates)
    assert macs.item() == sum(layer.macs for layer in layer_costs(network, images))
    assert params.item() == sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.long
@pytest.mark.parametrize(("name", "size"), [("googlenet", 64), ("inception_v3", 299)])
def test_networks_with_auxiliary_heads_train_when_they_are_compact(name: str, size: int) -> None:
    torch.manual_seed(0)
    network = getattr(import_torchvision().models, name)(num_classes=10, init_weights=False)
    images = torch.randn(2, 3, size, size)
    structure = find(network, images)
    random = torch.rand(structure.gate_count)
    compact(network, structure, structure.protect(random < 0.5, random))
    logits, *others = network.train()(images)
    assert [tuple(each.shape) for each in (logits, *others)] == [(2, 10)] * (3 if name == "googlenet" else 2)

"""Channels that only masked weights read: without them the network is the same function."""

from typing import Any

import torch
from torch import Tensor, nn

from bayesprune.structure import compact, find, read_gates
from bayesprune.structure.matrices import COUNTED


def masked(network: nn.Module, share: float, seed: int) -> dict[str, Tensor]:
    """Random masks of all weights, applied; so large a share stays."""
    generator = torch.Generator().manual_seed(seed)
    masks = {}
    for name, layer in network.named_modules():
        if isinstance(layer, COUNTED):
            shape = layer.weight.shape
            masks[f"{name}.weight"] = (torch.rand(shape, generator=generator) < share).to(layer.weight.dtype)
            layer.weight.data *= masks[f"{name}.weight"]
    return masks


@torch.no_grad()
def test_without_them_every_network_is_the_same_function(case: Any) -> None:
    for seed, share in enumerate((0.3, 0.03, 0.003)):
        network = case.copy()
        masks = masked(network, share, seed)
        before = network(case.example)
        read = read_gates(case.structure, masks)
        compact(network, case.structure, case.structure.consistent(read), masks=masks)
        torch.testing.assert_close(network(case.example), before, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_what_stays_is_what_the_outputs_depend_on() -> None:
    """Every gate by itself: tanh hides nothing, and biases make a unit without inputs count."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(12, 9), nn.Tanh(), nn.Linear(9, 7), nn.Tanh(), nn.Linear(7, 2)).double()
    example = torch.randn(5, 12, dtype=torch.float64)
    structure = find(network, example.float().double(), inputs="all")
    masks = masked(network, 0.12, 4)
    outputs, matters = network(example), []
    for gate in range(structure.gate_count):
        other = nn.Sequential(*(type(layer)(layer.in_features, layer.out_features) if isinstance(layer, nn.Linear)
                                else nn.Tanh() for layer in network)).double()  # fmt: skip
        other.load_state_dict(network.state_dict())
        open_gates = torch.ones(structure.gate_count, dtype=torch.bool)
        open_gates[gate] = False
        compact(other, structure, open_gates)
        matters.append(not torch.equal(other(example), outputs))
    kept, left = structure, -1
    while kept.gate_count != left:
        left = kept.gate_count
        kept = compact(network, kept, read_gates(kept, masks), masks=masks)
    assert 0 < sum(matters) < structure.gate_count - 5
    assert kept.original_gates().tolist() == [gate for gate, does in enumerate(matters) if does]
    torch.testing.assert_close(network(example), outputs)


def test_nothing_is_emptied(case: Any) -> None:
    network = case.copy()
    masks = {name: torch.zeros_like(mask) for name, mask in masked(network, 1.0, 0).items()}
    smaller = compact(network, case.structure, case.structure.consistent(read_gates(case.structure, masks)))
    assert all(len(group.kept) > 0 for group in smaller.groups)
    network(case.example)


def test_a_layer_without_a_mask_reads_everything(case: Any) -> None:
    assert bool(read_gates(case.structure, {}).all())

"""Gates on the inputs that a network still selects are exact: gated, and compacted."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from bayesprune.structure import ExpectedCost, Gating, Structure, compact, find, layer_costs
from bayesprune.structure.selected_inputs import with_input_gates


class TwoReaders(nn.Module):
    """Two layers read the input."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.out = nn.Linear(9, 4), nn.Linear(9, 4), nn.Linear(4, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        flat = inputs.flatten(1)
        outputs: Tensor = self.out(self.left(flat).relu() * self.right(flat))
        return outputs


NETWORKS = {
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(9, 5), nn.ReLU(), nn.Linear(5, 2)),
    "two readers": TwoReaders,
    "channels": lambda: nn.Sequential(nn.Conv2d(3, 5, 1), nn.ReLU(), nn.Conv2d(5, 4, 1), nn.Flatten(), nn.Linear(4, 2)),
}
SHAPES = {"linear": (1, 3, 3), "two readers": (1, 3, 3), "channels": (3, 1, 1)}


def pruned(name: str) -> tuple[nn.Module, Structure, Structure, Tensor]:
    """A network some of whose inputs are gone, its structure then, the one found anew, and inputs."""
    torch.manual_seed(0)
    network, example = NETWORKS[name](), torch.randn(6, *SHAPES[name])
    structure = find(network, example, inputs="all")
    open_gates = torch.ones(structure.gate_count, dtype=torch.bool)
    open_gates[structure.slices()["inputs"]] = torch.arange(structure.groups[0].size) % 3 != 1
    before = compact(network, structure, open_gates)
    return network, before, with_input_gates(network, find(network, example, inputs="all"), example, (), "all"), example


@pytest.mark.parametrize("name", NETWORKS)
def test_the_structure_is_that_of_the_run_that_selected_them(name: str) -> None:
    network, before, after, example = pruned(name)
    assert before.kept() == {name.removesuffix(".layer"): kept for name, kept in after.kept().items()}
    assert [group.size for group in after.groups] == [group.size for group in before.groups]
    for one, other in zip(before.groups, after.groups, strict=True):
        assert one.kind == other.kind and {*one.consumers} >= {c.removesuffix(".layer") for c in other.consumers}
    positions = {layer.name: layer.positions for layer in layer_costs(network, example)}
    theta = torch.rand(after.gate_count, dtype=torch.float64)
    costs = [ExpectedCost(network, structure, positions)(theta) for structure in (before, after)]
    assert costs[0] == costs[1]


@pytest.mark.parametrize("name", NETWORKS)
def test_gating_and_removing_are_the_same_function(name: str) -> None:
    network, _, structure, example = pruned(name)
    open_gates = torch.arange(structure.gate_count) % 2 == 0
    open_gates = structure.consistent(structure.protect(open_gates, torch.rand(structure.gate_count)))
    gating = Gating(network, structure)
    with torch.no_grad(), gating.applied(open_gates.float()):
        expected = network(example)
    gating.remove()
    smaller = deepcopy(network)
    compact(smaller, structure, open_gates)
    torch.testing.assert_close(smaller(example), expected)
    assert sum(p.numel() for p in smaller.parameters()) < sum(p.numel() for p in network.parameters())


def test_networks_without_selectors_and_settings_that_want_none_are_left_alone() -> None:
    network, example = NETWORKS["linear"](), torch.randn(2, 1, 3, 3)
    structure = find(network, example)
    assert with_input_gates(network, structure, example, (), "auto") is structure
    network, _, structure, example = pruned("channels")
    plain = find(network, example, inputs="all")
    for keep, inputs in (((), "none"), (("inputs",), "all"), ((), "auto")):
        assert with_input_gates(network, plain, example, keep, inputs) is plain

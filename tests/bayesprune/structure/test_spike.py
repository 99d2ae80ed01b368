"""The node spike and the gate: the same where the path maps 0 to 0, folded or refused where it does not."""

import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bayesprune.errors import UnsupportedLayerError
from bayesprune.models.networks import LeNet5, LeNet300
from bayesprune.structure import (
    Gating,
    Structure,
    compact,
    find,
    fold_spikes,
    maps_zero_to_zero,
    spike_outputs,
)


def difference(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max() / other.abs().max().clamp_min(1e-12))


@torch.no_grad()
def outputs_of(network: nn.Module, inputs: Tensor) -> Tensor:
    outputs: Tensor = network.eval()(inputs)
    return outputs


@torch.no_grad()
def gated(network: nn.Module, structure: Structure, open_gates: Tensor, inputs: Tensor) -> Tensor:
    gating = Gating(network, structure)
    with gating.applied(open_gates.float()):
        outputs = outputs_of(network, inputs)
    gating.remove()
    return outputs


def spike(network: nn.Module, structure: Structure, open_gates: Tensor) -> Any:
    return spike_outputs(network, structure, open_gates)


def fold(network: nn.Module, structure: Structure, open_gates: Tensor, inputs: Tensor) -> tuple[Any, Structure]:
    return fold_spikes(network, structure, open_gates, inputs)


class Path(nn.Module):
    """conv1 (6 filters), a path given, a second layer given, and a linear layer over flattened features."""

    def __init__(self, path: nn.Module, second: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1, self.path = nn.Conv2d(2, 6, 3), path
        self.second = nn.Conv2d(6, 5, 3) if second is None else second
        self.head = nn.LazyLinear(3)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.path(self.conv1(images))
        logits: Tensor = self.head(self.second(maps).relu().flatten(1))
        return logits


@pytest.fixture
def images() -> Tensor:
    return torch.randn(4, 2, 8, 8, generator=torch.Generator().manual_seed(0))


def found(network: nn.Module, inputs: Tensor) -> tuple[Any, Structure, Tensor]:
    """The network, its structure, and gates some of which are closed in every group."""
    outputs_of(network, inputs)
    structure = find(network, inputs)
    random = torch.rand(structure.gate_count, generator=torch.Generator().manual_seed(1))
    return network, structure, structure.protect(random < 0.5, random)


PATHS: dict[str, tuple[Callable[[], nn.Module], bool]] = {
    "relu": (nn.ReLU, True),
    "tanh": (nn.Tanh, True),
    "pooling": (lambda: nn.Sequential(nn.ReLU6(), nn.AvgPool2d(2, 1)), True),
    "prelu": (lambda: nn.PReLU(6), True),
    "fresh batch normalisation": (lambda: nn.BatchNorm2d(6), True),
    "sigmoid": (nn.Sigmoid, False),
    "batch normalisation": (lambda: nn.BatchNorm2d(6), False),
    "normalised and rectified": (lambda: nn.Sequential(nn.BatchNorm2d(6), nn.ReLU()), False),
    "softplus": (lambda: nn.Sequential(nn.ReLU(), nn.Softplus()), False),
}


@pytest.mark.parametrize("name", PATHS)
def test_spike_equals_gate_where_zero_stays_zero(name: str, images: Tensor, randomise: Any) -> None:
    torch.manual_seed(0)
    make, stays = PATHS[name]
    network = Path(make()) if name.startswith("fresh") else randomise(Path(make()))
    network, structure, gates = found(network, images)
    assert maps_zero_to_zero(network, structure, images) == {"conv1": stays, "second": True}
    spiked = outputs_of(spike(network, structure, gates), images)
    apart = difference(spiked, gated(network, structure, gates, images))
    assert apart <= 1e-5 if stays else apart > 1e-2


@pytest.mark.parametrize("name", PATHS)
def test_folded_network_equals_the_spiked_one(name: str, images: Tensor, randomise: Any) -> None:
    torch.manual_seed(0)
    network, structure, gates = found(randomise(Path(PATHS[name][0]())), images)
    before = deepcopy(network.state_dict())
    expected = outputs_of(spike(network, structure, gates), images)
    folded, folded_structure = fold(network, structure, gates, images)
    assert difference(outputs_of(folded, images), expected) <= 1e-5
    more = torch.randn(5, 2, 8, 8)  # exact for other inputs than the example too
    spiked = outputs_of(spike(network, structure, gates), more)
    assert difference(outputs_of(folded, more), spiked) <= 1e-5
    assert difference(gated(folded, folded_structure, gates, images), expected) <= 1e-5
    compact(folded, folded_structure, gates)
    assert difference(outputs_of(folded, images), expected) <= 1e-5
    assert all(torch.equal(before[key], tensor) for key, tensor in network.state_dict().items())


def test_spiked_weights_and_biases_are_zero(images: Tensor, randomise: Any) -> None:
    network, structure, gates = found(randomise(Path(nn.BatchNorm2d(6))), images)
    spiked = spike(network, structure, gates)
    for layer, place in zip(("conv1", "second"), structure.slices().values(), strict=True):
        for tensor in ("weight", "bias"):
            now, before = (net.get_parameter(f"{layer}.{tensor}") for net in (spiked, network))
            assert not bool(now[~gates[place]].any()) and torch.equal(now[gates[place]], before[gates[place]])
    assert torch.equal(spiked.path.bias, network.path.bias) and torch.equal(spiked.head.weight, network.head.weight)


def test_an_input_is_spiked_at_the_weights_that_read_it() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(4, 1, 4, 4)
    network, structure, gates = found(LeNet300((6, 5), (1, 4, 4), 3), inputs)
    assert maps_zero_to_zero(network, structure, inputs) == {"inputs": True, "fc1": True, "fc2": True}
    spiked = spike(network, structure, gates)
    assert not bool(spiked.fc1.weight[:, ~gates[:16]].any())
    assert difference(outputs_of(spiked, inputs), gated(network, structure, gates, inputs)) <= 1e-6


def test_flattened_features() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(4, 1, 20, 20)
    network = LeNet5((3, 4, 5), (1, 20, 20), 3)
    structure = find(network, inputs, flatten_inputs=True)
    random = torch.rand(structure.gate_count)
    gates = structure.protect(random < 0.6, random)
    assert all(maps_zero_to_zero(network, structure, inputs).values())
    spiked = outputs_of(spike(network, structure, gates), inputs)
    assert difference(spiked, gated(network, structure, gates, inputs)) <= 1e-6


def test_constants_of_several_layers_are_folded_one_after_the_other() -> None:
    """A folded constant of the first layer is part of what the second layer's nodes see."""
    torch.manual_seed(0)
    network: Any = nn.Sequential(
        nn.Linear(4, 6), nn.Sigmoid(), nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Sigmoid(), nn.Linear(5, 3)
    )
    inputs = torch.randn(7, 4)
    network, structure, gates = found(network, inputs)
    expected = outputs_of(spike(network, structure, gates), inputs)
    folded, _ = fold(network, structure, gates, inputs)
    assert difference(outputs_of(folded, inputs), expected) <= 1e-5
    half = 0.5 * network[2].weight[:, ~gates[4:10]].sum(1)  # sigmoid(0) = 1/2 of each closed node
    open_nodes = gates[10:15]
    torch.testing.assert_close((folded[2].bias - network[2].bias)[open_nodes], half[open_nodes])


REFUSED = {
    "padded": lambda: nn.Conv2d(6, 5, 3, padding=1),
    "padded to the same size": lambda: nn.Conv2d(6, 5, 3, padding="same"),
    "transposed": lambda: nn.ConvTranspose2d(6, 5, 3, stride=2),
}
FOLDED = {
    "padded around": lambda: nn.Conv2d(6, 5, 3, padding=1, padding_mode="circular"),
    "padded by repetition": lambda: nn.Conv2d(6, 5, 3, padding=1, padding_mode="replicate"),
    "strided": lambda: nn.Conv2d(6, 5, 3, stride=2),
    "pointwise": lambda: nn.Conv2d(6, 5, 1),
    "transposed one by one": lambda: nn.ConvTranspose2d(6, 5, 1),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_constant_seen_beside_zeros_is_refused(name: str, images: Tensor) -> None:
    torch.manual_seed(0)
    network, structure, gates = found(Path(nn.Sigmoid(), REFUSED[name]()), images)
    with pytest.raises(UnsupportedLayerError, match="'second' does not answer"):
        fold(network, structure, gates, images)
    network.path = nn.ReLU()  # no constant, nothing to refuse
    folded, _ = fold(network, structure, gates, images)
    expected = outputs_of(spike(network, structure, gates), images)
    assert difference(outputs_of(folded, images), expected) <= 1e-5


@pytest.mark.parametrize("name", FOLDED)
def test_a_constant_seen_alike_everywhere_is_folded(name: str, images: Tensor) -> None:
    torch.manual_seed(0)
    network, structure, gates = found(Path(nn.Sigmoid(), FOLDED[name]()), images)
    expected = outputs_of(spike(network, structure, gates), images)
    assert difference(expected, gated(network, structure, gates, images)) > 1e-2
    folded, structure = fold(network, structure, gates, images)
    compact(folded, structure, gates)
    assert difference(outputs_of(folded, images), expected) <= 1e-5


def test_only_closed_nodes_matter(images: Tensor) -> None:
    """A padded layer whose nodes are all open has nothing to fold."""
    network, structure, gates = found(Path(nn.Sigmoid(), nn.Conv2d(6, 5, 3, padding=1)), images)
    gates[structure.slices()["conv1"]] = True
    folded, _ = fold(network, structure, gates, images)
    expected = outputs_of(spike(network, structure, gates), images)
    assert difference(outputs_of(folded, images), expected) <= 1e-5


def test_a_consumer_without_a_bias_gets_one_that_is_cut_along(images: Tensor, randomise: Any) -> None:
    torch.manual_seed(0)
    network = randomise(Path(nn.BatchNorm2d(6), nn.Conv2d(6, 5, 3, bias=False)))
    network, structure, gates = found(network, images)
    folded, folded_structure = fold(network, structure, gates, images)
    assert network.second.bias is None and folded.second.bias.shape == (5,)
    expected = outputs_of(spike(network, structure, gates), images)
    smaller = compact(folded, folded_structure, gates)
    assert len(folded.second.bias) == len(smaller.kept()["second"]) < 5
    assert difference(outputs_of(folded, images), expected) <= 1e-5


def test_the_zoo(case: Any) -> None:
    """Spike and gate agree where every group maps 0 to 0; elsewhere folding is exact or refuses by name."""
    structure, padded = case.structure, set()
    for seed in range(4):
        gates = case.gates(seed)
        spiked = outputs_of(spike(case.network, structure, gates), case.example)
        if all(maps_zero_to_zero(case.network, structure, case.example).values()):
            assert difference(spiked, gated(case.copy(), structure, gates, case.example)) <= 1e-5
        try:
            folded, folded_structure = fold(case.network, structure, gates, case.example)
        except UnsupportedLayerError as error:
            refused = re.findall("layer '(.*)' does not answer", str(error))
            padded.update(refused)
            continue
        assert difference(outputs_of(folded, case.example), spiked) <= 1e-5
        compact(folded, folded_structure, gates)
        assert difference(outputs_of(folded, case.example), spiked) <= 1e-5
    for layer in padded:
        convolution = case.network.get_submodule(layer)
        assert isinstance(convolution, nn.ConvTranspose2d) or any(convolution.padding)


def test_after_a_compaction(zoo: Any) -> None:
    case = zoo("series")
    network = case.copy()
    structure = compact(network, case.structure, case.gates(2))
    gates = case.gates(3, structure)
    assert maps_zero_to_zero(network, structure, case.example)["conv1"] is False  # batch normalisation
    expected = outputs_of(spike(network, structure, gates), case.example)
    assert expected.shape == (3, 3)


def test_modes_and_hooks_stay(zoo: Any) -> None:
    case = zoo("residual")
    network = case.copy().train()
    maps_zero_to_zero(network, case.structure, case.example)
    assert all(module.training for module in network.modules())
    assert not any(module._forward_pre_hooks for module in network.modules())

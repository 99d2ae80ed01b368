"""Which groups are found, what is kept out, and that looking changes nothing."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, linear

from bayesprune.errors import InputShapeError, NetworkError, SettingError, UnsupportedLayerError
from bayesprune.models.networks import Conv4, LeNet5, LeNet300
from bayesprune.structure import Gating, find

SERIES = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
MNIST = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def sizes(network: nn.Module, example: Tensor, **options: Any) -> dict[str, int]:
    return {group.name: group.size for group in find(network, example, **options).groups}


def test_groups_of_the_lenets() -> None:
    assert sizes(LeNet300(), MNIST) == {"inputs": 784, "fc1": 300, "fc2": 100}
    assert sizes(LeNet5(), MNIST) == {"conv1": 20, "conv2": 50, "fc1": 500}
    assert sizes(LeNet5(), MNIST, inputs="all") == {"inputs": 1, "conv1": 20, "conv2": 50, "fc1": 500}
    assert sizes(LeNet5(), MNIST, flatten_inputs=True) == {
        "conv1": 20, "conv2": 50, "fc1": 500, "fc1.inputs": 800,
    }  # fmt: skip
    assert sizes(LeNet300(), MNIST, inputs="none") == {"fc1": 300, "fc2": 100}
    assert list(sizes(Conv4(), torch.randn(1, 3, 32, 32))) == ["conv1", "conv2", "conv3", "conv4", "fc1", "fc2"]


def test_groups_of_coupled_layers(zoo: Any) -> None:
    groups = {group.name: group for group in zoo("residual").structure.groups}
    assert {name: group.size for name, group in groups.items()} == {
        "inputs": 3, "stem": 6, "blocks.0.conv1": 5, "blocks.1.conv1": 5, "blocks.1.conv2": 8, "blocks.2.conv1": 5,
    }  # fmt: skip
    assert groups["stem"].producers == ("stem", "blocks.0.conv2", "blocks.0.norm2")
    assert groups["stem"].consumers == ("blocks.0.conv1", "blocks.1.conv1", "blocks.1.bypass.0")
    assert "mixer" in groups["blocks.1.conv2"].producers and "mixer" in groups["blocks.1.conv2"].consumers
    depthwise = {group.name: group for group in zoo("depthwise").structure.groups}
    assert depthwise["stem.0"].producers == ("stem.0", "stem.1", "depthwise.0", "depthwise.1")
    concatenating = {group.name: group.size for group in zoo("concatenating").structure.groups}
    assert concatenating == {"first": 4, "second": 5, "left": 7, "last": 6, "head.inputs": 54}


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        (["fc1"], {"inputs": 6, "fc2": 4}),
        (["inputs"], {"fc1": 5, "fc2": 4}),
        (["inputs", "fc1", "fc2"], {}),
        (["fc3"], {"inputs": 6, "fc1": 5, "fc2": 4}),
        ("fc2", {"inputs": 6, "fc1": 5}),
    ],
)
def test_keep_excludes_layers(keep: Any, left: dict[str, int]) -> None:
    assert sizes(LeNet300((5, 4), (1, 2, 3), 3), torch.randn(2, 1, 2, 3), keep=keep) == left


def test_keep_by_the_name_of_a_module_around(zoo: Any) -> None:
    case = zoo("residual")
    assert sizes(case.network, case.example, keep=["blocks"]) == {}
    assert sizes(case.network, case.example, keep=["blocks.0"]) == {
        "blocks.1.conv1": 5, "blocks.1.conv2": 8, "blocks.2.conv1": 5,
    }  # fmt: skip
    assert "stem" not in sizes(case.network, case.example, keep=["blocks.0.norm2"])


def test_keep_flattened_features() -> None:
    everything = sizes(LeNet5(), MNIST, flatten_inputs=True, keep=["conv1"])
    assert everything == {"conv2": 50, "fc1": 500, "fc1.inputs": 800}
    for keep in (["fc1.inputs"], ["fc1", "fc1.inputs"]):
        assert "fc1.inputs" not in sizes(LeNet5(), MNIST, flatten_inputs=True, keep=keep)


@pytest.mark.parametrize("name", ["fc9", "conv", "fc1.weight", ""])
def test_keep_of_a_layer_that_is_not_there(name: str) -> None:
    with pytest.raises(SettingError, match=f"{name!r}.*fc1, fc2, fc3, inputs"):
        find(LeNet300((5, 4), (1, 2, 3), 3), torch.randn(2, 1, 2, 3), keep=[name])


class _Several(nn.Module):
    """Returns hidden features beside the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(4, 5), nn.Linear(5, 6), nn.Linear(6, 2)

    def forward(self, inputs: Tensor) -> dict[str, Any]:
        hidden = self.fc1(inputs).relu()
        return {"logits": self.fc3(self.fc2(hidden).relu()), "more": (hidden,)}


def test_channels_that_reach_an_output_stay() -> None:
    assert sizes(_Several(), SERIES) == {"inputs": 4, "fc2": 6}
    ends_in_norm = nn.Sequential(nn.Conv1d(3, 5, 1), nn.ReLU(), nn.Conv1d(5, 4, 1), nn.BatchNorm1d(4))
    assert sizes(ends_in_norm, SERIES) == {"0": 5}
    assert sizes(nn.Linear(4, 2), SERIES) == {}


class _Optional(nn.Module):
    """Takes a second argument, which a batch of two must not be taken for."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 5), nn.Linear(5, 2)

    def forward(self, inputs: Tensor, shift: Tensor | None = None) -> Tensor:
        hidden = self.fc1(inputs).relu()
        logits: Tensor = self.fc2(hidden) if shift is None else shift * hidden.sum()
        return logits


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_the_batch_is_one_argument(batch: int) -> None:
    assert sizes(_Optional(), torch.randn(batch, 4)) == {"inputs": 4, "fc1": 5}
    assert sizes(LeNet5(), MNIST[:1].expand(batch, -1, -1, -1)) == {"conv1": 20, "conv2": 50, "fc1": 500}


class _SplitPair(nn.Module):
    """Two layers write parts of what a third one writes as a whole."""

    def __init__(self) -> None:
        super().__init__()
        self.whole, self.left, self.right = nn.Conv1d(3, 7, 1), nn.Conv1d(3, 3, 1), nn.Conv1d(3, 4, 1)
        self.head = nn.Conv1d(7, 2, 1)

    def forward(self, series: Tensor) -> Tensor:
        parts = torch.cat([self.left(series), self.right(series)], 1)
        outputs: Tensor = self.head(self.whole(series).tanh() + parts)
        return outputs


def test_layers_that_share_a_maker_are_one_group() -> None:
    structure = find(_SplitPair(), SERIES)
    assert structure.slices() == {"whole": slice(0, 7)}  # the layer that is registered first makes all of them
    assert structure.groups[0].producers == ("whole", "left", "right")
    assert [axis.gates.tolist() for axis in structure.axes if axis.layer == "right"] == [[3, 4, 5, 6]] * 2


def test_an_example_that_does_not_fit() -> None:
    with pytest.raises(InputShapeError, match=r"\(2, 3, 9\)"):
        find(LeNet300(), torch.randn(2, 3, 9))


class _Listing(nn.BatchNorm1d):
    """A layer that does not give back what layers of its kind do."""

    def forward(self, inputs: Tensor) -> list[Tensor]:  # type: ignore[override]  # on purpose
        return [inputs]


class _Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.fc = _Listing(3), nn.Linear(4, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.fc(self.norm(inputs)[0])
        return outputs


def test_a_network_that_cannot_be_traced() -> None:
    with pytest.raises(NetworkError, match="cannot be traced for groups of channels at 'norm'"):
        find(_Odd(), SERIES)


def hooks(network: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules())


class _Sampled(nn.Module):
    """Hangs on a number that is computed past torch."""

    def forward(self, features: Tensor) -> Tensor:
        return features * float(features.detach().numpy().std())


@pytest.mark.parametrize("fails", [False, True])
def test_looking_changes_nothing(zoo: Any, fails: bool) -> None:
    case = zoo("residual")
    network: Any = nn.Sequential(case.copy(), nn.LayerNorm(4), nn.Linear(4, 4), nn.Dropout()).train()
    network[0].blocks[1].eval()
    network[0].stem.weight.requires_grad_(False)
    if fails:
        network = nn.Sequential(*network, _Sampled(), nn.Linear(4, 2))
    before = deepcopy(network.state_dict())
    modes = {name: module.training for name, module in network.named_modules()}
    flags = {name: parameter.requires_grad for name, parameter in network.named_parameters()}
    objects = [id(parameter) for parameter in network.parameters()]
    random, grad = torch.get_rng_state(), torch.is_grad_enabled()
    if fails:
        with pytest.raises(UnsupportedLayerError):
            find(network, case.example)
    else:
        find(network, case.example, keep=["0.head"])
    assert {name: module.training for name, module in network.named_modules()} == modes
    assert {name: parameter.requires_grad for name, parameter in network.named_parameters()} == flags
    assert [id(parameter) for parameter in network.parameters()] == objects
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert hooks(network) == 0 and torch.equal(torch.get_rng_state(), random) and torch.is_grad_enabled() == grad


def test_found_without_gradients_and_with_hooks_of_others(zoo: Any) -> None:
    case = zoo("prelu")
    network = case.copy()
    gating = Gating(network, case.structure)
    with torch.no_grad():
        structure = find(network, case.example, flatten_inputs=True)
    assert structure.slices() == case.structure.slices()
    gating.remove()
    assert hooks(network) == 0


class Pairs(nn.Module):
    """What two inputs have in common; torch holds their lengths above a single number."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        return cosine_similarity(self.body(one), self.body(other))


def test_functions_that_compare_with_a_single_number_are_followed() -> None:
    groups = find(Pairs(), (torch.randn(3, 6), torch.randn(3, 6))).groups
    assert [(group.name, group.size) for group in groups] == [("body.0", 8)]


class TiedDecoder(nn.Module):
    """An autoencoder whose decoder is the encoder's weight, transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.bias = nn.Linear(12, 8), nn.Parameter(torch.zeros(12))

    def forward(self, inputs: Tensor) -> Tensor:
        return linear(torch.relu(self.encoder(inputs)), self.encoder.weight.t(), self.bias)


def test_a_weight_that_is_read_along_both_axes_is_followed() -> None:
    structure = find(TiedDecoder(), torch.randn(4, 12))
    assert [(group.name, group.size) for group in structure.groups] == [("encoder", 8)]  # no inputs: they are outputs


def test_an_example_with_nan_is_refused() -> None:
    example = torch.rand(2, 3)
    example[1, 2] = float("nan")
    with pytest.raises(InputShapeError, match="the example holds NaN"):
        find(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), example)

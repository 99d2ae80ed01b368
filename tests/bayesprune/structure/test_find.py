"""Which groups are found, what is kept out, and that looking changes nothing."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bayesprune.errors import InputShapeError, NetworkError, SettingError, UnsupportedLayerError
from bayesprune.models.networks import Conv4, LeNet5, LeNet300
from bayesprune.structure import Gating, find

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


class _With(nn.Module):
    """A linear layer, something in the middle, another linear layer, on inputs [B, 3, 4]."""

    def __init__(self, middle: nn.Module) -> None:
        super().__init__()
        self.before, self.middle, self.after, self.head = nn.Linear(4, 8), middle, nn.Linear(8, 6), nn.Linear(6, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.middle(self.before(inputs))
        logits: Tensor = self.head(self.after(hidden[0] if isinstance(hidden, tuple) else hidden).relu().mean(1))
        return logits


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        attended: Tensor = self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return attended


class _Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.factors = nn.Parameter(torch.rand(8))

    def forward(self, features: Tensor) -> Tensor:
        return features * self.factors


class _Convolved(nn.Module):
    """Convolutions over the middle axis, the middle one given."""

    def __init__(self, middle: nn.Module) -> None:
        super().__init__()
        self.before, self.middle, self.after = nn.Conv1d(3, 8, 1), middle, nn.Conv1d(8, 6, 1)
        self.head = nn.Linear(6, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.head(self.after(self.middle(self.before(inputs))).relu().mean(2))
        return logits


class _Embedded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix, self.head = nn.Embedding(7, 8), nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        stream = self.embed(tokens).mean(1)
        logits: Tensor = self.head(stream + self.mix(stream))
        return logits


class _Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.one, self.two, self.head = (nn.Linear(4, 4) for _ in range(4))
        self.two.weight = self.one.weight

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.head(self.two(self.one(self.first(inputs).relu()).relu()).relu())
        return logits


NORMALISED = nn.utils.parametrizations.weight_norm
SERIES = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
TROUBLE: dict[str, tuple[Any, str, str, str]] = {
    "layernorm": (lambda: _With(nn.LayerNorm(8)), "LayerNorm 'middle' mixes channels", "middle", "after"),
    "groupnorm": (lambda: _Convolved(nn.GroupNorm(2, 8)), "GroupNorm 'middle' mixes channels", "middle", "after"),
    "grouped": (lambda: _Convolved(nn.Conv1d(8, 8, 1, groups=2)), "Conv1d 'middle' reads its channels in groups",
                "middle", "after"),
    "two filters a channel": (lambda: _Convolved(nn.Sequential(nn.Conv1d(8, 16, 1, groups=8), nn.Conv1d(16, 8, 1))),
                              "Conv1d 'middle.0' reads its channels in groups", "middle", "after"),
    "lstm": (lambda: _With(nn.LSTM(8, 8, batch_first=True)), "LSTM 'middle'", "middle", "after"),
    "gru": (lambda: _With(nn.GRU(8, 8, batch_first=True)), "GRU 'middle'", "middle", "after"),
    "rnn": (lambda: _With(nn.RNN(8, 8, batch_first=True)), "RNN 'middle'", "middle", "after"),
    "attention": (lambda: _With(_Attention()), "MultiheadAttention 'middle.attention'", "middle", "after"),
    "own layer": (lambda: _With(_Scale()), "_Scale 'middle'", "middle", "after"),
    "weight norm": (lambda: _With(NORMALISED(nn.Linear(8, 8))), "'middle' has a weight that is computed", "middle",
                    "after"),
    "softmax": (lambda: _With(nn.Softmax(-1)), "group 'before'.*mixes", "before", "after"),
    "local response": (lambda: _Convolved(nn.LocalResponseNorm(3)), "LocalResponseNorm 'middle' mixes", "middle",
                       "after"),
    "weakly mixing": (lambda: _Convolved(_Response()), "group 'before'.*mixes", "before", "after"),
    "flipped": (lambda: _With(_Flip()), "group 'before'.*rearranges", "before", "after"),
    "halves": (lambda: _With(_Halves()), "group 'before'", "before", "after"),
}  # fmt: skip


class _Response(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return nn.functional.local_response_norm(features, 3)


class _Flip(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return features.flip(-1)


class _Halves(nn.Module):
    """A gated linear unit without its linear layer: the number of channels is counted on."""

    def forward(self, features: Tensor) -> Tensor:
        value, gate = features.chunk(2, -1)
        return torch.cat([value * gate.sigmoid(), value], -1)


@pytest.mark.parametrize("name", TROUBLE)
def test_what_cannot_be_cut_is_refused_by_name_until_kept(name: str) -> None:
    torch.manual_seed(0)
    make, message, keep, still_there = TROUBLE[name]
    network = make()
    with pytest.raises(UnsupportedLayerError, match=message) as caught:
        find(network, SERIES)
    assert "keep=[...]" in str(caught.value)
    inputs = {"inputs": 4} if isinstance(network, _With) else {}
    assert sizes(network, SERIES, keep=[keep]) == inputs | {still_there: 6}


def test_tied_layers() -> None:
    with pytest.raises(UnsupportedLayerError, match="Linear 'one' shares a parameter with another layer"):
        find(_Tied(), SERIES)
    assert sizes(_Tied(), SERIES, keep=["one", "two"]) == {"inputs": 4}


def test_inputs_that_cannot_be_selected_are_left_alone() -> None:
    network = nn.Sequential(NORMALISED(nn.Linear(4, 5)), nn.ReLU(), nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 2))
    assert sizes(network, torch.randn(2, 4), keep=["0"]) == {"2": 6}


class _Forbidding(nn.Module):
    """Logits of minus infinity for a class that is ruled out."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.fc2(self.fc1(inputs).relu()).masked_fill(torch.tensor([False, True, False]), float("-inf"))


def test_outputs_that_are_not_finite() -> None:
    assert sizes(_Forbidding(), torch.randn(2, 4)) == {"inputs": 4, "fc1": 5}


def test_embeddings() -> None:
    tokens = torch.randint(7, (2, 3), generator=torch.Generator().manual_seed(0))
    with pytest.raises(UnsupportedLayerError, match="Embedding 'embed'"):
        find(_Embedded(), tokens)
    assert sizes(_Embedded(), tokens, keep=["embed"]) == {}


def test_recurrent_layers_do_not_hide_what_comes_after() -> None:
    network = nn.Sequential(_Last(nn.LSTM(4, 5, batch_first=True)), nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 2))
    assert sizes(network, SERIES) == {"1": 6}


class _Last(nn.Module):
    def __init__(self, layer: nn.LSTM) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, series: Tensor) -> Tensor:
        last: Tensor = self.layer(series)[0][:, -1]
        return last


class _Loose(nn.Module):
    """A parameter of the network's own that acts on channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head, self.factors = nn.Conv1d(3, 8, 1), nn.Conv1d(8, 2, 1), nn.Parameter(torch.rand(8, 1))

    def forward(self, series: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.conv(series) * self.factors)
        return outputs


def test_a_loose_parameter_is_named() -> None:
    with pytest.raises(UnsupportedLayerError, match=r"parameter 'factors'.*name 'conv' in keep"):
        find(_Loose(), SERIES)
    assert sizes(_Loose(), SERIES, keep=["conv"]) == {}


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
    """Two groups share the layer that is registered first."""

    def __init__(self) -> None:
        super().__init__()
        self.whole, self.left, self.right = nn.Conv1d(3, 7, 1), nn.Conv1d(3, 3, 1), nn.Conv1d(3, 4, 1)
        self.head = nn.Conv1d(7, 2, 1)

    def forward(self, series: Tensor) -> Tensor:
        parts = torch.cat([self.left(series), self.right(series)], 1)
        outputs: Tensor = self.head(self.whole(series).tanh() + parts)
        return outputs


def test_names_of_groups_differ() -> None:
    structure = find(_SplitPair(), SERIES)
    assert structure.slices() == {"whole": slice(0, 3), "right": slice(3, 7)}
    assert "whole" in structure.groups[1].producers


def test_an_example_that_does_not_fit() -> None:
    with pytest.raises(InputShapeError, match=r"\(2, 3, 9\)"):
        find(LeNet300(), torch.randn(2, 3, 9))


def test_a_network_that_cannot_be_traced() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 2)

        def forward(self, inputs: Tensor) -> Tensor:
            if torch.is_grad_enabled():
                raise KeyError("no gradients here")
            outputs: Tensor = self.fc(inputs)
            return outputs

    with pytest.raises(NetworkError, match="cannot be traced"):
        find(Odd(), SERIES)


def hooks(network: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules())


@pytest.mark.parametrize("fails", [False, True])
def test_looking_changes_nothing(zoo: Any, fails: bool) -> None:
    case = zoo("residual")
    network: Any = nn.Sequential(case.copy(), nn.LayerNorm(4), nn.Linear(4, 4), nn.Dropout()).train()
    network[0].blocks[1].eval()
    network[0].stem.weight.requires_grad_(False)
    if fails:
        network = nn.Sequential(*network, nn.LayerNorm(4), nn.Linear(4, 2))
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


def test_checks_see_through_initial_values() -> None:
    """A fresh normalisation is the same for all channels: cutting it at wrong ones must not go unnoticed."""

    class Shuffled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm, self.head = nn.Conv1d(3, 8, 1), nn.BatchNorm1d(8), nn.Conv1d(8, 2, 1)

        def forward(self, series: Tensor) -> Tensor:
            outputs: Tensor = self.head(self.norm(self.conv(series).flip(1)).flip(1))
            return outputs

    with pytest.raises(UnsupportedLayerError, match="'conv'"):
        find(Shuffled(), SERIES)

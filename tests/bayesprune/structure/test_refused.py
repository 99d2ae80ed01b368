"""What cannot be cut exactly is refused by name, and usable once it is kept."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bayesprune.errors import UnsupportedLayerError
from bayesprune.structure import find

SERIES = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
NORMALISED = nn.utils.parametrizations.weight_norm


def sizes(network: nn.Module, example: Tensor, **options: Any) -> dict[str, int]:
    return {group.name: group.size for group in find(network, example, **options).groups}


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
    advised = list(caught.value.keep)
    assert f"keep={advised}" in str(caught.value) and "\n" not in str(caught.value)
    assert sum(sizes(network, SERIES, keep=advised).values()) == caught.value.left
    inputs = {"inputs": 4} if isinstance(network, _With) else {}
    assert sizes(network, SERIES, keep=[keep]) == inputs | {still_there: 6}


def test_tied_layers() -> None:
    with pytest.raises(UnsupportedLayerError, match="Linear 'one', 'two': each shares a parameter with another layer"):
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
    with pytest.raises(
        UnsupportedLayerError,
        match=r"parameter 'factors' acts on channels by itself: .*keep=\['conv'\]; then nothing is left",
    ):
        find(_Loose(), SERIES)
    assert sizes(_Loose(), SERIES, keep=["conv"]) == {}


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

"""What cannot be cut exactly is left whole with the reason, or refused by name and usable once it is kept."""

import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bayesprune.errors import NetworkError, UnsupportedLayerError
from bayesprune.structure import find
from bayesprune.structure.passes import look
from bayesprune.structure.verify import blamed

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


class _Convolved(nn.Module):
    """Convolutions over the middle axis, the middle one given."""

    def __init__(self, middle: nn.Module) -> None:
        super().__init__()
        self.before, self.middle, self.after = nn.Conv1d(3, 8, 1), middle, nn.Conv1d(8, 6, 1)
        self.head = nn.Linear(6, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.head(self.after(self.middle(self.before(inputs))).relu().mean(2))
        return logits


WHOLE: dict[str, tuple[Any, dict[str, str], dict[str, int]]] = {
    "weight norm": (
        lambda: _With(NORMALISED(nn.Linear(8, 8))),
        {
            "before": r"are read by \w+ 'middle', which has a weight that is computed",
            "middle": "is computed from other",
        },
        {"inputs": 4, "after": 6},
    ),
    "softmax": (
        lambda: _With(nn.Softmax(-1)),
        {"before": r"'softmax' mixes its channels \(in 'middle' at test_refused.py:\d+\)"},
        {"inputs": 4, "after": 6},
    ),
    "local response": (
        lambda: _Convolved(nn.LocalResponseNorm(3)),
        {"before": "are read by LocalResponseNorm 'middle', which mixes channels"},
        {"after": 6},
    ),
    "weakly mixing": (
        lambda: _Convolved(_Response()),
        {"before": r"'avg_pool2d' mixes its channels \(in 'middle' at test_refused.py:\d+\)"},
        {"after": 6},
    ),
    "two axes": (
        lambda: _With(nn.LayerNorm((3, 8))),
        {"before": "are normalised together by LayerNorm 'middle'"},
        {"inputs": 4, "after": 6},
    ),
    "scaled by length": (
        lambda: _Looked(),
        {"embed": "scales its vectors by their length"},
        {"first": 5},
    ),
}
"""Networks of which a layer stays whole, the reason, and the groups that are there."""


class _Looked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.first, self.head = nn.Embedding(5, 6, max_norm=1.0), nn.Linear(6, 5), nn.Linear(5, 2)

    def forward(self, series: Tensor) -> Tensor:
        words = (series[..., 0].abs() * 2).long().clamp_max(4)
        logits: Tensor = self.head(self.first(self.embed(words)).relu().mean(1))
        return logits


class _Response(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return nn.functional.local_response_norm(features, 3)


@pytest.mark.parametrize("name", WHOLE)
def test_what_mixes_channels_is_left_whole_with_the_reason(name: str) -> None:
    torch.manual_seed(0)
    make, reasons, groups = WHOLE[name]
    structure = find(make(), SERIES)
    assert {group.name: group.size for group in structure.groups} == groups
    said = {layer: reason for layer, reason in structure.whole.items() if layer != "head"}
    assert said.keys() == reasons.keys() and structure.whole["head"] == "its channels are outputs of the network"
    for layer, reason in reasons.items():
        assert re.search(reason, said[layer]), said[layer]


@torch.library.custom_op("bayesprune_tests::mystery", mutates_args=())
def mystery(features: Tensor) -> Tensor:
    """An operator that nobody has heard of."""
    return features.roll(1, 1) + features


class _Mysterious(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return torch.ops.bayesprune_tests.mystery(features)


class _ByValue(nn.Module):
    """What it does hangs on the mean of all channels, as NumPy computes it past torch."""

    def forward(self, features: Tensor) -> Tensor:
        return features * float(features.detach().numpy().mean())


REFUSED: dict[str, tuple[Any, str]] = {
    "unknown operator": (
        _Mysterious,
        r"the operator 'mystery' is not known to keep channels apart \(in 'middle' at test_refused.py:\d+\)",
    ),
    "by value": (_ByValue, "closing channels of group 'before' is not the same as removing them"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_understood_is_refused_until_it_is_kept(name: str) -> None:
    torch.manual_seed(0)
    make, message = REFUSED[name]
    with pytest.raises(UnsupportedLayerError, match=message) as caught:
        find(_With(make()), SERIES)
    assert caught.value.keep == ("before",) and caught.value.left == 10
    assert "keep=['before']" in str(caught.value) and "\n" not in str(caught.value)
    assert sizes(_With(make()), SERIES, keep=caught.value.keep) == {"inputs": 4, "after": 6}


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


def test_recurrent_layers_do_not_hide_what_comes_after() -> None:
    network = nn.Sequential(_Last(nn.LSTM(4, 5, batch_first=True)), nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 2))
    assert sizes(network, SERIES, keep=["0"]) == {"1": 6}


class _Last(nn.Module):
    def __init__(self, layer: nn.LSTM) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, series: Tensor) -> Tensor:
        last: Tensor = self.layer(series)[0][:, -1]
        return last


def test_checks_see_through_initial_values() -> None:
    """A fresh normalisation is the same for all channels: cutting it at wrong ones must not go unnoticed."""

    class Shuffled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm, self.head = nn.Conv1d(3, 8, 1), nn.BatchNorm1d(8), nn.Conv1d(8, 2, 1)

        def forward(self, series: Tensor) -> Tensor:
            outputs: Tensor = self.head(self.norm(self.conv(series).flip(1)).flip(1))
            return outputs

    structure = find(Shuffled(), SERIES)
    norm = next(axis for axis in structure.axes if axis.layer == "norm")
    assert norm.gates.tolist() == list(range(8))[::-1]
    wrong = replace(structure, axes=tuple(replace(a, gates=a.gates.sort()[0]) for a in structure.axes))
    passes = look(Shuffled(), SERIES)
    assert [blame.group.name for blame in blamed(Shuffled(), wrong, SERIES, passes)] == ["conv"]
    assert not blamed(Shuffled(), structure, SERIES, passes)


class Routed(nn.Module):
    """Each example goes through one expert."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(4, 8), nn.Linear(8, 2)
        self.experts = nn.ModuleList([nn.Linear(8, 8) for _ in range(2)])

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.first(inputs).relu()
        said = torch.zeros_like(hidden)
        for number, expert in enumerate(self.experts):
            rows = (inputs[:, 0] > 0).long().eq(number).nonzero().flatten()
            if len(rows):
                said = said.index_add(0, rows, expert(hidden[rows]))
        outputs: Tensor = self.head(said)
        return outputs


def test_layers_that_other_inputs_may_run_are_named() -> None:
    inputs = torch.randn(8, 4).abs()
    said = "it did not run on this example and 'experts.1' did: give an example that runs both if other inputs do"
    assert find(Routed(), inputs, inputs="none").whole["experts.0"] == said
    inputs[:4] *= -1
    assert [group.size for group in find(Routed(), inputs, inputs="none").groups] == [8, 8]


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch's own, when it compiles
def test_a_compiled_network_is_refused_by_name() -> None:
    network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    with pytest.raises(NetworkError, match=r"the network was compiled \(torch.compile\).*_orig_mod"):
        find(torch.compile(network), torch.randn(3, 4))  # type: ignore[arg-type]  # torch says it is a function
    network[0] = torch.compile(network[0])  # type: ignore[assignment]  # likewise
    with pytest.raises(NetworkError, match="module '0' was compiled"):
        find(network, torch.randn(3, 4))

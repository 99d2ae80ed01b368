"""Compact networks of all kinds of layers can be exported, traced and scripted, and say the same."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bayesprune.structure import compact, find
from bayesprune.structure.blame import agree
from bayesprune.structure.nesting import tensors_in


class SpreadMaps(nn.Module):
    """Views with fixed numbers, behind which channels stay as wide as they were."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 6, 3), nn.Linear(6, 2)

    def forward(self, images: Tensor) -> Tensor:
        maps = torch.relu(self.first(images)).view(-1, 8, 6, 6)
        outputs: Tensor = self.head(self.second(maps).mean((2, 3)))
        return outputs


class SpreadStream(nn.Module):
    """A residual stream that is normalised and counted on, of embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.norm, self.inner = nn.Embedding(7, 8), nn.LayerNorm(8), nn.Linear(8, 24)
        self.back, self.last, self.head = nn.Linear(8, 8), nn.RMSNorm(8), nn.Linear(8, 3)

    def forward(self, indices: Tensor) -> Tensor:
        stream = self.tokens(indices)
        batch, length, width = stream.shape
        parts = self.inner(self.norm(stream)).view(batch, length, 3, 2, width // 2).permute(2, 0, 3, 1, 4)
        said = nn.functional.scaled_dot_product_attention(parts[0], parts[1], parts[2])
        stream = stream + self.back(said.transpose(1, 2).reshape(batch, length, width))
        outputs: Tensor = self.head(self.last(stream))
        return outputs


class Normalised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(5, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 7), nn.RMSNorm(7))
        self.head = nn.Linear(7, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.body(inputs))
        return outputs


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(5, 8), nn.Linear(8, 2)
        self.attention = nn.MultiheadAttention(8, 4, batch_first=True)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.first(inputs)
        outputs: Tensor = self.head(hidden + self.attention(hidden, hidden, hidden, need_weights=False)[0])
        return outputs


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.LSTM | nn.GRU]) -> None:
        super().__init__()
        self.cell, self.head = kind(5, 8, 2, batch_first=True), nn.Linear(8, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.cell(inputs)[0][:, -1])
        return outputs


NETWORKS: dict[str, tuple[Any, Any]] = {
    "spread maps": (SpreadMaps, lambda: torch.randn(2, 3, 8, 8)),
    "spread stream": (SpreadStream, lambda: torch.randint(7, (2, 5))),
    "normalised": (Normalised, lambda: torch.randn(2, 4, 5)),
    "attention": (Attending, lambda: torch.randn(2, 4, 5)),
    "LSTM": (lambda: Recurrent(nn.LSTM), lambda: torch.randn(2, 4, 5)),
    "GRU": (lambda: Recurrent(nn.GRU), lambda: torch.randn(2, 4, 5)),
}


def shrunk(name: str) -> tuple[nn.Module, Any]:
    """A compact network with half of its gates, and an example."""
    torch.manual_seed(0)
    make, example = NETWORKS[name][0](), NETWORKS[name][1]()
    structure = find(make, example, inputs="none")
    random = torch.rand(structure.gate_count)
    compact(make, structure, structure.protect(random < 0.5, random))
    return make.eval(), example


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning", "ignore:.*Python 3.14:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # shapes become constants, as in any network
@pytest.mark.parametrize("name", NETWORKS)
def test_a_compact_network_is_traced_as_it_is(name: str) -> None:
    network, example = shrunk(name)
    with torch.no_grad():
        traced = torch.jit.trace(network, (example,))
        assert agree(list(tensors_in(traced(example))), [network(example)])


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:The tensor attributes self.cell._flat_weights")  # torch's, of any LSTM and GRU
@pytest.mark.parametrize("name", NETWORKS)
def test_a_compact_network_is_exported_as_it_is(name: str) -> None:
    network, example = shrunk(name)
    exported = torch.export.export(network, (example,))
    with torch.no_grad():
        assert agree(list(tensors_in(exported.module()(example))), [network(example)])


@pytest.mark.parametrize("name", ["spread maps", "spread stream"])
def test_what_is_spread_is_there(name: str) -> None:
    """So that the tests above are of such layers."""
    network, _ = shrunk(name)
    assert any(name.endswith("spread.index") for name in network.state_dict())

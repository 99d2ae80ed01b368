"""A new kind of layer takes one registration: it is found, gated and cut like those that are there."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from bayesprune.structure import Gating, compact, find
from bayesprune.structure.kinds import LayerKind, base, kind_of, register

ROWS = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


class Scale(nn.Module):
    """A factor a channel; nothing that the table knows."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.factors, self.channels = nn.Parameter(torch.rand(channels) + 0.5), channels

    def forward(self, features: Tensor) -> Tensor:
        return features * self.factors


def scaled() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 6), Scale(6), nn.ReLU(), nn.Linear(6, 2))


def resize(layer: nn.Module, _: int | None) -> None:
    layer.channels = len(layer.get_parameter("factors"))  # type: ignore[assignment]  # a plain attribute of Module


def test_a_registered_kind_is_cut_along(monkeypatch: pytest.MonkeyPatch) -> None:
    followed = find(scaled(), ROWS)  # without a kind what it does inside is followed, and nothing is resized
    assert [axis.tensor for axis in followed.axes if axis.layer == "1"] == ["factors"]
    monkeypatch.setattr(base, "_KINDS", list(base._KINDS))
    kind = register(LayerKind((Scale,), lambda _: {"factors": 0}, resize=resize))
    assert kind_of(Scale(2)) is kind
    torch.manual_seed(0)
    network = scaled()
    structure = find(network, ROWS)
    assert structure.slices() == {"inputs": slice(0, 4), "0": slice(4, 10)}
    gates = torch.arange(10) % 3 != 1
    small, gating = deepcopy(network), Gating(network, structure)
    compact(small, structure, gates)
    assert small[1].channels == int(gates[4:].sum())
    with gating.applied(gates.float()):
        torch.testing.assert_close(small(ROWS), network(ROWS))


def test_the_kind_registered_last_counts() -> None:
    transposed = kind_of(nn.ConvTranspose1d(3, 5, 1))
    assert transposed is not None and transposed is not kind_of(nn.Conv1d(3, 5, 1)) and transposed.reads == (0, 1)
    assert transposed.written(nn.ConvTranspose1d(3, 5, 1)) == {"weight": 1, "bias": 0}
    assert kind_of(nn.ReLU()) is None

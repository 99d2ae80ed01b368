"""Layer normalisations of a user's own class are known by what they say, and cut like torch's."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from bayesprune.structure import compact, find
from bayesprune.structure.blame import agree, gated_outputs
from bayesprune.structure.kinds.own_norm import NormForm, own_norm
from bayesprune.structure.passes import Passes

PASSES = Passes(training_too=False, run=frozenset())


class Own(nn.Module):
    """One of the normalisations that people write, of 6 features."""

    def __init__(self, kind: str, eps: float = 1e-6) -> None:
        super().__init__()
        self.kind, self.eps, self.normalized_shape, self.dim = kind, eps, (6,), 6
        self.gain = nn.Parameter(torch.linspace(0.5, 1.5, 6))
        if kind in ("layer", "maps", "deviation"):
            self.shift = nn.Parameter(torch.linspace(-1.0, 1.0, 6))

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "layer":
            return layer_norm(x, self.normalized_shape, self.gain, self.shift, self.eps)
        if self.kind == "maps":
            centred = x - x.mean(1, keepdim=True)
            normal = centred / (centred.square().mean(1, keepdim=True) + self.eps).sqrt()
            return self.gain[:, None, None] * normal + self.shift[:, None, None]
        if self.kind == "deviation":  # the sample's deviation, to which eps is added outside of the root
            return self.gain * (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + self.eps) + self.shift
        if self.kind == "scale":
            return x * self.gain
        assert x.shape[-1] == self.dim
        normal = x.float() * torch.rsqrt(x.float().square().mean(-1, keepdim=True) + self.eps)
        return (normal * (self.gain + (self.kind == "from one"))).type_as(x)


KNOWN = {
    "root": NormForm(-1, False, 1e-6, "gain", "", 0.0, 6),
    "from one": NormForm(-1, False, 1e-6, "gain", "", 1.0, 6),
    "layer": NormForm(-1, True, 1e-6, "gain", "shift", 0.0, 6),
    "maps": NormForm(1, True, 1e-6, "gain", "shift", 0.0, 6),
}


@pytest.mark.parametrize("kind", KNOWN)
def test_they_are_known_by_what_they_say(kind: str) -> None:
    assert own_norm(Own(kind)) == KNOWN[kind]
    assert own_norm(Own(kind, eps=1e-3)) is not None and own_norm(Own(kind, eps=1e-3)).eps == 1e-3  # type: ignore[union-attr]  # as asserted


@pytest.mark.parametrize("kind", ["deviation", "scale"])
def test_others_are_not_taken_for_one(kind: str) -> None:
    assert own_norm(Own(kind)) is None
    assert own_norm(nn.LayerNorm(6)) is None and own_norm(nn.PReLU(6)) is None and own_norm(nn.Linear(6, 1)) is None


class Around(nn.Module):
    """Between a layer that writes 6 features or maps and one that reads them."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        maps = kind == "maps"
        self.first: nn.Module = nn.Conv2d(2, 6, 1) if maps else nn.Linear(4, 6)
        self.norm, self.last = Own(kind), nn.Conv2d(6, 3, 1) if maps else nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Any:
        return self.last(torch.relu(self.norm(self.first(inputs))))


@torch.no_grad()
@pytest.mark.parametrize("kind", KNOWN)
def test_compact_equals_gated(kind: str) -> None:
    torch.manual_seed(0)
    network = Around(kind).eval()
    example = torch.randn(3, 2, 4, 4) if kind == "maps" else torch.randn(3, 4)
    structure = find(network, example, inputs="none")
    assert [(group.name, group.size) for group in structure.groups] == [("first", 6)]
    for lost in ([1, 4], [0]):  # the second compaction goes on from the first
        gates = torch.ones(structure.gate_count, dtype=torch.bool)
        gates[lost] = False
        expected = gated_outputs(deepcopy(network), structure, example, gates, PASSES)
        structure = compact(network, structure, gates)
        assert agree([network(example)], expected)
    assert (network.norm.normalized_shape, network.norm.dim, len(network.norm.gain)) == ((3,), 3, 3)


@torch.no_grad()
def test_what_is_no_known_norm_stays_whole() -> None:
    structure = find(Around("deviation").eval(), torch.randn(3, 4), inputs="none")
    assert structure.gate_count == 0 and "'mean' mixes its channels" in structure.whole["first"]

"""Networks of every shape: as many gates as were counted by hand, exact, and no layer left out in silence."""

from itertools import count

import pytest
import torch
from torch import nn

from bayesprune.structure import find
from benchmarks._zoo import SHAPES
from benchmarks._zoo.judge import TooLongError, difference, judge, share_of, unnamed, within

ONE_BY_ONE = "in another way than one by one"
MIXES = "mixes"
SCALES = "acts on channels by itself"
OPAQUE = "is no layer that can be cut exactly"
GROUPS = "reads its channels in groups"
OTHERWISE = "is not the same as removing them"

REFUSED = {
    "Chunk": ONE_BY_ONE, "Split": OTHERWISE, "ChunkedSum": ONE_BY_ONE, "Unflatten": ONE_BY_ONE,
    "RepeatTile": OTHERWISE, "FunctionalWeights": SCALES, "TiedLayers": "shares a parameter", "LearntScale": SCALES,
    "HyperConnections": SCALES, "Stacked": OTHERWISE, "ChannelSlice": ONE_BY_ONE, "AttentionModule": OPAQUE,
    "FusedAttention": ONE_BY_ONE, "SeparateAttention": OTHERWISE, "OneHead": OTHERWISE, "CrossAttention": OPAQUE,
    "PreNormBlock": MIXES, "VisionTransformer": MIXES, "ShiftedWindows": MIXES,
    "ChannelAttention": "is coupled with itself", "PostNormBlock": MIXES, "DepthMultiplier": GROUPS, "Grouped": GROUPS,
    "GroupedBlock": GROUPS, "TransposedDepthwise": GROUPS, "PixelShuffle": ONE_BY_ONE, "PixelUnshuffle": OTHERWISE,
    "ShuffleUnit": OTHERWISE, "ConvNeXtBlock": MIXES, "GroupNormalised": MIXES, "OneGroupNormalised": MIXES,
    "FrozenNorm": OTHERWISE, "CrossStage": OTHERWISE, "ChannelPadded": ONE_BY_ONE, "LongShortTerm": OPAQUE,
    "TiedEmbedding": OPAQUE, "GatedLinear": ONE_BY_ONE, "MixerBlock": MIXES, "LayerNormalised": MIXES,
    "RootMeanSquare": MIXES, "LayerScale": SCALES, "FlattenedTokens": OTHERWISE,
}  # fmt: skip
"""Shapes of which `find` says by name that it cannot take them, and what it says."""

FEWER = {
    "RepeatInterleave": 6, "Einsum": 5, "TiedWeights": 0, "GatedRecurrent": 5, "TwoRecurrentLayers": 0,
    "TokenEmbedding": 0,
}  # fmt: skip
"""Shapes in which fewer gates are found than were counted by hand; the other layers are left whole."""

SILENT = {
    "EncoderLayer": ("layer.self_attn",), "GatedRecurrent": ("gru",), "TwoRecurrentLayers": ("one", "two"),
    "TokenEmbedding": ("embed",),
}  # fmt: skip
"""Layers of which nothing is said."""


@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name: str) -> None:
    shape = SHAPES[name]
    verdict = judge(shape.build, limit=20.0)
    if name in REFUSED:
        assert REFUSED[name] in verdict.refused
        return
    assert not verdict.refused
    assert verdict.silent == SILENT.get(name, ())
    assert verdict.gates >= FEWER.get(name, shape.gates)
    assert verdict.exact or FEWER.get(name) == verdict.gates == 0


def test_the_lists_name_shapes_of_the_zoo() -> None:
    assert {*REFUSED, *FEWER, *SILENT} <= set(SHAPES) and not set(REFUSED) & {*FEWER, *SILENT}
    assert len(SHAPES) >= 40
    assert all(FEWER[name] < SHAPES[name].gates for name in FEWER)


def test_the_share_is_that_of_the_channels_of_all_layers() -> None:
    """Chain has 8 + 6 + 5 channels with gates, and 3 outputs without."""
    network, example = SHAPES["Chain"].build()
    structure = find(network, example, inputs="none")
    assert share_of(network, structure) == pytest.approx(19 / 22)
    assert share_of(network, find(network, example, inputs="none", keep=["conv1"])) == pytest.approx(11 / 22)


def test_a_comparison_sees_another_function() -> None:
    """Groups of a network without sums between its layers are those of no network with them."""
    torch.manual_seed(0)
    inner = [nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 3)]
    structure = find(nn.Sequential(inner[0], nn.ReLU(), inner[2]), torch.randn(3, 4), inputs="none")
    assert difference(nn.Sequential(inner[0], nn.Softmax(1), inner[2]), structure, torch.randn(3, 4)) > 0.01
    assert difference(nn.Sequential(inner[0], nn.Tanh(), inner[2]), structure, torch.randn(3, 4)) <= 1e-6


def test_a_layer_of_which_nothing_is_said_is_named() -> None:
    torch.manual_seed(0)
    small, large = nn.Sequential(nn.Linear(4, 3)), nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    structure = find(small, torch.randn(3, 4), inputs="none")
    assert unnamed(small, structure) == () and unnamed(large, structure) == ("2",)


def test_what_never_ends_is_stopped() -> None:
    with pytest.raises(TooLongError, match=r"not done in 0\.05 seconds"), within(0.05):
        sum(1 for _ in count())

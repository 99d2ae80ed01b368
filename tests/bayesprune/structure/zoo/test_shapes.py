"""Networks of every shape: as many gates as were counted by hand, exact, and no layer left out in silence."""

from itertools import count

import pytest
import torch
from torch import nn

from bayesprune.structure import find
from benchmarks._zoo import SHAPES
from benchmarks._zoo.judge import TooLongError, difference, judge, share_of, unnamed, within

REFUSED: dict[str, str] = {}
"""Shapes of which `find` says by name that it cannot take them, and what it says."""

FEWER = {
    "OneHead": (0, "'bmm' mixes"), "PostNormBlock": (12, "'softmax' mixes"), "Einsum": (5, "'bmm' mixes"),
    "OneGroupNormalised": (5, "are normalised together"),
    "MixerBlock": (20, "holds the channels of other layers"),
}  # fmt: skip
"""Shapes in which fewer gates are found than were counted by hand, how many, and why layers are left whole."""


@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name: str) -> None:
    shape = SHAPES[name]
    verdict = judge(shape.build, limit=60.0)
    if name in REFUSED:
        assert REFUSED[name] in verdict.refused
        return
    assert not verdict.refused and verdict.silent == ()
    assert verdict.exact == (verdict.gates > 0)
    if name in FEWER:
        gates, reason = FEWER[name]
        assert verdict.gates == gates < shape.gates
        assert any(reason in said for _, said in verdict.whole)
    else:
        assert verdict.gates >= shape.gates


def test_nine_of_ten_shapes_work_without_any_keep() -> None:
    """Of those that find takes at all; the lists name shapes of the zoo, each once."""
    lists = (set(REFUSED), set(FEWER))
    assert set().union(*lists) <= set(SHAPES) and sum(map(len, lists)) == len(set().union(*lists))
    idle = {name for name, (gates, _) in FEWER.items() if gates == 0}
    assert len(SHAPES) >= 40 and len({*REFUSED, *idle}) <= len(SHAPES) / 10


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

"""Prior inclusion probabilities of layers: published check values and what the formula says by hand."""

from math import exp, log

import pytest

from bayesprune.errors import SettingError
from bayesprune.models.priors.inclusion import LEAST, layer_inclusion


@pytest.mark.parametrize(
    ("widths", "expected"),
    [((784, 400, 400, 10), (1.541136e-3, 2.343843e-3)), ((800, 800, 500, 10), (7.476536e-4, 1.196246e-3))],
)
def test_the_values_of_the_public_code(widths: tuple[int, ...], expected: tuple[float, float]) -> None:
    """MNIST's 60,000 examples; the two networks of SS-IG's experiments on it."""
    found = layer_inclusion(widths[:-1], widths[1:], 60_000)
    assert found == pytest.approx(expected, rel=1e-6)


def test_one_hidden_layer_by_hand() -> None:
    """L = 1, written out; a strength at which all terms count."""
    strength = 1e-3
    u0 = 4 * (log(100) + log(2) + log(5) + log(3))
    u1 = 4 * (log(100) + log(2) + log(4) + log(2))
    v = 25 + log(4) + 1 + log(3) + log(5) + log(100) + log(u0 + u1)
    assert layer_inclusion([4, 3], [3, 2], 100, strength) == pytest.approx([exp(-log(3) - strength * 5 * v)])


def test_it_is_never_below_the_least() -> None:
    assert layer_inclusion([20_000, 10], [10, 10], 100) == [LEAST]
    assert layer_inclusion([5], [3], 100) == []  # an output layer has no spike


@pytest.mark.parametrize(("inputs", "nodes", "examples"), [([4], [3, 2], 9), ([4, 0], [3, 2], 9), ([4, 3], [3, 2], 0)])
def test_numbers_that_are_no_layers(inputs: list[int], nodes: list[int], examples: int) -> None:
    with pytest.raises(SettingError, match="layers need inputs, nodes and examples >= 1"):
        layer_inclusion(inputs, nodes, examples)

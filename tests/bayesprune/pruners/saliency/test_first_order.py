"""SNIP, logit-SNIP and Taylor against finite differences in a mask that multiplies the weights."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from bayesprune.data import Data
from bayesprune.errors import DataError, NetworkError, SettingError
from bayesprune.pruners.problem import Batch, Problem
from bayesprune.pruners.saliency import logit_snip, snip, taylor

if TYPE_CHECKING:
    from tests.bayesprune.pruners.saliency.conftest import Lab

Score = Callable[[Problem], dict[str, Tensor]]
ROUNDING = {"rtol": 1e-5, "atol": 1e-9}


def convolutional(lab: "Lab") -> tuple[nn.Module, Data, dict[str, Tensor]]:
    """A convolution, BatchNorm with the batch's statistics, and a linear layer."""
    layers = (nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3))
    network = nn.Sequential(*layers).double()
    return network, lab.data((1, 3, 3)), lab.values(network, "0.weight", "4.weight")


def test_snip_is_the_slope_in_a_mask(lab: "Lab") -> None:
    network, data, weights = convolutional(lab)
    slopes = lab.mask_slopes(lab.loss(network, data), weights)
    expected = {name: slope.abs() for name, slope in slopes.items()}
    lab.assert_same(snip(lab.problem(network, data)), expected, **ROUNDING)


def test_taylor_of_one_batch_is_the_squared_slope_in_a_mask(lab: "Lab") -> None:
    network, data, weights = convolutional(lab)
    slopes = lab.mask_slopes(lab.loss(network, data), weights)
    expected = {name: slope.square() for name, slope in slopes.items()}
    lab.assert_same(taylor(lab.problem(network, data), batches=1), expected, **ROUNDING)


def test_taylor_averages_squares_and_not_gradients(lab: "Lab", monkeypatch: pytest.MonkeyPatch) -> None:
    network, data, weights = convolutional(lab)
    inputs, labels = lab.batch(data)
    halves = [(inputs[:12], labels[:12]), (inputs[12:], labels[12:])]
    asked: list[int] = []

    def next_half(problem: Problem, count: int) -> Batch:
        asked.append(count)
        return halves[len(asked) - 1]

    def loss_of_half(number: int) -> Callable[[dict[str, Tensor]], Tensor]:
        half, its_labels = halves[number]
        return lambda some: cross_entropy(functional_call(network, some, (half,)), its_labels)

    first, second = (lab.mask_slopes(loss_of_half(number), weights) for number in (0, 1))
    expected = {name: (first[name].square() + second[name].square()) / 2 for name in weights}
    monkeypatch.setattr(Problem, "labelled", next_half)
    lab.assert_same(taylor(lab.problem(network, data), batches=2, examples=7), expected, **ROUNDING)
    assert asked == [7, 7]


def test_logit_snip_is_the_slope_of_the_squared_logits(lab: "Lab") -> None:
    network, data, weights = convolutional(lab)
    inputs, _ = lab.batch(data)
    slopes = lab.mask_slopes(lambda some: functional_call(network, some, (inputs,)).square().sum(), weights)
    expected = {name: slope.abs() for name, slope in slopes.items()}
    lab.assert_same(logit_snip(lab.problem(network, data)), expected, **ROUNDING)


def test_one_class_is_enough_without_labels_only(lab: "Lab") -> None:
    network, _, _ = convolutional(lab)
    problem = lab.problem(network, lab.data((1, 3, 3), torch.full((24,), 2)))
    assert all(bool((score > 0).any()) for score in logit_snip(problem).values())
    for score in (snip, taylor):
        with pytest.raises(DataError, match="all 24 examples of the scoring batch have class 2"):
            score(problem)


def test_a_layer_that_is_never_called_scores_zero(lab: "Lab") -> None:
    network, data, _ = convolutional(lab)
    network.get_submodule("2").add_module("unused", nn.Linear(4, 2).double())
    for score in (snip, logit_snip, taylor):
        found = score(lab.problem(network, data))
        assert torch.equal(found["2.unused.weight"], torch.zeros(2, 4, dtype=torch.float64))
        assert all(bool((found[name] > 0).any()) for name in ("0.weight", "4.weight"))


@pytest.mark.parametrize("score", [snip, logit_snip, taylor])
def test_gradients_that_are_no_numbers_are_named_by_layer(score: Score, torn: Problem) -> None:
    with pytest.raises(NetworkError, match="the gradients of layer '0' hold NaN or infinite values"):
        score(torn)


@pytest.mark.parametrize("score", [snip, logit_snip, taylor])
def test_weights_that_are_no_numbers_are_named_by_layer(score: Score, lab: "Lab") -> None:
    network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3)).double()
    with torch.no_grad():
        network.get_parameter("2.weight")[1, 2] = float("nan")
    with pytest.raises(NetworkError, match="the weights of layer '2' hold NaN"):
        score(lab.problem(network, lab.data((4,))))


def test_counts_below_one_are_refused(lab: "Lab") -> None:
    network, data, _ = convolutional(lab)
    with pytest.raises(SettingError, match="0 batches"):
        taylor(lab.problem(network, data), batches=0)

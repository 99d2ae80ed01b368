"""GraSP against the whole Hessian, and the batch with examples of every class."""

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn
from torch.func import grad

from bayesprune.data import Data
from bayesprune.errors import DataError, NetworkError, SettingError
from bayesprune.pruners.problem import Problem
from bayesprune.pruners.saliency import balanced, grasp

if TYPE_CHECKING:
    from tests.bayesprune.pruners.saliency.conftest import Lab


def small(lab: "Lab") -> tuple[nn.Module, Data, dict[str, Tensor]]:
    """Convolution, BatchNorm with the batch's statistics, linear layer: 26 weights."""
    network = nn.Sequential(
        nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2, track_running_stats=False), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3)
    ).double()
    return network, lab.data((1, 3, 3)), lab.values(network, "0.weight", "4.weight")


@pytest.mark.parametrize("temperature", [1.0, 200.0])
def test_score_is_the_weight_times_hessian_times_gradient(temperature: float, lab: "Lab") -> None:
    network, data, weights = small(lab)
    function, vector = lab.flat(lab.loss(network, data, temperature), weights)
    product = lab.hessian(function, vector) @ grad(function)(vector)
    found = grasp(lab.problem(network, data), per_class=8, temperature=temperature)
    lab.assert_same(found, lab.unflat(vector * product, weights), rtol=1e-8, atol=1e-20)


def test_pruned_weights_have_no_part_in_the_gradient_norm(lab: "Lab") -> None:
    network, data, weights = small(lab)
    masks = {name: (torch.rand_like(weight) < 0.5).double() for name, weight in weights.items()}
    with torch.no_grad():
        for name, mask in masks.items():
            network.get_parameter(name).mul_(mask)
    weights = lab.values(network, *weights)
    function, vector = lab.flat(lab.loss(network, data), weights)
    alive = torch.cat([mask.flatten() for mask in masks.values()])
    product = lab.hessian(function, vector) @ (alive * grad(function)(vector))
    found = grasp(lab.problem(network, data, masks), per_class=8, temperature=1.0)
    lab.assert_same(found, lab.unflat(vector * product, weights), rtol=1e-8, atol=1e-20)


def test_the_largest_score_is_the_weight_whose_loss_costs_most_gradient(lab: "Lab") -> None:
    network, data, weights = small(lab)
    function, vector = lab.flat(lab.loss(network, data), weights)
    slope = grad(function)
    base, share = slope(vector).square().sum(), 1e-6
    lost = [
        base - slope(vector - share * vector * unit).square().sum()  # a little of the weight is removed
        for unit in torch.eye(len(vector), dtype=torch.float64)
    ]
    found = grasp(lab.problem(network, data), per_class=8, temperature=1.0)
    scores = torch.cat([score.flatten() for score in found.values()])
    torch.testing.assert_close(scores, torch.stack(lost) / (2 * share), rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize(("per_class", "counts"), [(1, [1, 1, 1]), (3, [3, 3, 2]), (99, [7, 5, 2])])
def test_examples_of_every_class(per_class: int, counts: list[int], lab: "Lab") -> None:
    labels = torch.tensor([0, 1, 0, 2, 0, 0, 1, 1, 0, 1, 0, 2, 1, 0])
    data = lab.data((2,), labels)
    inputs, drawn = balanced(lab.problem(nn.Linear(2, 3), data), per_class)
    assert drawn.bincount(minlength=3).tolist() == counts
    known, _ = lab.batch(data)
    places = [int((known == one).all(1).nonzero()) for one in inputs]
    assert len(set(places)) == len(places)
    assert torch.equal(labels[places], drawn)


def test_every_example_is_as_likely_as_the_others_of_its_class(lab: "Lab") -> None:
    data = lab.data((1,), 12)
    known, _ = lab.batch(data)
    problem = lab.problem(nn.Linear(1, 3), data)
    drawn = torch.stack([(known == balanced(problem, 1)[0].flatten()).any(1) for _ in range(200)])
    counts = drawn.sum(0)
    assert int(counts.sum()) == 600
    # 50 expected each, deviation sqrt(200 / 4 * 3 / 4) = 6.1
    assert bool(((counts > 20) & (counts < 80)).all())


def test_a_class_that_is_rare_is_found_in_later_batches(lab: "Lab") -> None:
    labels = torch.arange(700) % 2
    labels[300] = 2
    for _ in range(5):
        _, drawn = balanced(lab.problem(nn.Linear(2, 3), lab.data((2,), labels)), 2)
        assert drawn.bincount(minlength=3).tolist() == [2, 2, 1]


def test_a_class_without_examples_is_named(lab: "Lab") -> None:
    network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3)).double()
    with pytest.raises(DataError, match="no example of class 0, 2 of the 3 classes"):
        grasp(lab.problem(network, lab.data((4,), torch.ones(9, dtype=torch.int64))))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_temperatures_that_cannot_be_are_refused(temperature: float, lab: "Lab") -> None:
    with pytest.raises(SettingError, match="temperature is"):
        grasp(lab.problem(nn.Linear(4, 3), lab.data((4,))), temperature=temperature)
    with pytest.raises(SettingError, match="0 examples per class"):
        balanced(lab.problem(nn.Linear(4, 3), lab.data((4,))), 0)


def test_gradients_that_are_no_numbers_are_named_by_layer(torn: Problem) -> None:
    with pytest.raises(NetworkError, match="the gradients of layer '0' hold NaN or infinite values"):
        grasp(torn)

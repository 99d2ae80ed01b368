"""First-order importance of gates against finite differences, a closed form, and removal itself."""

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from bayesprune.errors import DataError, NetworkError, SettingError
from bayesprune.pruners.channels import taylor_units
from bayesprune.pruners.problem import Problem
from bayesprune.structure import Gating, compact

MakeProblem = Callable[..., Problem]
Networks = dict[str, Callable[[], nn.Module]]


def loss_at(problem: Problem, gates: Tensor) -> float:
    """Mean cross-entropy of all examples in training mode with gates on what is read."""
    network = deepcopy(problem.network).train()
    inputs, labels = next(iter(problem.data.train.batches(40)))
    gating = Gating(network, problem.structure)
    with torch.no_grad(), gating.applied(gates):
        return float(cross_entropy(network(inputs), labels))


@pytest.mark.parametrize("name", ["residual", "concatenating"])
def test_scores_are_squared_finite_differences(problem_of: MakeProblem, networks: Networks, name: str) -> None:
    problem = problem_of(networks[name](), flatten_inputs=True, inputs="all")
    scores, count, step = taylor_units(problem, batches=2, examples=40), problem.structure.gate_count, 1e-5
    assert scores.shape == (count,)
    ones, moves = torch.ones(count, dtype=torch.float64), step * torch.eye(count, dtype=torch.float64)
    slopes = [(loss_at(problem, ones + move) - loss_at(problem, ones - move)) / (2 * step) for move in moves]
    torch.testing.assert_close(scores, torch.tensor(slopes, dtype=torch.float64) ** 2, rtol=1e-5, atol=1e-12)


def softmax_regression() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3))


def test_squares_of_batch_means_are_averaged_over_batches(problem_of: MakeProblem) -> None:
    problem = problem_of(softmax_regression(), 2)
    torch.manual_seed(1)
    scores = taylor_units(problem, batches=3, examples=10)
    torch.manual_seed(1)
    slopes = []
    for inputs, labels in (problem.labelled(10) for _ in range(3)):
        errors = problem.network(inputs).softmax(1) - one_hot(labels, 3)  # dL_i/dlogits
        slopes.append(((errors @ problem.network.get_parameter("1.weight")) * inputs.flatten(1)).mean(0))
    torch.testing.assert_close(scores, torch.stack(slopes).square().mean(0))
    assert not torch.allclose(scores, torch.stack(slopes).mean(0).square())


def test_removing_a_linear_unit_changes_the_loss_as_predicted(problem_of: MakeProblem) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Linear(3, 3))
    weight, bias, reading = (network.get_parameter(name) for name in ("1.weight", "1.bias", "2.weight"))
    reading.data[:, 1] *= 1e-4  # what the unit does is small, so the first order is nearly all of it
    problem = problem_of(network, 2, inputs="none")
    inputs, labels = next(iter(problem.data.train.batches(40)))
    score = float(taylor_units(problem, batches=1, examples=40)[1])
    smaller = deepcopy(network)
    compact(smaller, problem.structure, torch.tensor([True, False, True]))
    loss = cross_entropy(network(inputs), labels)
    change = (cross_entropy(smaller(inputs), labels) - loss).detach()
    assert float(change) ** 2 == pytest.approx(score, rel=1e-2)
    # The sums of w dL/dw over the unit's own weights and bias, and over those that read it, say the same.
    parameters = [weight, bias, reading]
    products = [
        (gradient * parameter).detach()
        for gradient, parameter in zip(torch.autograd.grad(loss, parameters), parameters, strict=True)
    ]
    assert float(products[0][1].sum() + products[1][1]) ** 2 == pytest.approx(score)
    assert float(products[2][:, 1].sum()) ** 2 == pytest.approx(score)


def test_the_network_is_left_as_it_was(problem_of: MakeProblem, networks: Networks) -> None:
    problem = problem_of(networks["residual"]())
    network = problem.network.eval()
    network.get_parameter("stem.weight").requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.no_grad():
        taylor_units(problem, batches=2, examples=20)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not network.training and not network.get_parameter("stem.weight").requires_grad
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(module._forward_pre_hooks for module in network.modules())


def test_one_class_is_refused(problem_of: MakeProblem) -> None:
    problem = problem_of(softmax_regression(), 2, labels=torch.full((40,), 2))
    with pytest.raises(DataError, match="have class 2"):
        taylor_units(problem)


def test_what_is_no_number_is_refused_by_name(problem_of: MakeProblem) -> None:
    problem = problem_of(softmax_regression(), 2)
    weight = problem.network.get_parameter("1.weight")
    weight.data[0, 0] = torch.inf
    with pytest.raises(NetworkError, match="weights of layer '1' hold NaN or infinite"):
        taylor_units(problem)
    weight.data[0] = 1e308  # finite, but the logits are not
    weight.data[1] = -1e308
    with pytest.raises(NetworkError, match="derivatives of layer 'inputs'"):
        taylor_units(problem)


@pytest.mark.parametrize("setting", ["batches", "examples"])
def test_counts_below_one_are_refused(problem_of: MakeProblem, setting: str) -> None:
    with pytest.raises(SettingError, match=setting):
        taylor_units(problem_of(softmax_regression(), 2), **{setting: 0})

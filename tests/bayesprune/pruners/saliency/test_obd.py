"""Optimal brain damage: the score, and what is refused."""

from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn
from torch.nn.functional import l1_loss

import bayesprune
from bayesprune.data import from_tensors
from bayesprune.errors import DataError, NetworkError, SettingError
from bayesprune.pruners.problem import Problem
from bayesprune.pruners.saliency import Diagonal, diagonal, exact_diagonal, hutchinson_diagonal, obd
from bayesprune.tasks import OwnTask

if TYPE_CHECKING:
    from tests.bayesprune.pruners.saliency.conftest import Lab


def test_score_is_half_the_derivative_times_the_squared_weight(lab: "Lab") -> None:
    network, data = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double(), lab.data((4,))
    weights = lab.values(network, "0.weight", "2.weight")
    function, vector = lab.flat(lab.loss(network, data), weights)
    expected = lab.unflat(lab.hessian(function, vector).diagonal() * vector.square() / 2, weights)
    lab.assert_same(obd(lab.problem(network, data)), expected, rtol=1e-7, atol=1e-12)


def test_running_statistics_count_and_dropout_does_not(lab: "Lab") -> None:
    norm = nn.BatchNorm1d(5)
    network = nn.Sequential(nn.Linear(4, 5), norm, nn.ReLU(), nn.Dropout(0.5), nn.Linear(5, 3)).double().train()
    data = lab.data((4,))
    network(lab.batch(data)[0])  # one step of the running statistics
    weights, quiet = lab.values(network, "0.weight", "4.weight"), deepcopy(network).eval()
    function, vector = lab.flat(lab.loss(quiet, data), weights)
    expected = lab.unflat(lab.hessian(function, vector).diagonal() * vector.square() / 2, weights)
    lab.assert_same(obd(lab.problem(network, data)), expected, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("draws", [0, -1])
def test_draws_below_one_are_refused(draws: int, lab: "Lab") -> None:
    network = nn.Sequential(nn.Linear(4, 3)).double()
    with pytest.raises(SettingError, match=f"{draws} draws"):
        obd(lab.problem(network, lab.data((4,))), diagonal=partial(hutchinson_diagonal, draws=draws))


def test_one_class_is_refused(lab: "Lab") -> None:
    data = lab.data((4,), torch.ones(24, dtype=torch.int64))
    with pytest.raises(DataError, match="all 24 examples of the scoring batch have class 1"):
        obd(lab.problem(nn.Linear(4, 3).double(), data))


def test_too_many_weights_for_unit_vectors_are_refused_with_their_number(
    monkeypatch: pytest.MonkeyPatch, lab: "Lab"
) -> None:
    monkeypatch.setattr(diagonal, "MOST_WEIGHTS", 34)
    network = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    problem = lab.problem(network, lab.data((4,)))
    with pytest.raises(NetworkError, match=r"\(Tanh\), so .* each of its 35 weights, and at most 34 .*give draws=100"):
        obd(problem)
    monkeypatch.setattr(diagonal, "MOST_WEIGHTS", 35)
    obd(problem)


def test_unused_layers_have_no_curvature(lab: "Lab") -> None:
    for activation in (nn.ReLU(), nn.Tanh()):
        network = nn.Sequential(nn.Linear(4, 5), activation, nn.Linear(5, 3))
        network[1].add_module("spare", nn.Linear(2, 2))
        network.double()
        for found in (exact_diagonal, partial(hutchinson_diagonal, draws=2)):
            assert not bool(found(network, lab.batch(lab.data((4,))))["1.spare.weight"].any())


@pytest.mark.parametrize("method", [exact_diagonal, hutchinson_diagonal])
def test_derivatives_that_are_no_numbers_are_named_by_layer(method: Diagonal, torn: Problem, lab: "Lab") -> None:
    with pytest.raises(NetworkError, match="of layer '0' hold NaN or infinite values"):
        obd(torn, diagonal=method)
    broken = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3)).double()
    with torch.no_grad():
        broken.get_parameter("2.bias")[0] = float("nan")
    with pytest.raises(NetworkError, match="of layer '0' hold NaN or infinite values"):
        obd(lab.problem(broken, lab.data((4,))), diagonal=method)


def test_a_loss_without_curvature_is_refused(lab: "Lab") -> None:
    """All derivatives by the weights are 0 at second order, so that nothing could be told apart."""

    def flat(network: nn.Module, *_: object) -> dict[str, torch.Tensor]:
        return {"weight": torch.zeros(3, 4)}

    with pytest.raises(NetworkError, match="0 for every weight, as it is of an absolute error"):
        obd(lab.problem(nn.Linear(4, 3).double(), lab.data((4,))), diagonal=flat)
    torch.manual_seed(0)
    data = from_tensors(torch.randn(80, 4), torch.randn(80), task=OwnTask(loss=l1_loss_of_column), seed=0)
    with pytest.raises(NetworkError, match="take a score by the first derivative"):
        bayesprune.prune(nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 1)), data, "obd", density=0.5, epochs=1)


def l1_loss_of_column(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean absolute error."""
    return l1_loss(outputs[:, 0], targets)

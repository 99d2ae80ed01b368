"""All flips with linearised logits, against flips made one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from bayesprune.errors import SettingError
from bayesprune.inference.elbo import MiniBatch
from bayesprune.inference.estimators import LinearisedFlips
from bayesprune.inference.handlers import draw_gates
from bayesprune.models.likelihoods import GaussianLikelihood

if TYPE_CHECKING:
    from tests.inference.conftest import Moments, Tiny


def estimate(case: Tiny, copies: int = 1) -> Tensor:
    """One estimate [6] from so many copies of the data."""
    problem = MiniBatch(case.model, case.guide, case.inputs.repeat(copies, 1), case.labels.repeat(copies))
    return torch.autograd.grad(LinearisedFlips().loss(problem, case.guide.theta), case.guide.theta)[0]


def differences(case: Tiny, linear: bool) -> Tensor:
    """Mean of l(z_j = 1) - l(z_j = 0) over the examples under the gates of seed 3, flip by flip [6].

    With `linear` the logits after a flip are those that a difference quotient of the logits foretells.
    """
    network: Any = case.model.network
    torch.manual_seed(3)
    gates = draw_gates(case.guide.theta, len(case.inputs))

    def logits(z: Tensor) -> Tensor:
        hidden: Tensor = network.fc2(network.fc1(case.inputs).relu() * z[:, :3]).relu()
        return network.fc3(hidden * z[:, 3:])

    result = torch.zeros(6, dtype=torch.float64)
    with torch.no_grad():
        for j in range(6):
            sign = 1 - 2 * gates[:, j]
            moved = gates.clone()
            moved[:, j] += sign * (1e-6 if linear else 1.0)
            after = logits(moved)
            if linear:
                after = logits(gates) + (after - logits(gates)) / 1e-6
            losses = [cross_entropy(some, case.labels, reduction="none") for some in (logits(gates), after)]
            result[j] = (-sign * (losses[0] - losses[1])).mean()
    return result


def test_it_is_every_flip_of_the_linearised_logits(tiny: Callable[..., Tiny]) -> None:
    case = tiny()
    torch.manual_seed(3)
    torch.testing.assert_close(estimate(case), differences(case, linear=True), rtol=1e-5, atol=1e-7)


def test_before_a_linear_last_layer_it_is_every_flip_as_it_is(tiny: Callable[..., Tiny]) -> None:
    case = tiny()
    torch.manual_seed(3)
    torch.testing.assert_close(estimate(case)[3:], differences(case, linear=False)[3:])


def test_its_mean_is_the_exact_gradient_before_the_last_layer(
    tiny: Callable[..., Tiny],
    by_hand: Callable[[Tiny], tuple[Tensor, Tensor]],
    moments: Callable[[Iterable[Tensor]], Moments],
) -> None:
    case = tiny()
    truth = torch.autograd.grad(by_hand(case)[0], case.guide.theta)[0]
    torch.manual_seed(0)
    found = moments(estimate(case, 40) for _ in range(100))
    assert bool((found.distance(truth)[3:] < 4).all()), found.distance(truth)


def test_weights_get_the_gradient_of_the_loss(tiny: Callable[..., Tiny]) -> None:
    case = tiny()
    network: Any = case.model.network
    torch.manual_seed(3)
    loss = LinearisedFlips().loss(MiniBatch(case.model, case.guide, case.inputs, case.labels), case.guide.theta)
    torch.manual_seed(3)
    gates = draw_gates(case.guide.theta, 5)
    hidden = network.fc1(case.inputs).relu() * gates[:, :3]
    plain = cross_entropy(network.fc3(network.fc2(hidden).relu() * gates[:, 3:]), case.labels)
    torch.testing.assert_close(loss, plain)
    weights = list(network.parameters())
    torch.testing.assert_close(torch.autograd.grad(loss, weights), torch.autograd.grad(plain, weights))


def test_labels_that_are_no_classes_are_refused(tiny: Callable[..., Tiny]) -> None:
    case = tiny(likelihood=GaussianLikelihood())
    problem = MiniBatch(case.model, case.guide, case.inputs, torch.zeros(5, 3).double())
    with pytest.raises(SettingError, match="needs labels that are classes"):
        LinearisedFlips().loss(problem, case.guide.theta)

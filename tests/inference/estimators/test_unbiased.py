"""Every unbiased estimator against the gradient enumerated by hand: gates, weights and loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor

from bayesprune.inference.elbo import MiniBatch
from bayesprune.inference.estimators import ESTIMATORS, GateEstimator, estimator

if TYPE_CHECKING:
    from tests.inference.conftest import Moments, Tiny

COPIES, STEPS = 40, 100
"""Each step draws gates for 40 copies of 5 examples: 20,000 draws, and 100 independent estimates for the error."""

UNBIASED: list[tuple[str, dict[str, Any]]] = [
    ("salient-flips", {}),
    ("salient-flips", {"flips": 40, "floor": 1.0}),
    ("uniform-flips", {}),
    ("uniform-flips", {"control": True}),
    ("disarm", {}),
    ("score-function", {}),
]


def named(case: tuple[str, dict[str, Any]]) -> str:
    return " ".join([case[0], *(f"{key}={value}" for key, value in case[1].items())])


def gradients(chosen: GateEstimator, case: Tiny, copies: int, steps: int) -> Iterator[Tensor]:
    """One step after the other: the loss, its gradient in theta, and in all weights."""
    inputs, labels = case.inputs.repeat(copies, 1), case.labels.repeat(copies)
    parameters = [case.guide.theta, *case.model.network.parameters()]
    for _ in range(steps):
        loss = chosen.loss(MiniBatch(case.model, case.guide, inputs, labels), case.guide.theta)
        slopes = torch.autograd.grad(loss, parameters)
        yield torch.cat([loss.detach().reshape(1), *(slope.flatten() for slope in slopes)])


def enumerated(case: Tiny, by_hand: Callable[[Tiny], tuple[Tensor, Tensor]]) -> Tensor:
    """The same, exactly."""
    loss, _ = by_hand(case)
    slopes = torch.autograd.grad(loss, [case.guide.theta, *case.model.network.parameters()])
    return torch.cat([loss.detach().reshape(1), *(slope.flatten() for slope in slopes)])


def test_the_list_of_unbiased_estimators_is_complete() -> None:
    assert {name for name, _ in UNBIASED} == {name for name, make in ESTIMATORS.items() if make().unbiased}


@pytest.mark.parametrize("seed", [0, 18])
@pytest.mark.parametrize("settings", UNBIASED, ids=named)
def test_mean_is_the_enumerated_gradient(
    seed: int,
    settings: tuple[str, dict[str, Any]],
    tiny: Callable[..., Tiny],
    by_hand: Callable[[Tiny], tuple[Tensor, Tensor]],
    moments: Callable[[Iterable[Tensor]], Moments],
) -> None:
    """20,000 draws at a fixed seed: 3 standard errors for every gate, 4.5 for the largest of the 39 weights."""
    case, chosen = tiny(seed=seed), estimator(settings[0], **settings[1])
    torch.manual_seed(0)
    measured, truth = moments(gradients(chosen, case, COPIES, STEPS)), enumerated(case, by_hand)
    distance = measured.distance(truth)
    assert float(distance[:7].max()) < 3, f"loss and gates, in standard errors: {distance[:7]}"
    assert float(distance[7:].max()) < 4.5, f"weights, in standard errors: {distance[7:]}"
    # and a standard error is little: at most a tenth of the gradient
    assert float(measured.error[1:7].max()) < 0.1 * float(truth[1:7].square().mean().sqrt())


@pytest.mark.parametrize("theta", [0.1, 0.9], ids=str)
@pytest.mark.parametrize("settings", UNBIASED, ids=named)
def test_mean_is_the_enumerated_gradient_near_the_ends(
    theta: float,
    settings: tuple[str, dict[str, Any]],
    tiny: Callable[..., Tiny],
    by_hand: Callable[[Tiny], tuple[Tensor, Tensor]],
    moments: Callable[[Iterable[Tensor]], Moments],
) -> None:
    """Gates almost decided, where score functions are at their noisiest; steps enough to meet the rare draws."""
    case, chosen = tiny(theta=theta, seed=18), estimator(settings[0], **settings[1])
    torch.manual_seed(1)
    measured, truth = moments(gradients(chosen, case, COPIES, 3 * STEPS)), enumerated(case, by_hand)
    assert float(measured.distance(truth)[:7].max()) < 4


@pytest.mark.long
@pytest.mark.parametrize("settings", UNBIASED, ids=named)
def test_mean_is_the_enumerated_gradient_over_two_million_draws(
    settings: tuple[str, dict[str, Any]],
    tiny: Callable[..., Tiny],
    by_hand: Callable[[Tiny], tuple[Tensor, Tensor]],
    moments: Callable[[Iterable[Tensor]], Moments],
) -> None:
    """Ten times smaller standard errors, with another seed and other weights."""
    case, chosen = tiny(seed=18), estimator(settings[0], **settings[1])
    torch.manual_seed(2)
    measured, truth = moments(gradients(chosen, case, COPIES * 10, STEPS * 10)), enumerated(case, by_hand)
    assert float(measured.distance(truth)[:7].max()) < 3.5
    assert float(measured.distance(truth)[7:].max()) < 4.5


@pytest.mark.parametrize("settings", UNBIASED, ids=named)
def test_decided_gates_do_not_spoil_the_others(
    settings: tuple[str, dict[str, Any]],
    tiny: Callable[..., Tiny],
    by_hand: Callable[[Tiny], tuple[Tensor, Tensor]],
    moments: Callable[[Iterable[Tensor]], Moments],
) -> None:
    """With gates at exactly 0 and 1 the gradient of the undecided ones is still right, and nothing is infinite."""
    case, chosen = tiny(theta=(0.0, 0.6, 1.0, 1.0, 0.4, 0.7)), estimator(settings[0], **settings[1])
    torch.manual_seed(0)
    measured, truth = moments(gradients(chosen, case, COPIES, STEPS)), enumerated(case, by_hand)
    assert torch.isfinite(measured.mean).all()
    looked_at = [0, 2, 5, 6] if chosen.name in ("disarm", "score-function") else list(range(7))
    assert float(measured.distance(truth)[looked_at].max()) < 3

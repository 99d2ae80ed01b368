"""The oracle itself, against a network written out by hand and against its own multilinearity."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from bayesprune.errors import SettingError
from bayesprune.inference.guides import GaussianWeightGuide
from bayesprune.inference.references.oracle import LARGEST, all_gates, expected_loss, negative_elbo

if TYPE_CHECKING:
    from tests.inference.conftest import Tiny

ByHand = Callable[["Tiny"], tuple[Tensor, Tensor]]


def test_every_setting_once() -> None:
    assert {tuple(row) for row in all_gates(3).tolist()} == set(product([0.0, 1.0], repeat=3))
    assert all_gates(3).shape == (8, 3)
    assert all_gates(0).shape == (1, 0)
    with pytest.raises(SettingError, match="at most 12"):
        all_gates(LARGEST + 1)


@pytest.mark.parametrize("seed", [0, 3, 18])
def test_loss_and_gradient_are_those_by_hand(seed: int, tiny: Callable[..., Tiny], by_hand: ByHand) -> None:
    case = tiny(seed=seed)
    loss, _ = by_hand(case)
    (gradient,) = torch.autograd.grad(loss, case.guide.theta)
    value, slopes = expected_loss(*case)
    torch.testing.assert_close(value, loss.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(slopes, gradient, rtol=1e-12, atol=1e-12)


def test_gradient_is_the_difference_between_open_and_closed(tiny: Callable[..., Tiny]) -> None:
    """The loss is multilinear: its slope in theta_j is C(theta_j = 1) - C(theta_j = 0), its second difference 0."""
    case = tiny(inputs="all", theta=0.3)
    _, slopes = expected_loss(*case)
    assert len(slopes) == 10  # four inputs as well
    values = []
    for theta in (0.0, 0.5, 1.0):
        with torch.no_grad():
            case.guide.theta[8] = theta
        values.append(expected_loss(*case)[0])
    torch.testing.assert_close(values[2] - values[0], slopes[8], rtol=1e-10, atol=1e-12)
    assert abs(float(values[2] - 2 * values[1] + values[0])) < 1e-12


def test_gaussian_weights_are_refused(tiny: Callable[..., Tiny]) -> None:
    case = tiny(guide=GaussianWeightGuide, weight_sites=True)
    for oracle in (expected_loss, negative_elbo):
        with pytest.raises(SettingError, match="weights with a distribution cannot"):
            oracle(*case)

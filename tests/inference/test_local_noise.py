"""Weights drawn for each example: the law of a linear layer's outputs, against draws of the weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from bayesprune.errors import UnknownNameError
from bayesprune.inference.guides import GaussianWeightGuide
from bayesprune.inference.local_noise import local_noise
from bayesprune.models.priors.weights import GaussianSlab

if TYPE_CHECKING:
    from tests.inference.conftest import Tiny

DRAWS = 20_000


def layer(bias: bool = True) -> tuple[nn.Linear, Tensor, Tensor | None]:
    made = torch.Generator().manual_seed(0)
    linear = nn.Linear(3, 2, bias=bias).double()
    weight = 0.2 + torch.rand(2, 3, generator=made, dtype=torch.float64)
    return linear, weight, torch.rand(2, generator=made, dtype=torch.float64) if bias else None


@pytest.mark.parametrize("bias", [True, False])
def test_outputs_have_the_mean_and_variance_of_drawn_weights(bias: bool) -> None:
    """Mean W x + b and variance (s^2) . x^2 + s_b^2, a draw for each example, outputs independent."""
    linear, weight, own = layer(bias)
    one = torch.tensor([0.5, -2.0, 1.5], dtype=torch.float64)
    mean = linear(one).detach()
    variance = (weight**2 * one**2).sum(1) + (0 if own is None else own**2)
    torch.manual_seed(0)
    with torch.no_grad(), local_noise({linear: (weight, own)}):
        outputs = linear(one.expand(DRAWS, 3))
    assert float(((outputs.mean(0) - mean).abs() / (variance / DRAWS).sqrt()).max()) < 4
    assert float((outputs.var(0) / variance - 1).abs().max()) < 4 * (2 / DRAWS) ** 0.5
    assert abs(float(torch.corrcoef(outputs.T)[0, 1])) < 4 / DRAWS**0.5
    assert torch.equal(linear(one), linear(one))  # and afterwards no noise


def test_gradients_are_those_of_the_standard_deviation() -> None:
    """d output / d s_ij = e s_ij x_j^2 / sqrt(variance), e the noise; finite where nothing varies."""
    linear, weight, own = layer()
    weight.requires_grad_()
    one = torch.tensor([[0.5, -2.0, 1.5]], dtype=torch.float64)
    torch.manual_seed(0)
    with local_noise({linear: (weight, own)}):
        outputs = linear(one)
    assert own is not None
    deviation = ((weight**2 * one**2).sum(1) + own**2).sqrt().detach()
    noise = ((outputs - linear(one)) / deviation).detach()
    (slope,) = torch.autograd.grad(outputs.sum(), weight)
    torch.testing.assert_close(slope, noise.T * weight.detach() * one**2 / deviation.unsqueeze(1))
    with local_noise({linear: (weight, torch.zeros(2).double())}):
        (slope,) = torch.autograd.grad(linear(torch.zeros(1, 3).double()).sum(), weight)
    assert bool(torch.isfinite(slope).all())


def test_positions_of_an_example_share_their_weights() -> None:
    """[B, T, F]: the outputs at two equal positions are equal, as with one draw of the weights."""
    linear, weight, own = layer()
    inputs = torch.ones(4, 2, 3, dtype=torch.float64)
    with torch.no_grad(), local_noise({linear: (weight, own)}):
        one, other = linear(inputs).unbind(1)
    assert torch.equal(one, other) and not torch.allclose(one, linear(inputs[:, 0]))


def test_a_guide_leaves_linear_layers_to_the_noise_and_masked_weights_alone(tiny: Callable[..., Tiny]) -> None:
    guide = partial(GaussianWeightGuide, deviation=0.3, draws="example")
    case = tiny(guide=guide, weight_sites=True, weight_prior=GaussianSlab(0.7))
    network = case.model.network
    drawn = case.guide.sample_weights()
    assert all(torch.equal(drawn[name], value) for name, value in network.named_parameters())
    case.guide.masks = {
        f"fc1.{name}": torch.zeros_like(p) for name, p in network.get_submodule("fc1").named_parameters()
    }
    fc1, fc2 = network.get_submodule("fc1"), network.get_submodule("fc2")
    still, moving = fc1(case.inputs), fc2(case.inputs[:, :3])
    with case.guide.local_noise():
        torch.testing.assert_close(fc1(case.inputs), still, rtol=0, atol=1e-6)
        assert not torch.allclose(fc2(case.inputs[:, :3]), moving, atol=1e-3)
    assert isinstance(case.guide, GaussianWeightGuide)
    case.guide.draws = "batch"
    drawn = case.guide.sample_weights()
    assert torch.equal(drawn["fc1.weight"], network.get_parameter("fc1.weight"))
    assert not torch.equal(drawn["fc2.weight"], network.get_parameter("fc2.weight"))
    with pytest.raises(UnknownNameError, match="unknown draws 'each'"):
        GaussianWeightGuide(case.model, draws="each")

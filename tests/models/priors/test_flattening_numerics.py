"""The flattening hyper-prior near gamma = 1, at extreme prices, and as a citizen of torch and Pyro."""

import math
from functools import partial
from typing import Any

import pyro
import pytest
import torch
from pyro import poutine
from torch.autograd import gradcheck

from bayesprune.models.priors import FlatteningHyperPrior, flattened_penalty, most_probable_inclusion

# near 1, and on both sides of every switch between a series and the closed form
OFFSETS = [-1e-2, -1e-4, -1e-10, 0.0, 1e-10, 1e-4, 1e-2, 0.011, 0.06, 0.4, 1.6, 1.8]


@pytest.mark.parametrize("quantity", ["log_prob", "cdf", "icdf", "mean", "variance"])
def test_gradients_with_respect_to_gamma_near_one(quantity: str) -> None:
    points = torch.tensor([0.0, 1e-3, 0.2, 0.5, 0.9, 1.0], dtype=torch.float64)
    gamma = (1 + torch.tensor(OFFSETS, dtype=torch.float64)).requires_grad_()

    def function(g: torch.Tensor) -> torch.Tensor:
        prior = FlatteningHyperPrior(g)
        found = getattr(prior, quantity)
        return found if isinstance(found, torch.Tensor) else found(points[:, None])

    assert gradcheck(function, (gamma,), eps=1e-6, atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("log_gamma", [-30.0, -3.0, -1.0, -0.5, 0.0, 0.3, 1.0, 5.0, 30.0])
def test_gradients_with_respect_to_log_gamma_and_value(log_gamma: float) -> None:
    price = torch.tensor(log_gamma, dtype=torch.float64, requires_grad=True)
    points = torch.tensor([0.05, 0.3, 0.5, 0.95], dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda g, x: FlatteningHyperPrior(log_gamma=g).log_prob(x), (price, points))
    assert gradcheck(lambda g, x: FlatteningHyperPrior(log_gamma=g).cdf(x), (price, points))
    assert gradcheck(lambda g, x: FlatteningHyperPrior(log_gamma=g).icdf(x), (price, points))
    assert gradcheck(lambda g, x: most_probable_inclusion(x, g), (price, points))
    assert gradcheck(lambda g, x: flattened_penalty(x, g), (price, points))


def test_slope_at_gamma_one_is_half_minus_pi() -> None:
    price = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    pi = torch.linspace(0.0, 1.0, 5, dtype=torch.float64)
    (slope,) = torch.autograd.grad(FlatteningHyperPrior(log_gamma=price).log_prob(pi).sum(), price)
    torch.testing.assert_close(slope, 0.5 - pi, rtol=0, atol=1e-14)


@pytest.mark.parametrize("log_gamma", [-20.0, -0.5, 0.5, 20.0])
def test_slopes_at_both_ends_of_the_interval(log_gamma: float) -> None:
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64, requires_grad=True)
    prior = FlatteningHyperPrior(log_gamma=torch.tensor(log_gamma, dtype=torch.float64))
    (slope,) = torch.autograd.grad(prior.log_prob(ends).sum(), ends)
    torch.testing.assert_close(
        slope, torch.tensor([-math.expm1(log_gamma), math.expm1(-log_gamma)], dtype=torch.float64)
    )
    (slope,) = torch.autograd.grad(most_probable_inclusion(ends, prior.log_gamma).sum(), ends)
    torch.testing.assert_close(slope, torch.tensor([-log_gamma, log_gamma], dtype=torch.float64).exp())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("log_gamma", [-1e4, -200.0, -1e-8, 0.0, 1e-8, 200.0, 1e4])
def test_everything_is_finite_at_extreme_prices(log_gamma: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    price = torch.tensor(log_gamma, dtype=dtype, requires_grad=True)
    prior = FlatteningHyperPrior(log_gamma=price)
    pi = torch.tensor([0.0, 1e-30, 1e-6, 0.3, 1 - 1e-6, 1.0], dtype=dtype)
    found = [function(pi) for function in (prior.log_prob, prior.cdf, prior.icdf)]
    found += [prior.mean, prior.variance, prior.rsample((50,))]
    found += [most_probable_inclusion(pi, price), flattened_penalty(pi, price)]
    for quantity in found:
        assert quantity.dtype == dtype
        assert torch.isfinite(quantity).all()
        (slope,) = torch.autograd.grad(quantity.sum(), price, allow_unused=False)
        assert torch.isfinite(slope)
    assert ((prior.rsample((50,)) >= 0) & (prior.rsample((50,)) <= 1)).all()
    assert ((prior.mean >= 0) & (prior.mean <= 1) & (prior.variance > 0)).all()


@pytest.mark.parametrize("log_gamma", [-200.0, -8.0, 8.0, 200.0])
def test_single_precision_agrees_with_double(log_gamma: float) -> None:
    price = torch.tensor(log_gamma)
    single, double = FlatteningHyperPrior(log_gamma=price), FlatteningHyperPrior(log_gamma=price.double())
    # 1 - 2**-20 and 2**-k are the same number in both precisions
    pi = torch.tensor([0.0, 2.0**-80, 2.0**-20, 0.25, 0.5, 1 - 2.0**-20, 1.0])
    wide = pi.double()
    assert_close = partial(torch.testing.assert_close, check_dtype=False)
    assert_close(single.log_prob(pi), double.log_prob(wide), rtol=3e-6, atol=3e-6)
    assert_close(single.cdf(pi), double.cdf(wide), rtol=3e-6, atol=1e-37)
    assert_close(single.icdf(pi), double.icdf(wide), rtol=3e-5, atol=1e-37)
    assert_close(single.mean, double.mean, rtol=3e-6, atol=0.0)
    assert_close(single.variance, double.variance, rtol=3e-6, atol=0.0)


def test_values_at_a_huge_price_are_the_limits() -> None:
    prior = FlatteningHyperPrior(log_gamma=torch.tensor(1e4))
    ends = prior.log_prob(torch.tensor([0.0, 1.0]))
    # density (gamma-1)/L at 0 and (1 - 1/gamma)/L at 1
    torch.testing.assert_close(ends, torch.tensor([1e4 - math.log(1e4), -math.log(1e4)]))
    torch.testing.assert_close(prior.mean, torch.tensor(1e-4))
    torch.testing.assert_close(prior.cdf(torch.tensor(0.5)), torch.tensor(1 - math.log(2) / 1e4))
    chosen = most_probable_inclusion(torch.tensor([0.0, 0.5, 1.0]), torch.tensor(1e4))
    torch.testing.assert_close(chosen, torch.tensor([0.0, 0.0, 1.0]))
    penalty = flattened_penalty(torch.tensor([0.0, 1 - 2.0**-20, 1.0]), torch.tensor(1e4))
    log_price = math.log(1e4)
    expected = torch.tensor([log_price - 1e4, log_price - 1e4 * 2.0**-20, log_price])
    torch.testing.assert_close(penalty, expected)


def test_slope_of_the_penalty_is_the_price() -> None:
    theta = torch.tensor([0.0, 0.4, 1.0], requires_grad=True)
    price = torch.tensor([-3.0, 0.0, 80.0])
    (slope,) = torch.autograd.grad(flattened_penalty(theta, price).sum(), theta)
    torch.testing.assert_close(slope, price)


def test_pathwise_gradient_of_the_mean() -> None:
    """E[d pi/d L] by samples equals the derivative of the closed-form mean."""
    torch.manual_seed(3)
    price = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    prior = FlatteningHyperPrior(log_gamma=price)
    (exact,) = torch.autograd.grad(prior.mean, price)
    sampled = FlatteningHyperPrior(log_gamma=price.expand(20000)).rsample()
    (per_draw,) = torch.autograd.grad(sampled.mean(), price)
    assert per_draw.item() == pytest.approx(exact.item(), rel=0.02)


def test_shapes_and_parameters() -> None:
    prior = FlatteningHyperPrior(torch.tensor([[2.0], [3.0]]))
    assert prior.batch_shape == (2, 1) and prior.event_shape == ()
    wide = prior.expand((4, 2, 5))
    assert isinstance(wide, FlatteningHyperPrior)
    assert wide.batch_shape == (4, 2, 5) and wide.mean.shape == (4, 2, 5)
    assert wide.sample((7,)).shape == (7, 4, 2, 5)
    assert prior.expand_by([6]).batch_shape == (6, 2, 1)
    value = torch.tensor(0.3)
    torch.testing.assert_close(wide.log_prob(value), prior.log_prob(value).expand(4, 2, 5))
    torch.testing.assert_close(prior.gamma, torch.tensor([[2.0], [3.0]]))
    assert prior.has_rsample and prior.support is torch.distributions.constraints.unit_interval
    assert FlatteningHyperPrior(10).log_gamma.dtype == torch.get_default_dtype()
    assert FlatteningHyperPrior(torch.tensor([2, 3])).log_gamma.dtype == torch.get_default_dtype()


def test_a_value_outside_the_unit_interval_is_refused_when_validating() -> None:
    with pytest.raises(ValueError, match="support"):
        FlatteningHyperPrior(2.0, validate_args=True).log_prob(torch.tensor(1.5))


def test_as_a_site_of_a_pyro_model() -> None:
    price = torch.tensor([-1.0, 0.0, 2.0, 30.0])
    keep = torch.tensor([True, False, True, True])

    def model() -> None:
        pyro.sample("inclusion", FlatteningHyperPrior(log_gamma=price).to_event(1))
        with pyro.plate("gates", 4):
            pyro.sample("plated", FlatteningHyperPrior(gamma=3.0))
            pyro.sample("masked", FlatteningHyperPrior(log_gamma=price).mask(keep))

    pyro.set_rng_seed(1)
    trace = poutine.trace(model).get_trace()
    trace.compute_log_prob()
    direct = FlatteningHyperPrior(log_gamma=price)
    nodes: dict[str, Any] = dict(trace.nodes)
    site = nodes["inclusion"]
    assert site["fn"].event_shape == (4,) and site["fn"].batch_shape == ()
    torch.testing.assert_close(site["log_prob"], direct.log_prob(site["value"]).sum())
    assert nodes["plated"]["value"].shape == (4,)
    masked = nodes["masked"]
    torch.testing.assert_close(masked["log_prob"], torch.where(keep, direct.log_prob(masked["value"]), 0.0))

"""The spike-and-slab law of a node's weights against quadrature, sampling and the SS-IG formula."""

import math
from typing import Any

import pyro
import pytest
import torch
from pyro import poutine
from scipy import integrate, stats
from torch import Tensor
from torch.distributions import kl_divergence

from bayesprune.errors import SettingError
from bayesprune.models.priors import NodeSpikeSlab, NodeSpikeSlabPosterior

LOC = torch.tensor([[0.5, -1.0, 2.0], [0.0, 0.1, -0.3]], dtype=torch.float64)
SCALE = torch.tensor([[0.3, 1.0, 0.2], [0.7, 0.05, 1.5]], dtype=torch.float64)


def posterior(inclusion: list[float]) -> NodeSpikeSlabPosterior:
    """Two nodes of three weights."""
    return NodeSpikeSlabPosterior(torch.tensor(inclusion, dtype=torch.float64), LOC, SCALE)


def prior(inclusion: float = 0.2, scale: float = 1.3) -> NodeSpikeSlab:
    """The prior of two nodes of three weights, in float64."""
    return NodeSpikeSlab(torch.tensor([inclusion] * 2, dtype=torch.float64), scale, 3)


@pytest.mark.parametrize("inclusion", [0.0, 0.3, 1.0])
def test_mass_at_zero_and_density_elsewhere_add_to_one(inclusion: float) -> None:
    law = NodeSpikeSlab(torch.tensor(inclusion, dtype=torch.float64), 0.7, 1)

    def part(x: float) -> float:
        return law.log_prob(torch.tensor([x], dtype=torch.float64)).exp().item()

    # the quadrature nodes never hit 0, where the law has its point mass
    slab = integrate.quad(part, -9.0, -1e-300)[0] + integrate.quad(part, 1e-300, 9.0)[0]
    mass = part(0.0)
    assert mass == pytest.approx(1.0 - inclusion, abs=1e-14)
    assert slab == pytest.approx(inclusion, abs=1e-10)


def test_log_prob_of_vectors() -> None:
    law = prior(0.2, 1.3)
    vectors = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.5, -1.0]], dtype=torch.float64)
    slab = stats.norm(0, 1.3).logpdf(vectors[1].numpy()).sum()
    expected = torch.tensor([math.log(0.8), math.log(0.2) + slab], dtype=torch.float64)
    torch.testing.assert_close(law.log_prob(vectors), expected)
    twin = posterior([0.9, 0.4])
    slab = stats.norm(LOC[1].numpy(), SCALE[1].numpy()).logpdf(vectors[1].numpy()).sum()
    expected = torch.tensor([math.log(0.1), math.log(0.4) + slab], dtype=torch.float64)
    torch.testing.assert_close(twin.log_prob(vectors), expected)


def test_tiny_inclusion_keeps_its_digits_in_single_precision() -> None:
    law = NodeSpikeSlab(torch.tensor(1e-12), torch.tensor(1.0), 1)
    expected = math.log(1e-12) + stats.norm.logpdf(1.0)
    assert law.log_prob(torch.tensor([1.0])).item() == pytest.approx(expected, rel=1e-6)
    assert law.log_prob(torch.tensor([0.0])).item() == pytest.approx(-1e-12, rel=1e-6)


def test_gradient_with_respect_to_decided_inclusion_is_not_nan() -> None:
    inclusion = torch.tensor([0.0, 1.0], requires_grad=True)
    law = NodeSpikeSlab(inclusion, 1.0, 2)
    vectors = torch.tensor([[0.0, 0.0], [1.0, -1.0]])
    (slope,) = torch.autograd.grad(law.log_prob(vectors).sum(), inclusion)
    torch.testing.assert_close(slope, torch.tensor([-1.0, 1.0]))


@pytest.mark.parametrize("law", [prior(0.3, 0.8), posterior([0.25, 0.9])], ids=["prior", "posterior"])
def test_moments_by_sampling(law: NodeSpikeSlab | NodeSpikeSlabPosterior) -> None:
    torch.manual_seed(5)
    draws = law.sample((60_000,))
    error = draws.std(0) / math.sqrt(len(draws))
    assert ((draws.mean(0) - law.mean).abs() < 4 * error).all()
    torch.testing.assert_close(draws.var(0), law.variance, rtol=0.04, atol=0.0)
    closed = (draws == 0).all(-1)
    assert torch.equal(closed, (draws == 0).any(-1))  # a node is closed as a whole or not at all
    share = law.inclusion
    assert ((1 - closed.double().mean(0) - share).abs() < 4 * (share * (1 - share) / len(draws)).sqrt()).all()
    one_open = draws[:, 1, 1][~closed[:, 1]].numpy()
    slab = stats.norm(law.slab_loc[1, 1].item(), law.slab_scale[1, 1].item())
    assert stats.kstest(one_open[:5000], slab.cdf).pvalue > 1e-3


def test_moments_by_hand() -> None:
    torch.testing.assert_close(prior(0.3, 2.0).mean, torch.zeros(2, 3, dtype=torch.float64))
    torch.testing.assert_close(prior(0.3, 2.0).variance, torch.full((2, 3), 1.2, dtype=torch.float64))
    twin = posterior([0.25, 1.0])
    second = 0.25 * (0.3**2 + 0.5**2) - (0.25 * 0.5) ** 2
    assert twin.variance[0, 0].item() == pytest.approx(second)
    torch.testing.assert_close(twin.variance[1], SCALE[1] ** 2)


def test_kl_against_monte_carlo() -> None:
    torch.manual_seed(7)
    q, p = posterior([0.35, 0.8]), prior(0.1, 1.3)
    draws = q.sample((100_000,))
    ratio = q.log_prob(draws) - p.log_prob(draws)
    error = ratio.std(0) / math.sqrt(len(draws))
    exact = kl_divergence(q, p)
    assert exact.shape == (2,)
    assert ((ratio.mean(0) - exact).abs() < 4 * error).all()
    assert (error < 0.05).all()


def test_kl_is_the_ss_ig_sum() -> None:
    g, lam, sigma0 = 0.35, 0.1, 1.3
    q, p = posterior([g, 0.8]), prior(lam, sigma0)
    slab = sum(
        math.log(sigma0 / s) + (s * s + m * m) / (2 * sigma0**2) - 0.5
        for m, s in zip(LOC[0].tolist(), SCALE[0].tolist(), strict=True)
    )
    expected = g * math.log(g / lam) + (1 - g) * math.log((1 - g) / (1 - lam)) + g * slab
    assert kl_divergence(q, p)[0].item() == pytest.approx(expected, rel=1e-12)


def test_kl_of_decided_nodes() -> None:
    p = prior(0.1, 1.3)
    slab = torch.distributions.kl_divergence(
        torch.distributions.Normal(LOC, SCALE), torch.distributions.Normal(0.0, torch.full_like(SCALE, 1.3))
    ).sum(-1)
    closed, opened = kl_divergence(posterior([0.0, 0.0]), p), kl_divergence(posterior([1.0, 1.0]), p)
    torch.testing.assert_close(closed, torch.full((2,), -math.log(0.9), dtype=torch.float64))
    torch.testing.assert_close(opened, slab - math.log(0.1))
    torch.testing.assert_close(kl_divergence(posterior([1.0, 1.0]), prior(1.0, 1.3)), slab)
    torch.testing.assert_close(kl_divergence(posterior([0.0, 0.0]), prior(0.0, 1.3)), torch.zeros_like(slab))
    assert torch.isinf(kl_divergence(posterior([0.5, 0.5]), prior(1.0, 1.3))).all()
    assert torch.isinf(kl_divergence(posterior([0.5, 0.5]), prior(0.0, 1.3))).all()
    torch.testing.assert_close(kl_divergence(p, p), torch.zeros(2, dtype=torch.float64))


def test_kl_gradients() -> None:
    inclusion = torch.tensor([0.3, 0.7], dtype=torch.float64, requires_grad=True)
    loc, scale = LOC.clone().requires_grad_(), SCALE.clone().requires_grad_()
    p = prior(0.1, 1.3)
    assert torch.autograd.gradcheck(
        lambda g, m, s: kl_divergence(NodeSpikeSlabPosterior(g, m, s), p), (inclusion, loc, scale)
    )
    decided = torch.tensor([0.0, 1.0], dtype=torch.float64, requires_grad=True)
    total = kl_divergence(NodeSpikeSlabPosterior(decided, loc, scale), p).sum()
    slopes = torch.autograd.grad(total, (decided, loc))
    assert all(torch.isfinite(slope).all() for slope in slopes)
    assert (slopes[1][0] == 0).all() and (slopes[1][1] != 0).any()  # a closed node's weights feel no pull


def test_shapes_expand_and_events() -> None:
    law = NodeSpikeSlab(torch.tensor([0.1, 0.2]), 1.0, 5)
    assert law.batch_shape == (2,) and law.event_shape == (5,)
    assert law.support.event_dim == 1 and not law.has_rsample
    wide = law.expand((3, 2))
    assert isinstance(wide, NodeSpikeSlab) and wide.sample((4,)).shape == (4, 3, 2, 5)
    torch.testing.assert_close(wide.log_prob(torch.ones(5)), law.log_prob(torch.ones(5)).expand(3, 2))
    twin = NodeSpikeSlabPosterior(torch.tensor(0.5), torch.zeros(4, 5), torch.ones(5))
    assert twin.batch_shape == (4,) and twin.expand((2, 4)).sample().shape == (2, 4, 5)
    assert twin.mean.shape == twin.variance.shape == (4, 5)
    layers = kl_divergence(twin.to_event(1), NodeSpikeSlab(torch.full((4,), 0.5), 1.0, 5).to_event(1))
    torch.testing.assert_close(layers, torch.tensor(0.0))


def test_as_a_site_of_a_pyro_model() -> None:
    def model() -> Tensor:
        weights: Tensor = pyro.sample("weights", NodeSpikeSlab(torch.full((6,), 0.5), 0.5, 4).to_event(1))
        return weights

    pyro.set_rng_seed(0)
    trace = poutine.trace(model).get_trace()
    trace.compute_log_prob()
    site: dict[str, Any] = dict(trace.nodes["weights"])
    value = site["value"]
    assert value.shape == (6, 4)
    direct = NodeSpikeSlab(torch.full((6,), 0.5), 0.5, 4).log_prob(value).sum()
    torch.testing.assert_close(site["log_prob"], direct)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.2, 1.0, 3), r"inclusion.*1\.2.*between 0 and 1"),
        ((torch.tensor([0.5, -0.1]), 1.0, 3), r"inclusion.*-0\.1.*between 0 and 1"),
        ((math.nan, 1.0, 3), r"inclusion.*nan.*between 0 and 1"),
        ((0.5, 0.0, 3), r"scale.*0.*greater than 0"),
        ((0.5, torch.tensor([1.0, math.inf]), 3), r"scale.*inf.*finite"),
        ((0.5, 1.0, 0), r"size.*0.*at least 1"),
    ],
)
def test_unusable_settings_are_named(arguments: tuple[Tensor | float, Tensor | float, int], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        NodeSpikeSlab(*arguments)


def test_unusable_posterior_settings_are_named() -> None:
    with pytest.raises(SettingError, match=r"scale.*-1.*greater than 0"):
        NodeSpikeSlabPosterior(torch.tensor(0.5), torch.zeros(3), torch.tensor([1.0, 1.0, -1.0]))
    with pytest.raises(SettingError, match=r"loc.*nan.*finite"):
        NodeSpikeSlabPosterior(torch.tensor(0.5), torch.tensor([math.nan]), torch.ones(1))
    with pytest.raises(SettingError, match="shape"):
        NodeSpikeSlabPosterior(torch.tensor(0.5), torch.tensor(0.0), torch.tensor(1.0))


def test_laws_of_different_length_have_no_kl() -> None:
    with pytest.raises(SettingError, match=r"3.*4"):
        kl_divergence(posterior([0.5, 0.5]), NodeSpikeSlab(0.5, 1.0, 4))

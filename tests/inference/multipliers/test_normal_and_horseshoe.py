"""Normal and log-normal multipliers: divergences by quadrature, moments and modes by sampling and SciPy."""

from collections.abc import Callable
from math import exp, log

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from bayesprune.inference.multipliers.horseshoe import (
    HorseshoeMultipliers,
    gamma_divergence,
    inverse_gamma_divergence,
)
from bayesprune.inference.multipliers.normal import (
    InformationBottleneck,
    JeffreysMultipliers,
    log_uniform_divergence,
)

NODES = np.polynomial.legendre.leggauss(60)


def integral(what: Callable[[np.ndarray], np.ndarray], low: float, high: float, panels: int = 200) -> float:
    """Gauss-Legendre on equal panels."""
    nodes, weights = NODES
    edges = np.linspace(low, high, panels + 1)
    half, middle = np.diff(edges)[:, None] / 2, (edges[1:, None] + edges[:-1, None]) / 2
    return float((half * weights * what(middle + half * nodes)).sum())


@pytest.mark.parametrize("log_alpha", [-8.0, -4.0, -2.0, -1.0, 0.0, 1.0, 3.0, 8.0])
def test_divergence_from_the_log_uniform_prior(log_alpha: float) -> None:
    """E log|z| - log(alpha)/2 for z ~ N(1, alpha), with the constant that makes it 0 at infinite alpha, to 0.02 nats.

    That constant is -E log|N(0, 1)| = (Euler's gamma + log 2) / 2.
    """
    deviation = exp(log_alpha / 2)
    law = stats.norm(1.0, deviation)
    reach = 1 + 12 * deviation
    expected = sum(
        integral(lambda x: np.log(np.abs(x)) * law.pdf(x), low, high, panels=4000)
        for low, high in ((-reach, 0.0), (0.0, reach))
    )
    wanted = expected - log_alpha / 2 + (np.euler_gamma + log(2)) / 2
    assert float(log_uniform_divergence(torch.tensor(log_alpha))) == pytest.approx(wanted, abs=0.02)


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 0.05), (-2.0, 0.7), (1.0, 1.3)])
@pytest.mark.parametrize("scale", [1.0, 1e-2])
def test_divergences_of_the_two_parts_of_a_half_cauchy_law(mean: float, deviation: float, scale: float) -> None:
    """In x = log A the prior has the density a(exp x) exp x."""
    q, pair = stats.norm(mean, deviation), (torch.tensor(value, dtype=torch.float64) for value in (mean, deviation))
    ends = (mean - 12 * deviation, mean + 12 * deviation)
    center, width = pair
    for prior, found in (
        (stats.gamma(0.5, scale=scale**2), gamma_divergence(center, width, scale)),
        (stats.invgamma(0.5), inverse_gamma_divergence(center, width)),
    ):
        wanted = integral(lambda x, p=prior: q.pdf(x) * (q.logpdf(x) - p.logpdf(np.exp(x)) - x), *ends)  # type: ignore[misc]  # a default binds the loop's prior
        assert float(found) == pytest.approx(wanted, rel=1e-8, abs=1e-8)


def test_the_product_of_the_two_parts_is_half_cauchy() -> None:
    """sqrt(A B) for scale 0.3: 50,000 draws, Kolmogorov-Smirnov at the 99.9 % point."""
    generator = np.random.default_rng(0)
    first = stats.gamma(0.5, scale=0.09).rvs(50_000, random_state=generator)
    second = stats.invgamma(0.5).rvs(50_000, random_state=generator)
    distance = stats.kstest(np.sqrt(first * second), stats.halfcauchy(scale=0.3).cdf).statistic
    assert distance < 1.95 / 50_000**0.5


def test_the_price_of_information_is_the_divergence_from_the_best_zero_mean_prior() -> None:
    """min over v of KL(N(m, s^2) || N(0, v)), by a fine grid over log v."""
    law = InformationBottleneck(torch.full((4,), 2.5))
    means, variances = torch.tensor([1.0, -0.3, 2.0, 0.01]), torch.tensor([0.5, 0.2, 1e-3, 1.0])
    with torch.no_grad():
        law.mean.copy_(means)
        law.log_variance.copy_(variances.log())
    q = torch.distributions.Normal(means.double()[:, None], variances.double().sqrt()[:, None])
    grid = torch.distributions.Normal(torch.zeros(1).double(), torch.linspace(-5, 3, 20_001).double().exp().sqrt())
    best = torch.distributions.kl_divergence(q, grid).min(1).values
    torch.testing.assert_close(law.penalty().double().detach(), 2.5 * best, rtol=1e-3, atol=1e-4)
    assert (law.score() > 0.5).tolist() == (variances < means**2).tolist() == [True, False, True, False]


def test_normal_multipliers_against_sampling_and_their_rule() -> None:
    law = JeffreysMultipliers(3, threshold=-2.0)
    with torch.no_grad():
        law.mean.copy_(torch.tensor([1.0, -0.5, 0.2]))
        law.log_variance.copy_(torch.tensor([-4.0, -3.2, -9.0]))
    draws = law.draw(torch.Size((100_000, 3))).detach()
    error = draws.std(0) / 100_000**0.5
    assert bool(((draws.mean(0) - law.fixed()).abs() < 5 * error).all())
    assert (draws.var(0) / law.log_variance.exp()).tolist() == pytest.approx([1.0] * 3, abs=0.03)  # error 0.0045
    assert (law.score() > law.keep_above).tolist() == [True, False, True]  # log alpha -4, -1.8, -5.8
    with torch.no_grad():
        law.mean.zero_()
        law.log_variance.copy_(torch.tensor([99.0, -99.0, 0.0]))
    law.hold()
    assert law.log_variance.tolist() == [5.0, -20.0, 0.0]
    assert bool(torch.isfinite(law.penalty()).all()) and bool(torch.isfinite(law.score()).all())


def horseshoe() -> HorseshoeMultipliers:
    law = HorseshoeMultipliers(torch.tensor([0, 0, 1]), 1e-3, 2.0)
    with torch.no_grad():
        for parameter in law.parameters():
            if parameter.requires_grad:
                parameter.add_(0.5 * torch.randn_like(parameter))
        law.log_deviation_a.add_(2.0)
    return law


def test_horseshoe_multipliers_against_sampling() -> None:
    """Mean, mode and the correlation that a shared layer scale makes, from 400,000 draws."""
    torch.manual_seed(1)
    law = horseshoe()
    draws = law.draw(torch.Size((400_000, 3))).detach().double()
    mean, variance = (value.detach().double() for value in law.moments())
    logs = draws.log()
    assert bool(((logs.mean(0) - mean).abs() < 5 * (variance / 400_000).sqrt()).all())
    assert (logs.var(0) / variance).tolist() == pytest.approx([1.0] * 3, abs=0.015)
    error = draws.std(0) / 400_000**0.5
    assert bool(((draws.mean(0) - law.fixed()).abs() < 5 * error).all())
    for place in range(3):
        one = stats.lognorm(float(variance[place]) ** 0.5, scale=exp(float(mean[place])))
        grid = np.exp(np.linspace(-8, 4, 200_001))
        mode = grid[one.pdf(grid).argmax()]
        assert float(law.score()[place].detach()) == pytest.approx(mode / (mode + exp(-2.0)), abs=1e-4)
    same, other = (float(torch.corrcoef(logs[:, pair].T)[0, 1]) for pair in ([0, 1], [0, 2]))
    parts = (law.layer_log_deviation_a[0].detach(), law.layer_log_deviation_b[0].detach())
    shared = 0.25 * sum(float((2 * part).exp()) for part in parts)
    assert same == pytest.approx(shared / float((variance[0] * variance[1]).sqrt()), abs=0.01)
    assert other == pytest.approx(0.0, abs=0.01)


def test_layer_scales_are_not_cut_and_cost_once() -> None:
    law = horseshoe()
    shapes = {tuple(parameter.shape) for parameter in law.gate_parameters()}
    assert shapes == {(3,)} and {tuple(one.shape) for one in law.shared_parameters()} == {(2,)}
    expected: Tensor = (
        gamma_divergence(law.layer_mean_a, law.layer_log_deviation_a.exp(), 1e-3)
        + inverse_gamma_divergence(law.layer_mean_b, law.layer_log_deviation_b.exp())
    ).sum()
    torch.testing.assert_close(law.shared_penalty(), expected)
    with torch.no_grad():
        law.log_deviation_a.fill_(9.0)
    law.hold()
    assert law.log_deviation_a.tolist() == [1.0] * 3 and bool(torch.isfinite(law.fixed()).all())


def test_a_horseshoe_starts_around_1() -> None:
    law = HorseshoeMultipliers(torch.zeros(50, dtype=torch.long), 1e-5, 4.0)
    assert float(law.fixed().detach().mean()) == pytest.approx(1.0, abs=0.02) and bool((law.score() > 0.9).all())

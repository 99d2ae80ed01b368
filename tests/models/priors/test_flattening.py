"""The flattening hyper-prior against its definition, written out in plain arithmetic here."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import integrate, optimize, stats
from torch.distributions import Bernoulli, kl_divergence

from bayesprune.errors import SettingError
from bayesprune.models.priors import (
    FlatteningHyperPrior,
    bernoulli_kl,
    flattened_penalty,
    most_probable_inclusion,
)

GAMMAS = [1e-4, 1e-2, 0.3, 0.75, 1.0, 1.0 + 1e-9, 1.3, 2.0, 50.0, 1e3, 1e6]
THETAS = np.linspace(0.0, 1.0, 41)
Function = Callable[[float], float]


def hyper_prior(gamma: float) -> FlatteningHyperPrior:
    """The distribution in float64."""
    return FlatteningHyperPrior(torch.tensor(gamma, dtype=torch.float64))


def density(pi: float, gamma: float) -> float:
    """The density as the paper-side formula prints it."""
    normaliser = 1.0 if gamma == 1.0 else (gamma - 1.0) / math.log(gamma)
    return normaliser / (1.0 + (gamma - 1.0) * pi)


def integral(integrand: Function, upper: float = 1.0) -> float:
    """Adaptive quadrature over [0, upper], cut where the density is steep."""
    shares = [0.0, *(10.0**-k for k in range(7, 0, -1)), *(1 - 10.0**-k for k in range(1, 5)), 1.0]
    cuts = [upper * share for share in shares]
    parts = [integrate.quad(integrand, low, high)[0] for low, high in itertools.pairwise(cuts)]
    return math.fsum(parts)


def literal_kl(theta: float, pi: float) -> float:
    """KL(Bern(theta) || Bern(pi)) for pi strictly inside."""
    first = theta * math.log(theta / pi) if theta > 0 else 0.0
    second = (1 - theta) * (math.log(1 - theta) - math.log1p(-pi)) if theta < 1 else 0.0
    return first + second


def minimum_over_pi(theta: float, negative_log_prior: Function) -> tuple[float, float]:
    """The minimiser and the minimum of KL(Bern(theta)||Bern(pi)) - log p(pi), by search over logit pi."""

    def objective(logit: float) -> float:
        pi = 1.0 / (1.0 + math.exp(-logit))
        return literal_kl(theta, pi) + negative_log_prior(pi)

    grid = np.linspace(-35.0, 35.0, 281)
    start = grid[int(np.argmin([objective(x) for x in grid]))]
    bounds = (max(start - 0.25, -35.0), min(start + 0.25, 35.0))
    found = optimize.minimize_scalar(objective, bounds=bounds, method="bounded", options={"xatol": 1e-9})
    return 1.0 / (1.0 + math.exp(-found.x)), float(found.fun)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_density_is_the_formula_and_integrates_to_one(gamma: float) -> None:
    prior = hyper_prior(gamma)
    points = np.linspace(0.0, 1.0, 101)
    ours = prior.log_prob(torch.from_numpy(points)).exp().numpy()
    # the plain formula itself loses digits at 1 + 1e-9: (gamma - 1) has only seven left
    tolerance = 1e-6 if 0 < abs(gamma - 1) < 1e-6 else 1e-12
    np.testing.assert_allclose(ours, [density(x, gamma) for x in points], rtol=tolerance)

    def integrand(x: float) -> float:
        return prior.log_prob(torch.tensor(x, dtype=torch.float64)).exp().item()

    assert integral(integrand) == pytest.approx(1.0, abs=1e-11)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_cdf_is_the_integral_of_the_density(gamma: float) -> None:
    prior = hyper_prior(gamma)
    tolerance = 1e-6 if 0 < abs(gamma - 1) < 1e-6 else 1e-10
    for upper in (1e-5, 0.01, 0.3, 0.9, 1.0):
        expected = integral(lambda x: density(x, gamma), upper)
        ours = prior.cdf(torch.tensor(upper, dtype=torch.float64)).item()
        assert ours == pytest.approx(expected, rel=tolerance)
    assert prior.cdf(torch.tensor(0.0, dtype=torch.float64)).item() == 0.0


@pytest.mark.parametrize("log_gamma", [-9.0, -1.1, -0.9, -0.011, -9e-3, 9e-3, 0.011, 0.9, 1.1, 9.0, 40.0])
def test_cdf_keeps_its_digits_at_tiny_probabilities(log_gamma: float) -> None:
    pi = np.array([1e-16, 1e-12, 1e-6, 1e-2, 0.2, 0.6])
    expected = np.log1p(np.expm1(log_gamma) * pi) / log_gamma
    price = torch.tensor(log_gamma, dtype=torch.float64)
    ours = FlatteningHyperPrior(log_gamma=price).cdf(torch.from_numpy(pi)).numpy()
    np.testing.assert_allclose(ours, expected, rtol=2e-13)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_icdf_inverts_cdf(gamma: float) -> None:
    prior = hyper_prior(gamma)
    u = torch.linspace(0.0, 1.0, 101, dtype=torch.float64)
    torch.testing.assert_close(prior.cdf(prior.icdf(u)), u, rtol=1e-10, atol=1e-14)
    pi = torch.cat([torch.logspace(-12, 0, 60, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)])
    torch.testing.assert_close(prior.icdf(prior.cdf(pi)), pi, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_mean_and_variance_by_quadrature(gamma: float) -> None:
    prior = hyper_prior(gamma)
    mean = integral(lambda x: x * density(x, gamma))
    variance = integral(lambda x: (x - mean) ** 2 * density(x, gamma))
    tolerance = 1e-6 if 0 < abs(gamma - 1) < 1e-6 else 1e-9
    assert prior.mean.item() == pytest.approx(mean, rel=tolerance)
    assert prior.variance.item() == pytest.approx(variance, rel=tolerance)


@pytest.mark.parametrize("gamma", [1e-4, 1e-2, 0.5, 1.0, 2.0, 20.0, 1e3, 1e6])
def test_minimum_over_pi_is_a_straight_line(gamma: float) -> None:
    log_gamma = torch.tensor(math.log(gamma), dtype=torch.float64)
    theta = torch.from_numpy(THETAS)
    penalty = flattened_penalty(theta, log_gamma)
    chosen = most_probable_inclusion(theta, log_gamma)
    at_chosen = bernoulli_kl(theta, chosen) - hyper_prior(gamma).log_prob(chosen)
    found = [minimum_over_pi(t, lambda pi: -math.log(density(pi, gamma))) for t in THETAS]
    constant = 0.0 if gamma == 1 else math.log(math.log(gamma) / (gamma - 1.0))
    line = THETAS * math.log(gamma) + constant
    np.testing.assert_allclose(penalty.numpy(), line, rtol=0, atol=1e-12)
    np.testing.assert_allclose([value for _, value in found], line, rtol=0, atol=1e-9)
    np.testing.assert_allclose(at_chosen.numpy(), line, rtol=0, atol=1e-9)
    np.testing.assert_allclose(chosen.numpy(), [pi for pi, _ in found], rtol=0, atol=1e-7)


@pytest.mark.parametrize(("a", "b"), [(2.0, 2.0), (2.0, 6.0), (1.0, 5.0)])
def test_beta_priors_are_not_flat(a: float, b: float) -> None:
    """The contrast: after a Beta prior the term in theta is curved, so gates stall inside (0, 1)."""

    def prior(pi: float) -> float:
        return -(a - 1) * math.log(pi) - (b - 1) * math.log1p(-pi)

    values = [minimum_over_pi(t, prior)[1] for t in (0.05, 0.35, 0.65, 0.95)]
    assert np.all(np.diff(values, n=2) > 0.05)
    # nearer to the end the curvature grows: the slope diverges there
    ends = [minimum_over_pi(t, prior)[1] for t in (0.98, 0.99, 1.0)]
    assert np.diff(ends, n=2)[0] / 0.01**2 > 5.0


def test_fixed_inclusion_is_curved_and_a_uniform_prior_selects_nothing() -> None:
    fixed = bernoulli_kl(torch.from_numpy(THETAS), torch.tensor(0.2, dtype=torch.float64)).numpy()
    assert np.all(np.diff(fixed, n=2) > 1e-3)
    uniform = [minimum_over_pi(t, lambda pi: 0.0)[1] for t in THETAS[::4]]
    np.testing.assert_allclose(uniform, 0.0, atol=1e-9)


def test_one_shared_inclusion_is_not_flat() -> None:
    """Two gates under ONE pi: the minimum over pi is no longer a plane in (theta_1, theta_2)."""
    inclusions = (torch.arange(1, 2000, dtype=torch.float64) / 2000).tolist()

    def shared(first: float, second: float) -> float:
        both = (literal_kl(first, x) + literal_kl(second, x) - math.log(density(x, 20.0)) for x in inclusions)
        return min(both)

    line = flattened_penalty(torch.tensor([0.9, 0.1]), math.log(20.0)).sum().item()
    assert abs(shared(0.9, 0.1) - line) > 0.5
    assert shared(0.9, 0.1) - shared(0.5, 0.5) > 0.3  # the pull towards a common value


@pytest.mark.parametrize("gamma", [1e-3, 0.3, 1.0, 5.0, 1e3, 1e6])
def test_samples_follow_the_law_and_not_that_of_another_gamma(gamma: float) -> None:
    torch.manual_seed(20)
    draws = hyper_prior(gamma).sample((4000,)).numpy()
    assert draws.min() >= 0.0 and draws.max() <= 1.0

    def p_value(g: float) -> float:
        probabilities = draws if g == 1.0 else np.log1p((g - 1.0) * draws) / math.log(g)
        return float(stats.kstest(probabilities, "uniform").pvalue)

    assert p_value(gamma) > 1e-3
    assert p_value(gamma * 3.0) < 1e-3


def test_turning_pi_round_turns_gamma_round() -> None:
    pi = torch.linspace(0.0, 1.0, 33, dtype=torch.float64)
    for log_gamma in (1e-12, 1e-3, 0.7, 5.0, 300.0):
        price = torch.tensor(log_gamma, dtype=torch.float64)
        there, back = FlatteningHyperPrior(log_gamma=price), FlatteningHyperPrior(log_gamma=-price)
        torch.testing.assert_close(there.log_prob(pi), back.log_prob(1 - pi), rtol=1e-13, atol=1e-13)
        torch.testing.assert_close(there.cdf(pi), 1 - back.cdf(1 - pi), rtol=0, atol=1e-13)
        torch.testing.assert_close(there.mean, 1 - back.mean, rtol=0, atol=1e-13)
        torch.testing.assert_close(there.variance, back.variance, rtol=1e-12, atol=0)


@pytest.mark.parametrize("gamma", [0.0, -2.0, math.nan, math.inf, torch.tensor([2.0, 0.0]), torch.tensor([math.nan])])
def test_unusable_gamma_is_named_with_limit_and_cure(gamma: float | torch.Tensor) -> None:
    with pytest.raises(SettingError, match=r"gamma.*(greater than 0|> 0)"):
        FlatteningHyperPrior(gamma)


def test_the_message_names_the_value() -> None:
    with pytest.raises(SettingError, match=r"-2"):
        FlatteningHyperPrior(torch.tensor([3.0, -2.0]))
    with pytest.raises(SettingError, match=r"log_gamma.*nan.*finite"):
        FlatteningHyperPrior(log_gamma=torch.tensor([0.0, math.nan]))
    with pytest.raises(SettingError, match=r"log_gamma.*inf.*finite"):
        FlatteningHyperPrior(log_gamma=math.inf)


def test_exactly_one_parameter_is_taken() -> None:
    with pytest.raises(SettingError, match="neither"):
        FlatteningHyperPrior()
    with pytest.raises(SettingError, match="both"):
        FlatteningHyperPrior(2.0, log_gamma=0.7)


def test_bernoulli_kl_at_the_corners() -> None:
    theta = torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.3], dtype=torch.float64)
    pi = torch.tensor([0.0, 1.0, 0.25, 0.25, 1.0, 0.0, 0.3], dtype=torch.float64)
    expected = [0.0, 0.0, -math.log(0.75), math.log(4.0), math.inf, math.inf, 0.0]
    torch.testing.assert_close(bernoulli_kl(theta, pi), torch.tensor(expected, dtype=torch.float64))


def test_bernoulli_kl_equals_the_library_inside_and_has_gradients_at_decided_gates() -> None:
    theta = torch.rand(50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    pi = torch.rand(50, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    reference = kl_divergence(Bernoulli(theta), Bernoulli(pi))
    torch.testing.assert_close(bernoulli_kl(theta, pi), reference)
    decided = torch.tensor([0.0, 1.0], requires_grad=True)
    prior = torch.tensor([0.25, 0.25], requires_grad=True)
    slopes = torch.autograd.grad(bernoulli_kl(decided, prior).sum(), (decided, prior))
    torch.testing.assert_close(slopes[1], torch.tensor([1 / 0.75, -4.0]))
    assert torch.isfinite(slopes[0]).all()
    agreeing = decided.detach().clone().requires_grad_()
    (slope,) = torch.autograd.grad(bernoulli_kl(decided, agreeing).sum(), agreeing)
    torch.testing.assert_close(slope, torch.tensor([1.0, -1.0]))

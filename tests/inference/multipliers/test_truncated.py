"""The truncated log-normal law against SciPy's quadrature and its truncated normal."""

from math import log
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from bayesprune.inference.multipliers import truncated
from bayesprune.inference.multipliers.truncated import HIGH, LOW

NARROW, BROAD = [(-0.01, 0.0067), (0.0, 0.0067), (-0.5, 0.3), (-19.5, 0.2)], [(-3.0, 2.0), (-20.0, 1.0), (-7.0, 148.0)]
CASES = [*NARROW, *BROAD, (-12.0, 5.0)]
TAILS = [(-40.0, -39.0), (39.0, 40.0), (-1.0, 2.0), (-0.07, 0.0), (8.0, 8.5), (-3e3, 0.0)]


def tensors(mean: float, deviation: float) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor([mean], dtype=torch.float64), torch.tensor([deviation], dtype=torch.float64)


def law(mean: float, deviation: float) -> Any:
    """SciPy's law of log theta."""
    return stats.truncnorm((LOW - mean) / deviation, (HIGH - mean) / deviation, mean, deviation)


def expected(what: Any, mean: float, deviation: float) -> float:
    """An expectation under the law of log theta, by Gauss-Legendre quadrature around its bulk."""
    one = law(mean, deviation)
    low, high = max(LOW, mean - 12 * deviation), min(HIGH, mean + 12 * deviation)
    nodes, weights = np.polynomial.legendre.leggauss(20)
    edges = np.linspace(low, high, 201)
    half, middle = np.diff(edges)[:, None] / 2, (edges[1:, None] + edges[:-1, None]) / 2
    x = middle + half * nodes
    return float((half * weights * what(x) * one.pdf(x)).sum())


@pytest.mark.parametrize(("mean", "deviation"), CASES)
def test_moments(mean: float, deviation: float) -> None:
    first = expected(np.exp, mean, deviation)
    spread = expected(lambda x: (np.exp(x) - first) ** 2, mean, deviation)
    assert float(truncated.expectation(*tensors(mean, deviation))) == pytest.approx(first, rel=1e-8)
    ratio = float(truncated.signal_to_noise(*tensors(mean, deviation)))
    assert ratio == pytest.approx(first / spread**0.5, rel=1e-6)


@pytest.mark.parametrize(("mean", "deviation"), CASES)
def test_divergence(mean: float, deviation: float) -> None:
    """KL from the log-uniform law, whose density in log theta is 1/20."""
    one = law(mean, deviation)
    wanted = expected(lambda x: one.logpdf(x) + log(HIGH - LOW), mean, deviation)
    assert float(truncated.divergence(*tensors(mean, deviation))) == pytest.approx(wanted, rel=1e-7, abs=1e-8)


@pytest.mark.parametrize(("low", "high"), TAILS)
def test_masses_in_the_tails(low: float, high: float) -> None:
    """Against the logarithm of the distribution function, which SciPy computes on the side where it is small."""
    left, right = (low, high) if low <= 0 else (-high, -low)
    upper, lower = stats.norm.logcdf(right), stats.norm.logcdf(left)
    wanted = upper + float(torch.log1p(-torch.tensor(lower - upper, dtype=torch.float64).exp()))
    found = truncated.log_mass(torch.tensor(low, dtype=torch.float64), torch.tensor(high, dtype=torch.float64))
    assert float(found) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 0.0067), (-3.0, 2.0), (-20.0, 1.0), (-7.0, 148.0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_draws(mean: float, deviation: float, dtype: torch.dtype) -> None:
    """A Kolmogorov-Smirnov test with 20,000 draws: the statistic's 99.9 % point is 1.95 / sqrt(20,000)."""
    given = (part.to(dtype) for part in tensors(mean, deviation))
    drawn = truncated.draw_log(torch.Size((20_000, 1)), *given).flatten().double()
    distance = stats.kstest(drawn.numpy(), law(mean, deviation).cdf).statistic
    assert distance < 1.95 / 20_000**0.5
    assert bool(((drawn >= LOW) & (drawn <= HIGH)).all())


@pytest.mark.parametrize(("mean", "deviation"), [(-0.5, 0.3), (-3.0, 2.0), (-12.0, 5.0)])
def test_gradients_of_draws_are_those_of_the_expectation(mean: float, deviation: float) -> None:
    """dE[theta] from 200,000 reparametrised draws, within five standard errors of the closed form's slope."""
    parameters = [part.requires_grad_() for part in tensors(mean, deviation)]
    wanted = torch.autograd.grad(truncated.expectation(*parameters).sum(), parameters)
    many = [part.detach().expand(200_000).clone().requires_grad_() for part in parameters]
    theta = truncated.draw_log(torch.Size((200_000,)), *many).exp()
    for found, truth in zip(torch.autograd.grad(theta.sum(), many), wanted, strict=True):
        error = float(found.std()) / 200_000**0.5
        assert abs(float(found.mean() - truth)) < 5 * error + 1e-9


@pytest.mark.parametrize(("mean", "deviation"), CASES)
def test_slopes_are_finite_and_right(mean: float, deviation: float) -> None:
    """Against differences over 1e-5 of the deviation."""
    for function in (truncated.divergence, truncated.expectation):
        parameters = [part.requires_grad_() for part in tensors(mean, deviation)]
        slopes = torch.autograd.grad(function(*parameters).sum(), parameters)
        for place, slope in enumerate(slopes):
            step = 1e-5 * deviation
            ends = [
                float(function(*tensors(*(v + sign * step * (i == place) for i, v in enumerate((mean, deviation))))))
                for sign in (-1, 1)
            ]
            scale = max(abs(value) for value in ends) / deviation
            assert float(slope) == pytest.approx((ends[1] - ends[0]) / (2 * step), rel=1e-4, abs=1e-6 * scale)

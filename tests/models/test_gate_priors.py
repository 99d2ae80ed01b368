"""Gate priors: the penalty's shape, its constant, changed prices."""

from copy import deepcopy
from itertools import pairwise
from math import expm1, log
from typing import Any

import pyro
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from bayesprune.errors import SettingError
from bayesprune.models.priors import FlatteningHyperPrior, bernoulli_kl
from bayesprune.models.priors.gates import FixedGatePrior, FlatteningGatePrior, GatePrior

PRICES = torch.tensor([0.01, 1.0, 20.0, -3.0], dtype=torch.float64)
GRID = torch.linspace(0, 1, 21, dtype=torch.float64)


def second_differences(prior: FlatteningGatePrior | FixedGatePrior, gates: int) -> Tensor:
    """Of the penalty along theta [19, J]."""
    values = torch.stack([prior.penalty(theta.expand(gates)) for theta in GRID])
    return values[2:] - 2 * values[1:-1] + values[:-2]


def test_flattening_penalty_is_linear() -> None:
    """Second differences are 0; slope ln gamma; the constant is ln[ln gamma / (gamma - 1)]."""
    prior = FlatteningGatePrior(PRICES)
    assert float(second_differences(prior, 4).abs().max()) < 1e-13
    theta = torch.tensor([0.1, 0.4, 0.9, 0.5], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(prior.penalty(theta).sum(), theta)
    torch.testing.assert_close(slope, PRICES)
    constants = [log(price / expm1(price)) for price in PRICES.tolist()]
    expected = theta.detach() * PRICES + torch.tensor(constants, dtype=torch.float64)
    torch.testing.assert_close(prior.penalty(theta).detach(), expected)


@pytest.mark.parametrize("theta", [0.03, 0.5, 0.97])
def test_penalty_is_the_minimum_over_pi(theta: float) -> None:
    """What eliminating pi means, by search: KL(Bern(theta) || Bern(pi)) - ln p(pi), at the guide's point."""
    prices = PRICES[1:3]
    prior, point = FlatteningGatePrior(prices), torch.full((2,), theta, dtype=torch.float64)
    best, penalty = prior.best_inclusion(point), prior.penalty(point)
    for gate, price in enumerate(prices.tolist()):
        law = FlatteningHyperPrior(log_gamma=torch.tensor(price, dtype=torch.float64))

        def term(logit: float, law: FlatteningHyperPrior = law) -> float:
            pi = torch.sigmoid(torch.tensor(logit, dtype=torch.float64))
            return float(bernoulli_kl(torch.tensor(theta, dtype=torch.float64), pi) - law.log_prob(pi))

        found = minimize_scalar(term, bounds=(-40, 10), method="bounded", options={"xatol": 1e-10})
        assert found.fun == pytest.approx(float(penalty[gate]), abs=1e-9)
        assert float(torch.sigmoid(torch.tensor(found.x))) == pytest.approx(float(best[gate]), rel=1e-4)


def test_fixed_prior_is_curved_and_steep_at_the_ends() -> None:
    """Which is why theta never gets to 0 or 1 under it: KL has curvature 1 / (theta (1 - theta))."""
    inclusion = torch.tensor([0.1, 0.5], dtype=torch.float64)
    prior = FixedGatePrior(inclusion)
    assert float(second_differences(prior, 2).min()) > 0.009
    theta = torch.tensor([1e-6, 1 - 1e-6], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(prior.penalty(theta).sum(), theta)
    assert slope[0] < -10
    assert slope[1] > 10
    inside = torch.tensor([0.3, 0.8], dtype=torch.float64)
    expected = inside * (inside / inclusion).log() + (1 - inside) * ((1 - inside) / (1 - inclusion)).log()
    torch.testing.assert_close(prior.penalty(inside), expected)
    site: GatePrior = prior
    assert site.best_inclusion(inside) is None


def test_set_log_gamma() -> None:
    """Penalty, best pi and sampled site follow the prices, also to another number of gates."""
    theta = torch.tensor([0.2, 0.7])
    prior = FlatteningGatePrior(torch.tensor([1.0, 2.0]))
    for prices in (torch.tensor([3.0, 0.5]), torch.tensor([3.0, 0.5]), torch.tensor([4.0])):
        prior.set_log_gamma(prices)
        fresh = FlatteningGatePrior(prices)
        here = theta[: len(prices)]
        torch.testing.assert_close(prior.penalty(here), fresh.penalty(here))
        torch.testing.assert_close(prior.best_inclusion(here), fresh.best_inclusion(here))
        site: Any = pyro.poutine.trace(prior.sample_gates).get_trace().nodes["pi"]["fn"]
        torch.testing.assert_close(site.base_dist.log_gamma, prices)
    given = torch.tensor([1.0])
    prior.set_log_gamma(given)
    given.fill_(5.0)  # a tensor of the caller's, which may change
    torch.testing.assert_close(prior.log_gamma, torch.tensor([1.0]))


def test_prices_survive_storing_converting_and_copying() -> None:
    """Penalty and the sampled site agree with the prices whichever way these got there."""
    source = FlatteningGatePrior(PRICES.float())
    loaded = FlatteningGatePrior(torch.zeros(4))
    loaded.load_state_dict(source.state_dict())
    theta = torch.tensor([0.1, 0.4, 0.9, 0.5])
    torch.testing.assert_close(loaded.penalty(theta), source.penalty(theta))
    for prior in (loaded.double(), deepcopy(source).double()):
        expected = FlatteningGatePrior(PRICES.float().double()).penalty(theta.double())
        torch.testing.assert_close(prior.penalty(theta.double()), expected, rtol=1e-6, atol=1e-6)
        site: Any = pyro.poutine.trace(prior.sample_gates).get_trace().nodes["pi"]
        assert site["fn"].base_dist.log_gamma is prior.log_gamma
        assert site["value"].dtype == torch.float64


@pytest.mark.parametrize("prior", [FlatteningGatePrior(torch.full((5,), 2.0)), FixedGatePrior(torch.full((5,), 0.2))])
def test_sampled_gates(prior: FlatteningGatePrior | FixedGatePrior) -> None:
    """One site "z" of all gates; their mean is that of pi."""
    torch.manual_seed(0)
    with torch.no_grad():
        draws = torch.stack([prior.sample_gates() for _ in range(2000)])
    assert draws.shape == (2000, 5)
    assert set(draws.unique().tolist()) == {0.0, 1.0}
    mean = float(FlatteningHyperPrior(2.718281828**2).mean) if isinstance(prior, FlatteningGatePrior) else 0.2
    assert float(draws.mean()) == pytest.approx(mean, abs=4 * (mean * (1 - mean) / 10_000) ** 0.5)


def test_sharing_one_pi_would_not_be_flat() -> None:
    """Why there is one pi for each gate: with a shared one the least cost over pi is curved in theta."""
    law = FlatteningHyperPrior(log_gamma=torch.tensor(2.0, dtype=torch.float64))
    pi = torch.linspace(1e-6, 1 - 1e-6, 20_001, dtype=torch.float64)
    values = []
    for theta in torch.linspace(0.1, 0.9, 9, dtype=torch.float64):
        shared = bernoulli_kl(theta, pi) + bernoulli_kl(torch.tensor(0.5, dtype=torch.float64), pi)
        values.append(float((shared - law.log_prob(pi)).min()))
    slopes = [high - low for low, high in pairwise(values)]
    assert max(slopes) - min(slopes) > 0.1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_prices_that_cannot_be_used(value: float) -> None:
    with pytest.raises(SettingError, match="must be finite"):
        FlatteningGatePrior(torch.tensor([1.0, value]))


@pytest.mark.parametrize("value", [0.0, 1.0, float("nan")])
def test_inclusions_that_cannot_be_used(value: float) -> None:
    with pytest.raises(SettingError, match="strictly between 0 and 1"):
        FixedGatePrior(torch.tensor([0.5, value]))

"""Prior probabilities drawn from the flattening hyper-prior, against its distribution function by hand."""

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from bayesprune.inference.references.hyper_draws import hyper_prior_draws


@pytest.mark.parametrize("price", [-3.0, 1e-6, 0.5, 14.0])
def test_draws_have_the_law_of_the_hyper_prior(price: float) -> None:
    """Kolmogorov and Smirnov's test of F(pi) = ln(1 + (gamma - 1) pi) / ln gamma, and independence of neighbours."""
    odds, pi = hyper_prior_draws(torch.full((1, 4), price, dtype=torch.float64), 2000, seed=3)
    values = pi.numpy().ravel()
    assert kstest(values, lambda x: np.log1p(np.expm1(price) * x) / price).pvalue > 1e-3
    mean = (1 - np.log1p(np.expm1(price)) / np.expm1(price)) / price if abs(price) > 1e-3 else 0.5
    assert torch.sigmoid(odds).numpy() == pytest.approx(mean, rel=1e-4)
    one, other = pi[0, :, 0].numpy(), pi[0, :, 1].numpy()
    assert abs(np.corrcoef(one, other)[0, 1]) < 5 / np.sqrt(len(one))
    again = hyper_prior_draws(torch.full((1, 4), price, dtype=torch.float64), 2000, seed=3)[1]
    assert torch.equal(again, pi)


def test_gates_without_a_price_have_no_draws() -> None:
    odds, pi = hyper_prior_draws(torch.tensor([[1.0, torch.nan], [torch.nan, 2.0]], dtype=torch.float64), 5, seed=0)
    assert odds.isnan().tolist() == [[False, True], [True, False]]
    assert torch.equal(pi.isnan(), odds.isnan()[:, None].expand(2, 5, 2))

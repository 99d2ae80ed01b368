"""Measures of counts against scikit-learn and SciPy."""

import pytest
import torch
from scipy.stats import poisson
from sklearn.metrics import d2_tweedie_score, mean_poisson_deviance
from torch import Tensor

from bayesprune.errors import DataError
from bayesprune.evaluation.measures.counts import d2_poisson, poisson_deviance, poisson_nll

SIZES = [(0, 100, 1), (1, 50, 4), (2, 3, 2), (3, 1, 3)]


def drawn(seed: int, samples: int, outputs: int) -> tuple[Tensor, Tensor]:
    """Log rates that are near the truth, and counts."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randn(samples, outputs, generator=generator)
    counts = torch.poisson(truth.exp(), generator=generator)
    return truth + 0.3 * torch.randn(samples, outputs, generator=generator), counts


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_nll_is_that_of_scipy_and_deviance_that_of_scikit_learn(size: tuple[int, int, int]) -> None:
    log_rates, counts = drawn(*size)
    counts[0, 0] = 0.0
    rates = log_rates.double().exp().numpy()
    expected = -poisson.logpmf(counts.numpy(), rates).sum(axis=1).mean()
    assert poisson_nll(log_rates, counts.long()) == pytest.approx(expected, rel=1e-10)
    expected = mean_poisson_deviance(counts.double().flatten(), rates.ravel())
    assert poisson_deviance(log_rates, counts) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shift", [0.0, 2.0])
def test_d2_is_that_of_scikit_learn(seed: int, shift: float) -> None:
    log_rates, counts = drawn(seed, 60, 1)
    log_rates = log_rates + shift
    expected = d2_tweedie_score(counts.double()[:, 0], log_rates.double().exp()[:, 0], power=1)
    assert (expected < 0.0) == (shift == 2.0)
    assert d2_poisson(log_rates, counts) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_d2_of_several_outputs_divides_the_summed_deviances() -> None:
    log_rates, counts = drawn(7, 40, 3)
    counts[:, 1] = 0.0  # never anything to count
    counts[:, 2] = 5.0  # always the same
    rates, seen = log_rates.double().exp().numpy(), counts.double().numpy()
    left = sum(mean_poisson_deviance(seen[:, k], rates[:, k]) for k in range(3))
    total = mean_poisson_deviance(seen[:, 0], [seen[:, 0].mean()] * 40)
    assert d2_poisson(log_rates, counts) == pytest.approx(1.0 - left / total, rel=1e-9)


def test_d2_of_mean_rates_is_0_and_of_right_rates_1() -> None:
    counts = torch.tensor([[1.0], [4.0], [7.0]])
    assert d2_poisson(torch.full((3, 1), 4.0).double().log(), counts) == pytest.approx(0.0, abs=1e-12)
    assert d2_poisson(counts.double().log(), counts) == pytest.approx(1.0, abs=1e-12)
    assert poisson_deviance(counts.double().log(), counts) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("counts", [[[3.0]], [[0.0], [0.0], [0.0]], [[2.0, 0.0], [2.0, 0.0]]])
def test_d2_is_undefined_for_one_example_or_constant_counts(counts: list[list[float]]) -> None:
    seen = torch.tensor(counts)
    assert d2_poisson(torch.zeros_like(seen), seen) is None


def test_a_deviance_is_never_negative_not_even_by_rounding() -> None:
    for counts in torch.arange(1, 300).double()[:, None, None]:
        assert poisson_deviance(counts.log(), counts) >= 0.0


def test_a_rate_of_0_is_right_for_a_count_of_0() -> None:
    log_rates, counts = torch.tensor([[-2000.0], [-torch.inf], [0.0]]), torch.tensor([[0.0], [0.0], [1.0]])
    assert poisson_deviance(log_rates, counts) == pytest.approx(0.0, abs=1e-12)
    assert d2_poisson(log_rates, counts) == pytest.approx(1.0, abs=1e-12)


def test_no_examples_are_refused() -> None:
    for measure in (poisson_nll, poisson_deviance):
        with pytest.raises(DataError, match="at least 1 example"):
            measure(torch.zeros(0, 2), torch.zeros(0, 2))
    assert d2_poisson(torch.zeros(0, 2), torch.zeros(0, 2)) is None

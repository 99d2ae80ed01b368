"""Measures of regression against scikit-learn, SciPy and known values."""

import math

import pytest
import torch
from scipy.stats import norm
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score
from torch import Tensor

from bayesprune.errors import DataError, NetworkError, SettingError
from bayesprune.evaluation.measures.numbers import gaussian_nll, interval_coverage, mae, r2, rmse

SIZES = [(0, 100, 1), (1, 50, 4), (2, 2, 3), (3, 500, 2)]


def drawn(seed: int, samples: int, outputs: int) -> tuple[Tensor, Tensor]:
    """Predictions and targets, each output on a scale of its own."""
    generator = torch.Generator().manual_seed(seed)
    scales = 10.0 ** torch.arange(outputs)
    targets = scales * torch.randn(samples, outputs, generator=generator)
    return targets + 0.5 * scales * torch.randn(samples, outputs, generator=generator), targets


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_errors_and_r2_are_those_of_scikit_learn(size: tuple[int, int, int]) -> None:
    predictions, targets = drawn(*size)
    wide = targets.double(), predictions.double()
    assert rmse(predictions, targets) == pytest.approx(math.sqrt(mean_squared_error(*wide)), rel=1e-10)
    assert mae(predictions, targets) == pytest.approx(mean_absolute_error(*wide), rel=1e-10)
    assert r2(predictions, targets) == pytest.approx(r2_score(*wide), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("perfect", [(), (0,), (0, 2), (1,), (0, 1, 2)])
def test_r2_of_some_constant_targets_is_that_of_scikit_learn(perfect: tuple[int, ...]) -> None:
    predictions, targets = drawn(4, 40, 3)
    targets[:, 0], targets[:, 2] = 2.0, -8.0
    for output in perfect:
        predictions[:, output] = targets[:, output]
    expected = r2_score(targets.double(), predictions.double())
    assert r2(predictions, targets) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e20, -1 / 3])
def test_r2_is_undefined_where_every_target_is_constant(value: float) -> None:
    # The mean of 0.1, 0.1, 0.1 is not 0.1 in floating point, and would leave a variance of rounding.
    constant = torch.full((7, 2), value, dtype=torch.float64)
    assert r2(constant + 1.0, constant) is None
    assert r2(constant, constant) is None
    predictions, targets = drawn(5, 7, 2)
    targets[:, 0] = value
    expected = 0.5 * float(r2_score(targets[:, 1].double(), predictions[:, 1].double()))
    assert r2(predictions, targets) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_r2_is_never_nan() -> None:
    # The variance of the targets underflows to 0.
    assert r2(torch.zeros(2, 1), torch.tensor([[0.0], [1e-200]], dtype=torch.float64)) is None
    assert r2(torch.zeros(1, 3), torch.ones(1, 3)) is None
    assert r2(torch.zeros(0, 3), torch.zeros(0, 3)) is None


def test_one_example_by_hand() -> None:
    predictions, targets = torch.tensor([[1.0, 2.0]]), torch.tensor([[4, -2]])
    assert mae(predictions, targets) == pytest.approx(3.5, abs=1e-12)
    assert rmse(predictions, targets) == pytest.approx(math.sqrt(12.5), abs=1e-12)


def test_small_differences_of_large_numbers_are_kept() -> None:
    targets = torch.tensor([[1e9], [1e9]], dtype=torch.float64)
    assert rmse(targets + 0.25, targets) == pytest.approx(0.25, abs=1e-12)


@pytest.mark.parametrize("level", [0.05, 0.5, 0.9, 0.999])
def test_the_interval_has_its_ends_at_the_normal_quantile(level: float) -> None:
    predictions, deviations = torch.tensor([[3.0]]).double(), torch.tensor([[2.0]]).double()
    low, high = (torch.tensor([[end]]) for end in norm.interval(level, loc=3.0, scale=2.0))
    for inside in (low + 1e-6, high - 1e-6):
        assert interval_coverage(predictions, deviations, inside, level) == 1.0
    for outside in (low - 1e-6, high + 1e-6):
        assert interval_coverage(predictions, deviations, outside, level) == 0.0


def test_coverage_counts_entries_and_is_near_the_level_for_normal_targets() -> None:
    generator = torch.Generator().manual_seed(6)
    targets = 5.0 + torch.tensor([1.0, 20.0]) * torch.randn(4000, 2, generator=generator)
    each = interval_coverage(torch.full((4000, 2), 5.0), torch.tensor([1.0, 20.0]), targets)
    assert each == pytest.approx(0.9, abs=4 * math.sqrt(0.9 * 0.1 / 8000))
    expected = float(((targets - 5.0).abs() <= norm.ppf(0.95) * torch.tensor([1.0, 1.0])).double().mean())
    assert 0.4 < expected < 0.6
    assert interval_coverage(torch.full((4000, 2), 5.0), torch.ones(4000, 2), targets) == pytest.approx(expected)


def test_an_interval_without_width_holds_its_middle_only() -> None:
    predictions, targets = torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 1.5]])
    assert interval_coverage(predictions, torch.zeros(1, 2), targets) == 0.5


@pytest.mark.parametrize("level", [0.0, 1.0, -0.1, 90.0, math.nan])
def test_a_level_that_is_no_probability_is_refused(level: float) -> None:
    with pytest.raises(SettingError, match=f"level is {level}"):
        interval_coverage(torch.zeros(1, 1), torch.ones(1, 1), torch.zeros(1, 1), level)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_gaussian_nll_is_that_of_scipy(size: tuple[int, int, int]) -> None:
    predictions, targets = drawn(*size)
    deviations = 0.1 + targets.abs().roll(1, 0)
    logs = norm.logpdf(targets.double(), predictions.double(), deviations.double())
    expected = -logs.sum(axis=1).mean()
    assert gaussian_nll(predictions, deviations, targets) == pytest.approx(expected, rel=1e-10)
    same = gaussian_nll(predictions, deviations[:1].expand_as(targets), targets)
    assert gaussian_nll(predictions, deviations[0], targets) == pytest.approx(same, rel=1e-12)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan])
def test_deviations_that_are_not_above_0_are_refused_and_counted(bad: float) -> None:
    deviations = torch.ones(3, 2)
    deviations[0, 1] = deviations[2, 0] = bad
    with pytest.raises(NetworkError, match="2 of 6 standard deviations"):
        gaussian_nll(torch.zeros(3, 2), deviations, torch.zeros(3, 2))


def test_no_examples_are_refused() -> None:
    nothing = torch.zeros(0, 2)
    for measure in (mae, rmse):
        with pytest.raises(DataError, match=r"\[0, 2\].*at least 1 example"):
            measure(nothing, nothing)
    for measure_of_three in (interval_coverage, gaussian_nll):
        with pytest.raises(DataError, match="at least 1 example"):
            measure_of_three(nothing, nothing, nothing)


def test_gradients_and_half_precision_are_fine() -> None:
    predictions = torch.tensor([[60000.0]], dtype=torch.float16, requires_grad=True)
    assert rmse(predictions, torch.tensor([[0.0]])) == pytest.approx(60000.0, rel=1e-3)

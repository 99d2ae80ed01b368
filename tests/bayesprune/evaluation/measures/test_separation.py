"""The area under the ROC curve and its standard error: scikit-learn, the definition pair by pair, and many samples."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from torch import Tensor

from bayesprune.errors import DataError
from bayesprune.evaluation.measures.separation import separation

SCORES = st.lists(st.integers(-3, 3), min_size=2, max_size=12)


def by_pairs(own: Tensor, other: Tensor) -> tuple[float, float]:
    """Area and standard error from the matrix of all pairs."""
    right = (other[:, None] > own[None, :]).double() + 0.5 * (other[:, None] == own[None, :]).double()
    variance = right.mean(1).var() / len(other) + right.mean(0).var() / len(own)
    return float(right.mean()), float(variance.sqrt())


@given(SCORES, SCORES)
def test_it_is_the_mean_over_all_pairs(own: list[int], other: list[int]) -> None:
    one, two = torch.tensor(own, dtype=torch.float32), torch.tensor(other, dtype=torch.float32)
    found = separation(one, two)
    area, error = by_pairs(one, two)
    assert found.auroc == pytest.approx(area, abs=1e-12) and found.standard_error == pytest.approx(error, abs=1e-9)
    assert found.auroc == pytest.approx(roc_auc_score([0] * len(own) + [1] * len(other), [*own, *other]))
    assert 0 <= found.low <= found.auroc <= found.high <= 1
    assert separation(two, one).auroc == pytest.approx(1 - area, abs=1e-12)


def test_the_standard_error_is_the_deviation_over_samples_and_the_interval_covers() -> None:
    """2,000 samples of two normal distributions: the area is Phi(1 / sqrt 2); 95 % within 4 standard errors."""
    generator, truth = np.random.default_rng(0), 0.7602499389065233
    found = [
        separation(torch.from_numpy(generator.normal(size=50)), torch.from_numpy(generator.normal(1, 1, size=70)))
        for _ in range(2_000)
    ]
    deviation = np.std([one.auroc for one in found])
    assert np.mean([one.standard_error for one in found]) == pytest.approx(deviation, rel=0.08)
    assert abs(np.mean([one.auroc for one in found]) - truth) < 4 * deviation / 2_000**0.5
    covered = np.mean([one.low <= truth <= one.high for one in found])
    assert abs(covered - 0.95) < 4 * (0.95 * 0.05 / 2_000) ** 0.5


def test_kinds_that_are_wholly_apart_have_a_point() -> None:
    found = separation(torch.zeros(3), torch.ones(2))
    assert (found.auroc, found.standard_error, found.low, found.high) == (1, 0, 1, 1)
    assert str(separation(torch.tensor([0.0, 1.0]), torch.tensor([0.5, 2.0]))).startswith("0.7500 (")


def test_scores_without_an_order_are_refused() -> None:
    with pytest.raises(DataError, match=r"other scores have shape \[1\]"):
        separation(torch.zeros(3), torch.ones(1))
    with pytest.raises(DataError, match=r"own scores have shape \[2, 2\]"):
        separation(torch.zeros(2, 2), torch.ones(2))
    with pytest.raises(DataError, match="1 of the own scores are NaN"):
        separation(torch.tensor([0.0, float("nan")]), torch.ones(2))

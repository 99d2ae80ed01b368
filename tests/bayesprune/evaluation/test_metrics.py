"""Metrics against scikit-learn, hand counts and their limits."""

import math
import random
from dataclasses import astuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss
from torch import Tensor

from bayesprune.errors import DataError, NetworkError, SettingError
from bayesprune.evaluation import (
    Metrics,
    accuracy,
    brier,
    expected_calibration_error,
    measure,
    negative_log_likelihood,
)


def logits_of(probabilities: list[list[float]]) -> Tensor:
    return torch.tensor(probabilities, dtype=torch.float64).log()


@pytest.fixture(params=[(200, 2), (500, 10), (7, 3)], ids=str)
def sample(request: pytest.FixtureRequest) -> tuple[Tensor, Tensor]:
    samples, classes = request.param
    generator = torch.Generator().manual_seed(samples)
    logits = 3.0 * torch.randn(samples, classes, generator=generator)
    return logits, torch.randint(classes, (samples,), generator=generator)


def test_accuracy_nll_and_brier_are_those_of_scikit_learn(sample: tuple[Tensor, Tensor]) -> None:
    logits, labels = sample
    probabilities = logits.double().softmax(dim=1).numpy()
    classes = np.arange(logits.shape[1])
    found = measure(logits, labels)
    assert found.accuracy == pytest.approx(accuracy_score(labels, probabilities.argmax(1)), abs=1e-12)
    assert found.nll == pytest.approx(log_loss(labels, probabilities, labels=classes), abs=1e-10)
    one_hot = np.eye(len(classes))[labels.numpy()]
    assert found.brier == pytest.approx(((probabilities - one_hot) ** 2).sum(1).mean(), abs=1e-12)


def test_brier_of_two_classes_is_twice_scikit_learns() -> None:
    generator = torch.Generator().manual_seed(3)
    logits, labels = torch.randn(300, 2, generator=generator), torch.arange(300) % 2
    positive = logits.double().softmax(dim=1)[:, 1].numpy()
    assert brier(logits, labels) == pytest.approx(2.0 * brier_score_loss(labels.numpy(), positive), abs=1e-12)


def test_calibration_error_is_the_weighted_gap_of_scikit_learns_curve() -> None:
    generator = torch.Generator().manual_seed(4)
    logits = 2.0 * torch.randn(2000, 4, generator=generator)
    labels = torch.randint(4, (2000,), generator=generator)
    confidence, answer = logits.double().softmax(dim=1).max(dim=1)
    right = (answer == labels).numpy()
    observed, predicted = calibration_curve(right, confidence.numpy(), n_bins=15, strategy="uniform")
    counts = np.histogram(confidence.numpy(), bins=np.linspace(0.0, 1.0, 16))[0]
    weights = counts[counts > 0] / 2000
    expected = float((weights * np.abs(observed - predicted)).sum())
    assert expected > 0.1
    assert expected_calibration_error(logits, labels) == pytest.approx(expected, abs=1e-12)


def test_calibration_error_by_hand() -> None:
    # Confidences .9, .9 (one right, one wrong) share a bin; .6 (right) is alone: (|1 - 1.8| + |1 - .6|) / 3.
    logits = logits_of([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]])
    assert expected_calibration_error(logits, torch.tensor([0, 1, 1])) == pytest.approx(1.2 / 3, abs=1e-12)


def test_calibration_bins_are_closed_above() -> None:
    # In two bins, confidence .5 exactly lies in the lower one, apart from .75: the gaps do not cancel.
    logits = torch.tensor([[0.0, 0.0], [math.log(3.0), 0.0]], dtype=torch.float64)
    labels = torch.tensor([0, 1])
    assert expected_calibration_error(logits, labels, bins=2) == pytest.approx((0.5 + 0.75) / 2, abs=1e-12)
    assert expected_calibration_error(logits, labels, bins=1) == pytest.approx(0.25 / 2, abs=1e-12)


def test_known_values_of_uniform_and_of_certain_answers() -> None:
    labels = torch.tensor([0, 1, 2, 3])
    uniform = measure(torch.zeros(4, 4), labels)
    assert astuple(uniform) == pytest.approx((0.25, math.log(4.0), 0.75, 0.0))
    right = measure(1000.0 * torch.eye(4), labels)
    assert right == Metrics(1.0, 0.0, 0.0, 0.0)
    wrong = measure(1000.0 * torch.eye(4).roll(1, 0), labels)
    assert astuple(wrong) == pytest.approx((0.0, 1000.0, 2.0, 1.0))


def test_huge_logits_do_not_overflow() -> None:
    found = measure(torch.tensor([[3e38, -3e38]]), torch.tensor([1]))
    assert found.nll == pytest.approx(6e38, rel=1e-6)
    assert found.accuracy == 0.0


def test_measure_gathers_the_single_functions() -> None:
    generator = torch.Generator().manual_seed(5)
    logits, labels = torch.randn(50, 5, generator=generator), torch.randint(5, (50,), generator=generator)
    assert measure(logits, labels) == Metrics(
        accuracy(logits, labels),
        negative_log_likelihood(logits, labels),
        brier(logits, labels),
        expected_calibration_error(logits, labels),
    )


def test_one_sample_small_label_types_and_gradients_are_fine() -> None:
    logits = torch.tensor([[0.0, 1.0]], dtype=torch.float16, requires_grad=True)
    assert accuracy(logits, torch.tensor([1], dtype=torch.uint8)) == 1.0
    assert logits.grad is None


@settings(max_examples=settings().max_examples // 2)
@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 8), st.integers(1, 5)), elements=st.floats(-50, 50, width=32)),
    st.randoms(use_true_random=False),
)
def test_ranges_shift_invariance_and_order_invariance(values: np.ndarray, draws: random.Random) -> None:
    logits = torch.from_numpy(values.copy()).double()
    labels = torch.tensor([draws.randrange(logits.shape[1]) for _ in range(len(logits))])
    found = measure(logits, labels)
    assert 0.0 <= found.accuracy <= 1.0
    assert found.nll >= 0.0
    assert 0.0 <= found.brier <= 2.0
    assert 0.0 <= found.ece <= 1.0
    mirrored = measure(logits.flip(0), labels.flip(0))
    assert mirrored.nll == pytest.approx(found.nll, abs=1e-9)
    assert mirrored.ece == pytest.approx(found.ece, abs=1e-9)
    assert negative_log_likelihood(logits + 3.0, labels) == pytest.approx(found.nll, abs=1e-9)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_logits_that_are_not_finite_are_refused_and_counted(bad: float) -> None:
    logits = torch.zeros(5, 3)
    logits[1, 2] = logits[4, 0] = bad
    with pytest.raises(NetworkError, match="2 of 5 samples"):
        measure(logits, torch.zeros(5, dtype=torch.long))


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (torch.zeros(0, 3), torch.zeros(0, dtype=torch.long), "not empty"),
        (torch.zeros(3), torch.zeros(3, dtype=torch.long), r"\[samples, classes\]"),
        (torch.zeros(3, 2), torch.zeros(2, dtype=torch.long), r"they must be \[3\]"),
        (torch.zeros(3, 2), torch.zeros(3), "integers"),
        (torch.zeros(3, 2), torch.zeros(3, dtype=torch.bool), "integers"),
        (torch.zeros(2, 2), torch.tensor([0, 2]), r"from 0 to 2.*0\.\.1"),
        (torch.zeros(2, 2), torch.tensor([-1, 1]), "from -1 to 1"),
    ],
)
def test_shapes_and_labels_that_do_not_fit_are_refused(logits: Tensor, labels: Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        measure(logits, labels)


def test_a_calibration_error_without_bins_is_refused() -> None:
    with pytest.raises(SettingError, match="bins is 0"):
        expected_calibration_error(torch.zeros(1, 2), torch.tensor([0]), bins=0)

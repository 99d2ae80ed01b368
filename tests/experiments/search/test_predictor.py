"""The predictor against closed forms and quadrature."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from bayesprune.experiments.search.options import PREDICTORS
from bayesprune.experiments.search.predictor import Predictor, acquired


@pytest.mark.parametrize(("mean", "spread", "best"), [(0.5, 0.1, 0.5), (0.7, 0.05, 0.6), (0.2, 0.3, 0.9)])
def test_expected_improvement_is_the_integral_that_defines_it(mean: float, spread: float, best: float) -> None:
    found = acquired("expected-improvement", np.array([mean]), np.array([spread]), np.array([best]))
    integral, _ = quad(lambda y: (y - best) * norm.pdf(y, mean, spread), best, best + 12 * spread + abs(mean - best))
    assert found[0] == pytest.approx(integral, rel=1e-6)


def test_the_upper_bound() -> None:
    found = acquired("upper-bound", np.array([0.5, 0.6]), np.array([0.2, 0.05]), np.array([0.5, 0.5]))
    assert found == pytest.approx([0.2, 0.15])


@pytest.mark.parametrize("name", PREDICTORS)
def test_a_line_is_learnt_with_honest_spreads(name: str) -> None:
    random = np.random.default_rng(0)
    inputs = random.uniform(size=(60, 3))
    truth = 0.5 + 0.2 * inputs[:, 0] - 0.1 * inputs[:, 1]
    rows = [{"a": a, "b": 100 * b, "c": c, "always": 7.0} for a, b, c in inputs]
    model = Predictor(name, rows[:40], (truth + 0.01 * random.normal(size=60))[:40].tolist())
    mean, spread = model.predict(rows[40:])
    assert np.abs(mean - truth[40:]).max() < 0.03
    assert np.abs((mean - truth[40:]) / spread).max() < 5 and np.all(spread < 0.05)


def test_far_from_what_was_seen_the_process_is_less_sure() -> None:
    rows = [{"a": float(a)} for a in range(10)]
    model = Predictor("gaussian-process", rows, [0.5 + 0.05 * np.sin(a) for a in range(10)])
    _, spread = model.predict([{"a": 4.5}, {"a": 40.0}])
    assert spread[1] > 1.2 * spread[0]


def test_how_bad_the_worst_are_changes_nothing() -> None:
    rows = [{"a": float(a)} for a in range(9)]
    accuracies = [0.1, 0.60, 0.62, 0.64, 0.66, 0.68, 0.70, 0.72, 0.74]
    found = [
        Predictor("bayesian-ridge", rows, [worst, *accuracies[1:]]).predict([{"a": 9.0}])[0] for worst in (0.1, 0.3)
    ]
    assert found[0] == found[1]


def test_one_row_and_equal_accuracies_are_no_failure() -> None:
    for name in PREDICTORS:
        for count in (1, 3):
            mean, spread = Predictor(name, [{"a": 1.0}] * count, [0.5] * count).predict([{"a": 2.0}])
            assert mean == pytest.approx([0.5]) and np.all(spread > 0)

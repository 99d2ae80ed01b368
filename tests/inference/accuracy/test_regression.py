"""Accuracy from properties: the model against SciPy, its intervals against a known truth, and against NUTS."""

from dataclasses import replace

import numpy as np
import pyro
import pytest
import torch
from scipy import stats

from bayesprune.errors import DataError, SettingError
from bayesprune.graphs.calibration import calibration
from bayesprune.inference.accuracy import HorseshoePredictor, fit, fit_nuts, posterior_tree
from bayesprune.models.accuracy import AccuracyRegression, weight_scales


def drawn(rows: int, seed: int, weights: tuple[float, ...] = (1.0, 0.0, -0.6)) -> tuple[np.ndarray, np.ndarray]:
    """Properties [N, K] and accuracies [N]: logits are linear with Student noise of 6 degrees and scale 0.5."""
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(rows, len(weights))) * [3.0, 1.0, 0.1][: len(weights)] + 5.0
    plain = (inputs - 5.0) / [3.0, 1.0, 0.1][: len(weights)]
    logits = 1.0 + plain @ np.array(weights) + 0.5 * random.standard_t(6, rows)
    return inputs, 1 / (1 + np.exp(-logits))


def test_the_density_is_that_of_its_parts() -> None:
    random = np.random.default_rng(0)
    inputs, targets = random.normal(size=(5, 1, 2)), random.normal(size=(5, 1))
    used = np.array([[True], [True], [False], [True], [True]])
    at = {
        "shrinkage": 0.3, "slab": 2.0, "local": [0.5, 1.5], "plain": [0.2, -1.0], "trend": [0.1, -0.2], "level": 0.4,
        "log_noise": -0.7, "freedom": 3.0,
    }  # fmt: skip
    values = {name: torch.tensor([value], dtype=torch.float64) for name, value in at.items()}
    tensors = torch.tensor(inputs), torch.tensor(targets), torch.tensor(used)
    trace = pyro.poutine.trace(pyro.poutine.condition(AccuracyRegression(0.1), values)).get_trace(*tensors)
    local, plain, trend = (np.array(at[name]) for name in ("local", "plain", "trend"))
    weights = plain * 0.3 * local * np.sqrt(2.0 / (2.0 + 0.09 * local**2))
    law = stats.t(4.0, 0.4 + inputs[:, 0] @ weights, np.exp(-0.7 + inputs[:, 0] @ trend))
    expected = (
        stats.halfcauchy(scale=0.1).logpdf(0.3) + stats.invgamma(2, scale=8).logpdf(2.0)
        + stats.halfcauchy().logpdf(local).sum() + stats.norm.logpdf(plain).sum()
        + stats.norm(0, 0.25).logpdf(trend).sum() + stats.norm.logpdf(0.4) + stats.norm(np.log(0.5)).logpdf(-0.7)
        + stats.gamma(2, scale=10).logpdf(3.0) + law.logpdf(targets[:, 0])[used[:, 0]].sum()
    )  # fmt: skip
    assert float(trace.log_prob_sum()) == pytest.approx(expected, abs=1e-9)


def test_scales_end_at_the_slab() -> None:
    wide = weight_scales(torch.tensor([1.0]), torch.tensor([4.0]), torch.tensor([[1e6, 1e-3]]))
    assert wide[0].tolist() == pytest.approx([2.0, 1e-3], rel=1e-4)


@pytest.mark.long
def test_intervals_cover_the_truth_and_what_says_nothing_is_told_apart() -> None:
    inputs, accuracy = drawn(200, 0)
    fitted = fit(inputs, accuracy, steps=500, draws=300)
    new, truth = drawn(1_500, 1)
    found = calibration(truth, fitted.predictive(new)[:, 0])
    # Binomial errors are .013, .010 and .006; 200 rows leave parameters uncertain besides.
    assert {level: found.coverage[level] for level in (0.5, 0.8, 0.95)} == pytest.approx(
        {0.5: 0.5, 0.8: 0.8, 0.95: 0.95}, abs=0.06
    )
    relevance = fitted.relevance()[0]
    assert relevance[0] > 0.99 and relevance[2] > 0.99 and relevance[1] < 0.2
    # Weights stand for standardised properties and logits: 1 and -0.6 over the deviation of the logits.
    deviation = np.sqrt(1.0 + 0.36 + 0.25 * 6 / 4)
    assert fitted.draws["weights"][:, 0].mean(0).tolist() == pytest.approx(
        [1 / deviation, 0.0, -0.6 / deviation], abs=0.08
    )


def test_rows_that_are_not_used_change_nothing() -> None:
    inputs, accuracy = drawn(40, 2)
    used = np.stack([np.arange(40) < 30, np.arange(40) >= 10])
    first = fit(inputs, accuracy, used, steps=5, draws=4).predictive(inputs)
    changed = np.where(np.arange(40) < 10, 0.5, accuracy)
    second = fit(inputs, changed, used, steps=5, draws=4).predictive(inputs)
    assert np.array_equal(first[:, 1], second[:, 1]) and not np.allclose(first[:, 0], second[:, 0])
    assert first.shape == (4, 2, 40) and first.min() >= 0 and first.max() <= 1


def test_a_property_without_spread_and_perfect_accuracies_do_no_harm() -> None:
    inputs = np.column_stack([np.arange(12.0), np.ones(12)])
    said = HorseshoePredictor(steps=5, draws=4)(inputs, np.ones(12), np.ones((1, 12), bool), [0])
    assert np.isfinite(said.said).all() and said.draws is not None and said.draws.shape == (4, 1, 12)


def test_the_posterior_as_a_tree() -> None:
    inputs, accuracy = drawn(30, 5)
    used = np.stack([np.arange(30) < 20, np.arange(30) >= 10])
    fitted = fit(inputs, accuracy, used, steps=5, draws=6)
    tree = posterior_tree(replace(fitted, chains=2), ("a", "b", "c"), 1)
    weights = tree["posterior/weights"]
    assert weights.dims == ("chain", "draw", "property") and weights.shape == (2, 3, 3)
    assert np.allclose(weights.sel(chain=1, draw=0, property="c"), fitted.draws["weights"][3, 1, 2])
    assert tree["posterior/freedom"].shape == (2, 3)
    assert np.allclose(tree["constant_data/centre"], inputs[10:].mean(0))
    with pytest.raises(SettingError, match="2 names and set 0: 3 properties"):
        posterior_tree(fitted, ("a", "b"))


def test_bad_input_is_said() -> None:
    inputs, accuracy = drawn(10, 0)
    with pytest.raises(DataError, match="do not fit"):
        fit(inputs, accuracy[:9])
    with pytest.raises(DataError, match="accuracies from 0 to 1"):
        fit(inputs, accuracy * 100)
    with pytest.raises(DataError, match="would learn from 1 rows"):
        fit(inputs, accuracy, np.eye(10, dtype=bool)[:1])
    with pytest.raises(SettingError, match="steps must be an integer >= 1"):
        fit(inputs, accuracy, steps=0)
    with pytest.raises(SettingError, match="chains must be an integer >= 1"):
        fit_nuts(inputs, accuracy, chains=0)


@pytest.mark.long
def test_variational_inference_and_nuts_agree() -> None:
    inputs, accuracy = drawn(50, 3, (1.0,))
    exact = fit_nuts(inputs, accuracy, draws=100, warmup=60, deepest=5)
    fitted = fit(inputs, accuracy, draws=1_000)
    # The posterior of the weight has a deviation of about 0.1, so that 100 draws' mean has an error of 0.01 to 0.03.
    means = [float(each.draws["weights"].mean()) for each in (exact, fitted)]
    assert abs(means[0] - means[1]) < 0.1
    new, _ = drawn(200, 4, (1.0,))
    widths = [
        np.subtract(*np.quantile(each.predictive(new)[:, 0], [0.9, 0.1], axis=0)).mean() for each in (exact, fitted)
    ]
    assert widths[1] == pytest.approx(widths[0], rel=0.2)

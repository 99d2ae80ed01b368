"""The model that predicts accuracy, how sure it is, and which children are worth training."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
LEAST_SPREAD = 1e-9
"""A standard deviation below it counts as none."""


def make_model(name: str) -> Any:
    """A regressor of scikit-learn that predicts with standard deviations."""
    if name == "bayesian-ridge":
        from sklearn.linear_model import BayesianRidge

        return BayesianRidge()
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    kernel = ConstantKernel(1.0, (0.05, 20.0)) * Matern(3.0, (0.5, 50.0), nu=2.5) + WhiteKernel(0.05, (1e-3, 1.0))
    return GaussianProcessRegressor(kernel, normalize_y=True)


class Predictor:
    """Accuracy from properties; the ridge is given their squares too, since the best are often in the middle.

    Properties are scaled to mean 0 and deviation 1 over the rows that it is fitted to. Accuracies far below the middle
    count as the lower end of its usual range: how bad the worst are says nothing of the best.

    Args:
        name: one of `PREDICTORS`.
        rows: properties of what was trained, the same names in all.
        accuracies: theirs.
    """

    def __init__(self, name: str, rows: Sequence[Mapping[str, float]], accuracies: Sequence[float]) -> None:
        self._squares = name == "bayesian-ridge"
        inputs, targets = _matrix(rows), np.asarray(accuracies, dtype=float)
        self._mean = inputs.mean(0)
        spread = inputs.std(0)
        self._spread = np.where(spread > LEAST_SPREAD, spread, 1.0)
        middle = np.median(targets)
        self._model = make_model(name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a hyperparameter at the end of its range is no failure
            self._model.fit(self._scaled(inputs), np.maximum(targets, middle - 2 * (targets.max() - middle)))

    def predict(self, rows: Sequence[Mapping[str, float]]) -> tuple[Floats, Floats]:
        """Means and standard deviations of accuracies, each [N]."""
        mean, spread = self._model.predict(self._scaled(_matrix(rows)), return_std=True)
        return mean, np.maximum(spread, LEAST_SPREAD)

    def _scaled(self, inputs: Floats) -> Floats:
        scaled: Floats = np.clip((inputs - self._mean) / self._spread, -10.0, 10.0)
        return np.hstack([scaled, scaled**2]) if self._squares else scaled


def _matrix(rows: Sequence[Mapping[str, float]]) -> Floats:
    return np.array([[float(value) for value in row.values()] for row in rows])


def acquired(name: str, mean: Floats, spread: Floats, best: Floats) -> Floats:
    """What training is expected to be worth, each [N].

    Args:
        name: "expected-improvement": E[max(accuracy - best, 0)] of a normal law (Jones et al., 1998);
            "upper-bound": mean plus one deviation, above the best.
        mean: of the predicted accuracies.
        spread: their standard deviations.
        best: that each must beat.
    """
    if name == "upper-bound":
        return mean + spread - best
    from scipy.stats import norm

    z = (mean - best) / spread
    found: Floats = (mean - best) * norm.cdf(z) + spread * norm.pdf(z)
    return found

"""The regression of accuracy as a predictor of rows that it has not seen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bayesprune.graphs.prediction import Bools, Floats, FoldPredictions
from bayesprune.inference.accuracy.fitting import fit
from bayesprune.models.accuracy import AccuracyRegression


@dataclass(frozen=True)
class HorseshoePredictor:
    """For `bayesprune.graphs.prediction.cross_validated`: all folds of all repeats are fitted at once.

    It says the median of its predictive distribution: the mean of what is heavy-tailed in the logit is drawn towards
    1/2 (R squared on the study's GRU networks .53 by the mean, .69 by the median).

    Attributes:
        model: with its prior.
        steps, draws: see `bayesprune.inference.accuracy.fit`.
    """

    model: AccuracyRegression = AccuracyRegression()
    steps: int = 1_000
    draws: int = 400

    def __call__(self, inputs: Floats, truth: Floats, used: Bools, seeds: Sequence[int]) -> FoldPredictions:
        """See `FoldPredictor`; the first seed is that of all."""
        fitted = fit(inputs, truth, used, model=self.model, steps=self.steps, draws=self.draws, seed=seeds[0])
        drawn = fitted.predictive(inputs, seed=seeds[0])
        return FoldPredictions(np.median(drawn, axis=0), drawn)

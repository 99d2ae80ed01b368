"""Accuracy predicted from properties of graphs, with intervals, by the model `bayesprune.models.accuracy`."""

from bayesprune.inference.accuracy.fitting import FittedAccuracy, fit, fit_nuts
from bayesprune.inference.accuracy.predictor import HorseshoePredictor
from bayesprune.inference.accuracy.tree import posterior_tree

__all__ = ["FittedAccuracy", "HorseshoePredictor", "fit", "fit_nuts", "posterior_tree"]

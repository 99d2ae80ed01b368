"""Estimators of the gradient with respect to inclusion probabilities, as exchangeable objects."""

from bayesprune.inference.estimators.base import GateEstimator, GateProblem
from bayesprune.inference.estimators.curvature import SampledLabelCurvature, StraightThrough
from bayesprune.inference.estimators.flips import SalientFlips, UniformFlips
from bayesprune.inference.estimators.linearised import LinearisedFlips
from bayesprune.inference.estimators.score import DisARM, ScoreFunction
from bayesprune.inference.estimators.table import ESTIMATORS, estimator
from bayesprune.inference.estimators.without import WithoutEstimate

__all__ = [
    "ESTIMATORS",
    "DisARM",
    "GateEstimator",
    "GateProblem",
    "LinearisedFlips",
    "SalientFlips",
    "SampledLabelCurvature",
    "ScoreFunction",
    "StraightThrough",
    "UniformFlips",
    "WithoutEstimate",
    "estimator",
]

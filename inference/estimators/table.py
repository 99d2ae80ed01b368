"""The estimators by name."""

from collections.abc import Callable
from typing import Any

from bayesprune.errors import SettingError, UnknownNameError
from bayesprune.inference.estimators.base import GateEstimator
from bayesprune.inference.estimators.curvature import SampledLabelCurvature, StraightThrough
from bayesprune.inference.estimators.flips import SalientFlips, UniformFlips
from bayesprune.inference.estimators.linearised import LinearisedFlips
from bayesprune.inference.estimators.score import DisARM, ScoreFunction

ESTIMATORS: dict[str, Callable[..., GateEstimator]] = {
    SampledLabelCurvature.name: SampledLabelCurvature,
    SalientFlips.name: SalientFlips,
    UniformFlips.name: UniformFlips,
    LinearisedFlips.name: LinearisedFlips,
    DisARM.name: DisARM,
    ScoreFunction.name: ScoreFunction,
    StraightThrough.name: StraightThrough,
}


def estimator(name: str, **settings: Any) -> GateEstimator:
    """Make an estimator by name.

    Raises:
        UnknownNameError: there is no such estimator.
        SettingError: it has no such setting, or the value is not allowed.
    """
    if name not in ESTIMATORS:
        raise UnknownNameError("estimator", name, ESTIMATORS)
    try:
        return ESTIMATORS[name](**settings)
    except TypeError as error:
        raise SettingError(f"estimator {name!r} does not take {settings}: {error}") from error

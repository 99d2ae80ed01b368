"""Measures of regression: predictions and targets are [N, K], K outputs in the unit of the targets."""

import math
from statistics import NormalDist

import torch
from torch import Tensor

from bayesprune.errors import NetworkError, SettingError
from bayesprune.evaluation.measures.values import mean, to_float64


def rmse(predictions: Tensor, targets: Tensor) -> float:
    """Root of the mean squared error over all entries, in the unit of the targets.

    With several outputs it is the root of the mean over examples and outputs, not the mean of one root an
    output. Arguments and errors as in `mae`.
    """
    return math.sqrt(mean((to_float64(predictions) - to_float64(targets)).square()))


def mae(predictions: Tensor, targets: Tensor) -> float:
    """Mean absolute error over all entries, in the unit of the targets.

    Args:
        predictions: [N, K].
        targets: [N, K].

    Raises:
        DataError: there are no examples.
    """
    return mean((to_float64(predictions) - to_float64(targets)).abs())


def r2(predictions: Tensor, targets: Tensor) -> float | None:
    """Share of the targets' variance that is explained, at most 1: the plain mean over the outputs.

    An output whose target is constant counts 1 if its predictions are perfect, else 0. Arguments as in `mae`.

    Returns:
        None for fewer than 2 examples, or where the target of every output is constant.

    Source: scikit-learn's `r2_score(multioutput="uniform_average", force_finite=True)`.
    """
    predicted, wanted = to_float64(predictions), to_float64(targets)
    if len(wanted) < 2:
        return None
    left = (wanted - predicted).square().sum(dim=0)
    total = (wanted - wanted.mean(dim=0)).square().sum(dim=0)
    # The mean of equal numbers may be off by rounding, so constant targets are found by comparison.
    constant = (wanted == wanted[0]).all(dim=0) | (total == 0.0)
    if constant.all():
        return None
    return mean(torch.where(constant, (left == 0.0).double(), 1.0 - left / total))


def interval_coverage(predictions: Tensor, deviations: Tensor, targets: Tensor, level: float = 0.9) -> float:
    """Share of targets inside the central interval of their normal distribution, ends included, in [0, 1].

    The interval is prediction +- z * deviation, z the normal quantile of (1 + level) / 2. Well calibrated
    deviations give a coverage near `level`.

    Args:
        predictions: [N, K].
        deviations: [N, K], or [K] for the same of every example; standard deviations in the unit of the targets.
        targets: [N, K].
        level: probability of the interval, above 0 and below 1.

    Raises:
        SettingError: `level` is not between 0 and 1.
        DataError: there are no examples.
    """
    if not 0.0 < level < 1.0:
        raise SettingError(f"level is {level}: the interval needs a probability above 0 and below 1, such as 0.9")
    quantile = NormalDist().inv_cdf(0.5 + level / 2.0)
    distance = (to_float64(targets) - to_float64(predictions)).abs()
    return mean(distance <= quantile * to_float64(deviations))


def gaussian_nll(predictions: Tensor, deviations: Tensor, targets: Tensor) -> float:
    """Mean over examples of the sum over outputs of -log N(target; prediction, deviation^2), in nats.

    Arguments as in `interval_coverage`. It hangs on the unit of the targets.

    Raises:
        NetworkError: a deviation is 0, negative or NaN.
        DataError: there are no examples.
    """
    spread = to_float64(deviations)
    bad = int((~(spread > 0.0)).sum())
    if bad:
        raise NetworkError(
            f"{bad} of {spread.numel()} standard deviations are not above 0: the density is undefined there; "
            "add a small number such as 1e-6 to the deviations"
        )
    scaled = (to_float64(targets) - to_float64(predictions)) / spread
    return mean((0.5 * scaled.square() + spread.log() + 0.5 * math.log(2.0 * math.pi)).sum(dim=1))

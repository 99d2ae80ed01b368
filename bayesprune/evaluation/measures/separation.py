"""How well one score tells examples of two kinds apart, and how sure that is."""

from dataclasses import dataclass
from math import exp, log, sqrt
from statistics import NormalDist

import torch
from torch import Tensor

from bayesprune.errors import DataError
from bayesprune.evaluation.measures.values import to_float64

LEVEL = 0.95
"""Of intervals."""


@dataclass(frozen=True)
class Separation:
    """The area under the ROC curve.

    Attributes:
        auroc: chance that an example of the other kind scores higher than one of the own kind; a tie counts half. 0.5
            is that of a coin.
        standard_error: of the area, over other examples of the same kinds; 0 where no pair is in the wrong order.
        low, high: a 95 % interval, in [0, 1]; a point where the standard error is 0.
    """

    auroc: float
    standard_error: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.auroc:.4f} ({self.low:.4f} to {self.high:.4f})"


def separation(own: Tensor, other: Tensor) -> Separation:
    """How well a score that is to be higher for the other kind tells the two kinds apart.

    The variance is that of DeLong: S10 / M + S01 / N, with the sample variances of each example's share of pairs in the
    right order. The interval is normal on the scale of log(A / (1 - A)), so that it stays within [0, 1].

    Args:
        own: scores [N] of the own kind, at least 2.
        other: scores [M] of the other kind, at least 2.

    Raises:
        DataError: there are fewer, or a score is NaN.

    Source: DeLong, DeLong and Clarke-Pearson (1988), "Comparing the Areas under Two or More Correlated Receiver
    Operating Characteristic Curves".
    """
    inside, outside = to_float64(own), to_float64(other)
    for name, scores in (("own", inside), ("other", outside)):
        if scores.dim() != 1 or len(scores) < 2:
            raise DataError(f"{name} scores have shape {list(scores.shape)}: [N] of at least 2 examples are needed")
        if bool(scores.isnan().any()):
            raise DataError(f"{int(scores.isnan().sum())} of the {name} scores are NaN, so that they have no order")
    above, below = _shares_below(outside, inside), 1 - _shares_below(inside, outside)
    area = float(above.mean())
    error = sqrt(float(above.var() / len(above) + below.var() / len(below)))
    low, high = _interval(area, error)
    return Separation(area, error, low, high)


def _shares_below(scores: Tensor, others: Tensor) -> Tensor:
    """For each of [N] scores the share of the others [M] that lie below it; a tie counts half."""
    order = others.sort().values
    lower, upper = (torch.searchsorted(order, scores, right=right) for right in (False, True))
    return (lower + upper).double() / (2 * len(others))


def _interval(area: float, error: float) -> tuple[float, float]:
    """The 95 % interval of an area in [0, 1]."""
    if error == 0 or not 0 < area < 1:
        return area, area
    reach = NormalDist().inv_cdf(0.5 + LEVEL / 2) * error / (area * (1 - area))
    centre = log(area / (1 - area))
    return _logistic(centre - reach), _logistic(centre + reach)


def _logistic(value: float) -> float:
    """1 / (1 + exp(-value)), for values that exp can take."""
    return 1 / (1 + exp(-max(-700.0, min(700.0, value))))

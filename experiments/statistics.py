"""What several seeds say: mean and spread, the paired difference of two methods, and one sentence."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bayesprune.errors import SettingError


@dataclass(frozen=True)
class MeanAndSpread:
    """A mean over seeds.

    Attributes:
        mean: arithmetic mean.
        sd: sample standard deviation (n - 1 in the denominator); None for one value.
        n: number of values.
    """

    mean: float
    sd: float | None
    n: int


@dataclass(frozen=True)
class PairedDifference:
    """The mean of `a - b` over seeds that both methods share, with its t-interval.

    Attributes:
        mean: mean difference.
        low: lower end of the interval; None for one pair, which has no interval.
        high: upper end; None for one pair.
        n: number of pairs.
        level: the interval's confidence, in (0, 1).
    """

    mean: float
    low: float | None
    high: float | None
    n: int
    level: float


def mean_and_spread(values: Sequence[float]) -> MeanAndSpread:
    """Mean and sample standard deviation.

    Raises:
        SettingError: there is no value, or one is NaN or infinite.
    """
    _check(values, "values")
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return MeanAndSpread(mean, None, 1)
    squares = math.fsum((value - mean) ** 2 for value in values)
    return MeanAndSpread(mean, math.sqrt(squares / (len(values) - 1)), len(values))


def paired_difference(a: Sequence[float], b: Sequence[float], level: float = 0.95) -> PairedDifference:
    """Mean of `a - b`, pair by pair, with the two-sided interval of Student's t for paired samples.

    Where all differences are equal the interval is that one number: so few seeds can look too sure.

    Args:
        a: one value a seed.
        b: the other method's values, the same seeds in the same order.
        level: confidence of the interval, in (0, 1).

    Raises:
        SettingError: the lengths differ or are 0, a value is NaN or infinite, or `level` is not in (0, 1).
    """
    if len(a) != len(b):
        raise SettingError(f"{len(a)} values against {len(b)}: a paired difference needs the same seeds on both sides")
    if not 0.0 < level < 1.0:
        raise SettingError(f"level is {level}: the confidence must lie between 0 and 1, for example 0.95")
    _check(a, "a")
    _check(b, "b")
    spread = mean_and_spread([x - y for x, y in zip(a, b, strict=True)])
    if spread.sd is None:
        return PairedDifference(spread.mean, None, None, spread.n, level)
    half = _t_quantile((1.0 + level) / 2.0, spread.n - 1) * spread.sd / math.sqrt(spread.n)
    return PairedDifference(spread.mean, spread.mean - half, spread.mean + half, spread.n, level)


def verdict(first: str, second: str, difference: PairedDifference, condition: str = "") -> str:
    """One sentence: which of two methods won, by how many points of accuracy, and how sure that is.

    A win needs an interval that leaves out 0; without one nobody is said to have won, and the difference
    shown is first minus second.

    Args:
        first: the method whose accuracies were `a` in `paired_difference`.
        second: the method whose accuracies were `b`.
        difference: of accuracies in [0, 1].
        condition: what the comparison holds fixed, for example "at the same MACs".
    """
    where = f" {condition}" if condition else ""
    if difference.low is None or difference.high is None:
        return _verdict_of_one_seed(first, second, difference.mean, where)
    if difference.high < 0.0:
        return verdict(second, first, _reversed(difference, difference.low, difference.high), condition)
    mean, low, high = _points(difference.mean, difference.low, difference.high)
    interval = f"({100 * difference.level:g} % interval {low} to {high}, {difference.n} paired seeds)"
    if difference.low > 0.0:
        return f"{first} beats {second} by {mean} points of accuracy{where} {interval}."
    return f"{first} and {second} cannot be told apart in accuracy{where}: difference {mean} points {interval}."


def _verdict_of_one_seed(first: str, second: str, mean: float, where: str) -> str:
    if mean < 0.0:
        return _verdict_of_one_seed(second, first, -mean, where)
    (points,) = _points(mean)
    if mean == 0.0:
        return f"{first} and {second} have the same accuracy{where}; there is no interval with one seed."
    return (
        f"{first} is {points} points of accuracy above {second}{where}, "
        "but that decides nothing: there is no interval with one seed."
    )


def _reversed(difference: PairedDifference, low: float, high: float) -> PairedDifference:
    """The same comparison seen from the other method."""
    return replace(difference, mean=-difference.mean, low=-high, high=-low)


def _points(*shares: float) -> list[str]:
    """Shares as percentage points, with as many decimals (1 to 3) as show that none of them is 0."""
    points = [100.0 * share for share in shares]
    for decimals in (1, 2, 3):
        if all(round(value, decimals) != 0.0 for value in points if abs(value) >= 5e-4):
            break
    # Adding 0 turns the -0.0 of a rounded small number into 0.0.
    return [f"{round(value, decimals) + 0.0:.{decimals}f}" for value in points]


def _t_quantile(probability: float, degrees: int) -> float:
    """Student's t quantile; `scipy.special` has it for a third of the import time of `scipy.stats`."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))


def _check(values: Sequence[float], name: str) -> None:
    if len(values) == 0:
        raise SettingError(f"{name} is empty: statistics need at least one seed")
    bad = [value for value in values if not math.isfinite(value)]
    if bad:
        raise SettingError(
            f"{name} has {len(bad)} values that are NaN or infinite: leave those runs out or repeat them"
        )

"""What several seeds say: mean and spread, the paired difference of two methods, and one sentence."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bayesprune.errors import SettingError
from bayesprune.experiments.scores import ACCURACY, Score


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
    """The mean of `a - b` over seeds that both methods share, with an interval.

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

    @property
    def reversed(self) -> "PairedDifference":
        """The same comparison seen from the other side: `b - a`."""
        low, high = (None if end is None else -end for end in (self.high, self.low))
        return replace(self, mean=-self.mean, low=low, high=high)

    @property
    def decided(self) -> bool:
        """Whether there is an interval that leaves out 0."""
        return self.low is not None and self.high is not None and not self.low <= 0.0 <= self.high


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


def paired_difference(
    a: Sequence[float], b: Sequence[float], level: float = 0.95, *, images: int | None = 10_000
) -> PairedDifference:
    """Mean of `a - b`, pair by pair, with a two-sided interval.

    The interval is Student's t for paired samples, but never narrower than the noise of the test images, of which few
    seeds can show nothing by chance. All seeds are measured on the same images, so this noise does not fall with the
    number of seeds. Two networks with error rates e_a and e_b disagree on a share of the images that is at least
    |e_a - e_b|; if they share half of their errors, as networks of one architecture about do, it is (e_a + e_b) / 2.
    With m images and the larger of these two shares, d, half the interval is at least z sqrt(d / m) + 1 / m: McNemar's
    test with its continuity correction.

    Args:
        a: one accuracy a seed, in [0, 1].
        b: the other method's accuracies, the same seeds in the same order.
        level: confidence of the interval, in (0, 1).
        images: test images that the accuracies were measured on; 10,000, as in MNIST and CIFAR-10, where nothing is
            said. None for numbers that are no accuracies: the interval is Student's alone then.

    Raises:
        SettingError: the lengths differ or are 0, a value is NaN or infinite or no accuracy, `level` is not in (0, 1),
            or `images` is below 1.
    """
    if len(a) != len(b):
        raise SettingError(f"{len(a)} values against {len(b)}: a paired difference needs the same seeds on both sides")
    if not 0.0 < level < 1.0:
        raise SettingError(f"level is {level}: the confidence must lie between 0 and 1, for example 0.95")
    _check(a, "a")
    _check(b, "b")
    least = 0.0 if images is None else _image_noise(a, b, level, images)
    spread = mean_and_spread([x - y for x, y in zip(a, b, strict=True)])
    if spread.sd is None:
        return PairedDifference(spread.mean, None, None, spread.n, level)
    half = max(least, _t_quantile((1.0 + level) / 2.0, spread.n - 1) * spread.sd / math.sqrt(spread.n))
    return PairedDifference(spread.mean, spread.mean - half, spread.mean + half, spread.n, level)


def _image_noise(a: Sequence[float], b: Sequence[float], level: float, images: int) -> float:
    """Half the width that the noise of the test images alone gives an interval; see `paired_difference`."""
    from scipy.special import ndtri

    outside = [value for value in (*a, *b) if not 0.0 <= value <= 1.0]
    if outside:
        raise SettingError(f"{outside[0]} is no accuracy: give shares in [0, 1], or images=None for other numbers")
    if images < 1:
        raise SettingError(f"images is {images}: accuracies are measured on at least 1 image")
    errors = [1.0 - mean_and_spread(side).mean for side in (a, b)]
    disagreement = max(sum(errors) / 2.0, abs(errors[0] - errors[1]))
    return float(ndtri((1.0 + level) / 2.0)) * math.sqrt(disagreement / images) + 1.0 / images


def verdict(first: str, second: str, difference: PairedDifference, condition: str = "", score: Score = ACCURACY) -> str:
    """One sentence: which of two methods won, by how much, and how sure that is.

    A win needs an interval that leaves out 0; without one nobody is said to have won.

    Args:
        first: the method whose values were `a` in `paired_difference`.
        second: the method whose values were `b`.
        difference: by how much the first is better: of accuracies in [0, 1], of errors with the sign changed.
        condition: what the comparison holds fixed, for example "at the same MACs".
        score: the metric that is compared.
    """
    if difference.mean < 0.0 and (difference.decided or difference.low is None):
        return verdict(second, first, difference.reversed, condition, score)
    where, what = f" {condition}" if condition else "", score.label
    amount = score.amount_of(_amount(difference, score))
    if difference.decided:
        return f"{first} beats {second} by {amount}{where} ({interval_of(difference, score)})."
    if difference.low is not None:
        chance = _chance(first, second, difference, score)
        return f"{first} and {second} cannot be told apart in {what}{where}: {chance}."
    if difference.mean == 0.0:
        return f"{first} and {second} have the same {what}{where}; one seed decides nothing: run at least 3."
    ahead = f"{amount} above" if score.higher_is_better else f"better by {amount} than"
    note = f" ({score.note})" if score.note else ""
    return f"{first} is {ahead} {second}{where}{note}, but one seed decides nothing: run at least 3."


def _chance(first: str, second: str, difference: PairedDifference, score: Score) -> str:
    """Who is ahead by what may be chance."""
    if difference.mean < 0.0:
        return _chance(second, first, difference.reversed, score)
    amount, sure = _amount(difference, score), interval_of(difference, score)
    if float(amount.replace(",", "")) == 0.0:
        return f"their means are the same ({sure})"
    return f"{first} is {score.amount(amount)} ahead, which may be chance ({sure})"


def amount_of(difference: PairedDifference, score: Score = ACCURACY) -> str:
    """The mean difference with its unit and metric: `1.3 points of accuracy`."""
    return score.amount_of(_amount(difference, score))


def interval_of(difference: PairedDifference, score: Score = ACCURACY) -> str:
    """The interval and the number of seeds: `95 % interval 0.6 to 2.0, 5 seeds`; `1 seed` without one.

    Where it is needed the unit and the direction stand before it.
    """
    seeds = f"{difference.n} seed{'' if difference.n == 1 else 's'}"
    _, *ends = score.amounts(*_ends(difference))
    sure = f"{100 * difference.level:g} % interval {ends[0]} to {ends[1]}, {seeds}" if ends else seeds
    return "; ".join(filter(None, [score.note, sure]))


def _amount(difference: PairedDifference, score: Score) -> str:
    """The mean difference, with the decimals of the interval."""
    return score.amounts(*_ends(difference))[0]


def _ends(difference: PairedDifference) -> list[float]:
    """Mean, and the ends of the interval where there is one."""
    return [value for value in (difference.mean, difference.low, difference.high) if value is not None]


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

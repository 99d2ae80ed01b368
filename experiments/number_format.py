"""How numbers are written in tables: mean and spread with the same decimals, large counts readable."""

import math
from dataclasses import dataclass

MISSING = "-"
_JOINT = " ± "
_LEAST, _MOST = 1e-4, 1e9
_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True)
class NumberFormat:
    """How one kind of number is written.

    Attributes:
        decimals: digits after the point; None for as many as show `digits` significant ones of the mean, or of a spread
            that is larger; far from 1 with a power of ten.
        scale: what the number is multiplied with first, for example 100 for percent.
        digits: significant digits where `decimals` is None.
    """

    decimals: int | None = None
    scale: float = 1.0
    digits: int = 3

    def show(self, mean: float | None, spread: float | None = None) -> str:
        """`mean ± spread`, only the mean where there is no spread, and "-" where there is no mean."""
        if mean is None:
            return MISSING
        values = [value * self.scale for value in (mean, spread) if value is not None]
        size = max(map(abs, values))
        if self.decimals is None and size and not _LEAST <= size < _MOST:
            return _JOINT.join(f"{value:.{self.digits}g}" for value in values)
        decimals = self._decimals(size)
        return _JOINT.join(_fixed(value, decimals) for value in values)

    def _decimals(self, size: float) -> int:
        """Digits after the point for numbers of this size."""
        if self.decimals is not None:
            return self.decimals
        return 0 if size == 0.0 else max(0, self.digits - 1 - math.floor(math.log10(size)))


def compact(value: float) -> str:
    """A large number in few characters: 266.6k, 2.3M; small ones as they are."""
    for factor, unit in _UNITS:
        if abs(value) >= factor:
            return f"{_fixed(value / factor, 1)}{unit}".replace(f".0{unit}", unit)
    return f"{value:g}"


def compact_spread(mean: float | None, spread: float | None = None) -> str:
    """`mean ± spread` in the unit of the mean, as in 21.3k ± 0.5k; without a spread the mean alone."""
    if mean is None:
        return MISSING
    factor, unit = next(((f, u) for f, u in _UNITS if abs(mean) >= f), (1.0, ""))
    decimals = 1 if unit else 0
    shown = f"{_fixed(mean / factor, decimals)}{unit}"
    return shown if spread is None else f"{shown} ± {_fixed(spread / factor, decimals)}{unit}"


def _fixed(value: float, decimals: int) -> str:
    """Fixed point with thousands separators and no negative zero."""
    return f"{round(value, decimals) + 0.0:,.{decimals}f}"

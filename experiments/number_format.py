"""How numbers are written in tables: mean and spread with the same decimals, large counts readable."""

import math
from dataclasses import dataclass

MISSING = "-"
_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True)
class NumberFormat:
    """How one kind of number is written.

    Attributes:
        decimals: digits after the point; None for as many as show `digits` significant ones of the mean.
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
        decimals = self._decimals(mean * self.scale)
        shown = _fixed(mean * self.scale, decimals)
        return shown if spread is None else f"{shown} ± {_fixed(spread * self.scale, decimals)}"

    def _decimals(self, value: float) -> int:
        """Digits after the point for a mean of this size."""
        if self.decimals is not None:
            return self.decimals
        return 0 if value == 0.0 else max(0, self.digits - 1 - math.floor(math.log10(abs(value))))


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

"""Whether predictive distributions say as often as they should what happens: coverage, width and CRPS."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bayesprune.errors import SettingError

Floats = npt.NDArray[np.float64]
LEVELS = (0.5, 0.8, 0.95)
"""Of intervals that are looked at."""


@dataclass(frozen=True)
class Calibration:
    """How well predictive distributions fit what was measured.

    Attributes:
        coverage: share of the rows inside the central interval of each level.
        error: Monte Carlo standard error of each share if the level were right, sqrt(level (1 - level) / N).
        width: mean width of the intervals.
        crps: mean continuous ranked probability score, in units of the truth; lower is better. A distribution of one
            point has its absolute error.
    """

    coverage: dict[float, float]
    error: dict[float, float]
    width: dict[float, float]
    crps: float

    def off(self, level: float) -> float:
        """By how many standard errors the coverage of a level is too large."""
        return (self.coverage[level] - level) / self.error[level]


def calibration(truth: Floats, draws: Floats, levels: Sequence[float] = LEVELS) -> Calibration:
    """Compare draws with the truth.

    Args:
        truth: [N].
        draws: of the predictive distribution of each row, [S, N], or [R, S, N] for R repeats, which are averaged. The
            error is that of N rows: repeats ask about the same ones.
        levels: of the central intervals.

    Raises:
        SettingError: shapes that do not fit, fewer than 2 draws, or a level that is not between 0 and 1.
    """
    each = draws[None] if draws.ndim == 2 else draws
    if each.ndim != 3 or each.shape[1] < 2 or each.shape[2:] != truth.shape or not len(truth):
        raise SettingError(f"draws {draws.shape} of truth {truth.shape}: give [S, N] or [R, S, N], 2 draws or more")
    if not all(0 < level < 1 for level in levels):
        raise SettingError(f"levels {list(levels)} of intervals must be between 0 and 1")
    ordered = np.sort(each, axis=1)
    coverage, error, width = {}, {}, {}
    for level in levels:
        low, high = np.quantile(ordered, [0.5 - level / 2, 0.5 + level / 2], axis=1)
        coverage[level] = float(((low <= truth) & (truth <= high)).mean())
        error[level] = float(np.sqrt(level * (1 - level) / len(truth)))
        width[level] = float((high - low).mean())
    return Calibration(coverage, error, width, float(crps(truth, ordered).mean()))


def crps(truth: Floats, ordered: Floats) -> Floats:
    """Continuous ranked probability score of ensembles whose draws are sorted: E|X - y| - E|X - X'| / 2.

    Source: Gneiting and Raftery (2007), equation 21; for sorted draws E|X - X'| is a weighted sum.

    Args:
        truth: [N].
        ordered: [..., S, N], ascending along S.

    Returns:
        [..., N].
    """
    size = ordered.shape[-2]
    weights = (2 * np.arange(1, size + 1) - size - 1) / size**2
    found: Floats = np.abs(ordered - truth).mean(-2) - np.einsum("s,...sn->...n", weights, ordered)
    return found

"""From scores to masks: how a density is distributed over the layers."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from bayesprune.errors import BudgetError

Distribution = Callable[[Mapping[str, Tensor], float], dict[str, Tensor]]
"""Scores by parameter name and the density to keep -> masks of 0 and 1 by name."""


def kept_count(density: float, total: int) -> int:
    """How many of `total` weights a density keeps, rounded to the nearest.

    Raises:
        BudgetError: the density lies outside (0, 1] or would keep nothing.
    """
    if not 0 < density <= 1:
        raise BudgetError(f"density must be > 0 and <= 1, not {density}")
    count = round(density * total)
    if count < 1:
        raise BudgetError(f"density {density:g} of {total:,} weights keeps none: give at least {1 / total:.2g}")
    return count


def class_blind(scores: Mapping[str, Tensor], density: float) -> dict[str, Tensor]:
    """One threshold over all layers (See et al., arXiv 1606.09274); the rounded number stays exactly."""
    flat = torch.cat([score.flatten() for score in scores.values()])
    mask = _top(flat, kept_count(density, flat.numel()))
    parts = mask.split([score.numel() for score in scores.values()])
    return {name: part.view_as(score) for (name, score), part in zip(scores.items(), parts, strict=True)}


def class_uniform(scores: Mapping[str, Tensor], density: float) -> dict[str, Tensor]:
    """The same density in every layer, at least one weight in each (See et al., arXiv 1606.09274)."""
    kept_count(density, sum(score.numel() for score in scores.values()))
    return {
        name: _top(score.flatten(), max(1, round(density * score.numel()))).view_as(score)
        for name, score in scores.items()
    }


def _top(scores: Tensor, count: int) -> Tensor:
    """1 at the `count` largest entries of a flat tensor, 0 elsewhere."""
    mask = torch.zeros_like(scores)
    mask[scores.topk(count, sorted=False).indices] = 1.0
    return mask

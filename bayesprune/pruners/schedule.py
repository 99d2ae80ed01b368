"""When how much is removed: how many of what is alive stay after each round of pruning."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil, log
from typing import Any

import torch
from torch import Tensor

from bayesprune.errors import SettingError, UnknownNameError
from bayesprune.run.settings import check_integer, check_number


@dataclass(frozen=True)
class Rounds:
    """How many stay after each round; the last round ends at the goal.

    Attributes:
        count: of rounds.
        kept: from (round from 1, alive now, total at the start, goal, the alive ones' scores) to how many stay; what
            lies outside of goal..alive is moved to the nearer of the two.
    """

    count: int
    kept: Callable[[int, int, int, int, Tensor], int]

    def after(self, number: int, alive: int, total: int, goal: int, scores: Tensor) -> int:
        """How many stay after round `number`, from 1."""
        if number >= self.count:
            return goal
        return max(goal, min(alive, self.kept(number, alive, total, goal, scores)))


Schedule = Callable[[int, int, Mapping[str, Any]], Rounds]
"""From total, goal and settings (`rounds`, `rate`) to the rounds."""


def one_shot(total: int, goal: int, settings: Mapping[str, Any]) -> Rounds:
    """All in one round."""
    return Rounds(1, lambda number, alive, total, goal, scores: goal)


def percentage(total: int, goal: int, settings: Mapping[str, Any]) -> Rounds:
    """In each round the same share `rate` of what is alive, 0.2 by default (Han et al., arXiv 1506.02626)."""
    rate = _rate(settings, 0.2)
    if rate >= 1:
        raise SettingError(f"rate must be < 1, the share of what is alive that a round removes, not {rate:g}")
    count = max(1, ceil(log(goal / total) / log(1 - rate) - 1e-9))
    return Rounds(count, lambda number, alive, total, goal, scores: round(alive * (1 - rate)))


def absolute(total: int, goal: int, settings: Mapping[str, Any]) -> Rounds:
    """In each round the same number `rate`, by default a tenth of all that is to go."""
    rate = _rate(settings, max(1.0, (total - goal) / 10))
    return Rounds(max(1, ceil((total - goal) / rate - 1e-9)), lambda number, alive, *_: round(alive - rate))


def bucket(total: int, goal: int, settings: Mapping[str, Any]) -> Rounds:
    """In each round the lowest scores whose sum stays below a share `rate` of all scores, 0.01 by default.

    Scores below zero add nothing. It has `rounds` rounds, 10 by default; the last removes all that is left to remove.
    """
    rate, count = _rate(settings, 0.01), _rounds(settings, 10)

    def kept(number: int, alive: int, total: int, goal: int, scores: Tensor) -> int:
        ascending = scores.double().clamp_min(0).sort().values
        within = ascending.cumsum(0) <= rate * ascending.sum()
        return alive - int(within.count_nonzero())

    return Rounds(count, kept)


def cubic(total: int, goal: int, settings: Mapping[str, Any]) -> Rounds:
    """Density g + (1 - g)(1 - r/R)^3 after round r of R = `rounds`, 10 by default (Zhu and Gupta, arXiv 1710.01878)."""
    count = _rounds(settings, 10)

    def kept(number: int, alive: int, total: int, goal: int, scores: Tensor) -> int:
        return round(goal + (total - goal) * (1 - number / count) ** 3)

    return Rounds(count, kept)


def exponential(total: int, goal: int, settings: Mapping[str, Any]) -> Rounds:
    """Density g^(r/R) after round r of R = `rounds`, 100 by default (SynFlow, arXiv 2006.05467)."""
    count = _rounds(settings, 100)

    def kept(number: int, alive: int, total: int, goal: int, scores: Tensor) -> int:
        return round(float(total * (goal / total) ** (number / count)))

    return Rounds(count, kept)


SCHEDULES: dict[str, Schedule] = {
    "one-shot": one_shot,
    "percentage": percentage,
    "absolute": absolute,
    "bucket": bucket,
    "cubic": cubic,
    "exponential": exponential,
}

USES: dict[str, frozenset[str]] = {
    "one-shot": frozenset(),
    "percentage": frozenset({"rate"}),
    "absolute": frozenset({"rate"}),
    "bucket": frozenset({"rate", "rounds"}),
    "cubic": frozenset({"rounds"}),
    "exponential": frozenset({"rounds"}),
}
"""Which settings each schedule has a use for."""


def rounds_of(schedule: str, total: int, goal: int, **settings: Any) -> Rounds:
    """The rounds of a schedule by name.

    Args:
        schedule: its name.
        total: weights (or channels) at the start.
        goal: of them that stay in the end.
        settings: `rounds` and `rate`, None for the schedule's default.

    Raises:
        UnknownNameError: there is no such schedule.
        SettingError: the rate is not above 0, or the rounds are no positive integer.
    """
    if schedule not in SCHEDULES:
        raise UnknownNameError("schedule", schedule, SCHEDULES)
    return SCHEDULES[schedule](total, goal, settings)


def scores_alive(scores: Mapping[str, Tensor]) -> Tensor:
    """The finite scores of all layers as one tensor: those of what is alive."""
    flat = torch.cat([score.flatten() for score in scores.values()])
    return flat[flat > float("-inf")]


def _rate(settings: Mapping[str, Any], usual: float) -> float:
    rate = settings.get("rate")
    check_number("rate", rate, 0.0)
    return usual if rate is None else float(rate)


def _rounds(settings: Mapping[str, Any], usual: int) -> int:
    rounds = settings.get("rounds")
    if rounds is None:
        return usual
    check_integer("rounds", rounds, 1)
    return int(rounds)

"""What a run's size asks for: of weights or channels, over the whole network or layer by layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor

import torch
from torch import Tensor

from bayesprune.budgets.change import change
from bayesprune.budgets.limits import Limits
from bayesprune.budgets.measured import measured_within
from bayesprune.budgets.measuring import whole_ms
from bayesprune.errors import BudgetError
from bayesprune.pruners.allocation import Allocation, Layers, allocation, cut, kept_count
from bayesprune.pruners.budgeted import checked_limits, open_within, removable
from bayesprune.pruners.by_layer import channel_goals, cut_each, on_the_way, weight_goals
from bayesprune.pruners.options import PruneOptions
from bayesprune.pruners.rounding import check_multiple, open_counts, rounded_counts
from bayesprune.pruners.schedule import Rounds, scores_alive
from bayesprune.run.budget import LATENCY, parse_budgets
from bayesprune.run.settings import RunSettings
from bayesprune.run.shares import is_table, shares_of
from bayesprune.training import TrainState

_TICKS = 10**6
"""Of a millisecond: rounds of pruning count in whole numbers."""


@dataclass(frozen=True)
class WeightGoal:
    """How many weights a run is to keep: of all together, or of every layer that has a share.

    Attributes:
        sizes: weights of every layer, by parameter name.
        goal: weights that stay in the end, of those layers that the size is about.
        goals: of each of them; None for one size over all.
        allocate: how one size is spread over the layers.
        least: weights that every layer keeps at least.
    """

    sizes: Mapping[str, int]
    goal: int
    goals: Mapping[str, int] | None
    allocate: Allocation
    least: int

    @classmethod
    def of(cls, settings: RunSettings, options: PruneOptions, sizes: Mapping[str, int]) -> "WeightGoal":
        """What a run's density asks for of layers with so many weights.

        Raises:
            BudgetError: a density keeps nothing.
            SettingError: an allocation is asked for beside a density for each layer.
        """
        allocate = allocation(options.allocation)
        if not is_table(settings.density):
            assert isinstance(settings.density, float)
            goal = kept_count(settings.density, sum(sizes.values()))
            return cls(sizes, goal, None, allocate, options.least)
        options.check_by_layer("density", settings.options)
        goals = weight_goals(sizes, shares_of("density", str(settings.density)))
        return cls(sizes, sum(goals.values()), goals, allocate, options.least)

    @property
    def total(self) -> int:
        """Weights at the start of those layers that the size is about."""
        return sum(self.sizes[name] for name in (self.sizes if self.goals is None else self.goals))

    def choose(self, rounds: Rounds, number: int, layers: Layers) -> dict[str, Tensor]:
        """The masks after a round, from 1.

        Raises:
            BudgetError: a layer would lose all its weights, or has fewer left than it is to keep.
        """
        named = layers.scores if self.goals is None else {name: layers.scores[name] for name in self.goals}
        scores = scores_alive(named)
        count = rounds.after(number, len(scores), self.total, self.goal, scores)
        if self.goals is None:
            return cut(self.allocate(layers), count, least=self.least)
        left = {name: int((score > float("-inf")).sum()) for name, score in named.items()}
        counts = on_the_way(self.sizes, self.goals, count)
        return cut_each(layers.scores, {n: max(self.goals[n], min(counts[n], left[n])) for n in self.goals})


@dataclass(frozen=True)
class CostGoal:
    """What the network may cost in the end.

    Attributes:
        limits: one or several.
        hardest: the place of the one that leaves the smallest share of its cost; rounds count in that.
        total: of it at the start.
        goal: of it in the end.
        round_to: every group keeps a multiple of so many channels.
    """

    limits: Limits
    hardest: int
    total: int
    goal: int
    round_to: int

    @classmethod
    def of(cls, limits: Limits, whole: Sequence[float], round_to: int) -> "CostGoal":
        """Of limits, and what the network costs at the start of each kind."""
        hardest = min(range(len(whole)), key=lambda place: limits.allowed[place] / whole[place])
        scale = _TICKS if limits.budgets[hardest].kind == LATENCY else 1
        total = round(scale * whole[hardest])
        return cls(limits, hardest, total, min(total, floor(scale * limits.allowed[hardest])), round_to)

    def choose(self, rounds: Rounds, number: int, state: TrainState, preferences: Tensor) -> Tensor:
        """The gates [J] that are open after a round, from 1; all but the last leave change for those that follow."""
        now = self.limits.costs(state, torch.ones(state.structure.gate_count)).tolist()[self.hardest]
        scale = _TICKS if self.limits.budgets[self.hardest].kind == LATENCY else 1
        left = rounds.after(number, round(scale * now), self.total, self.goal, torch.zeros(0))
        last = left <= self.goal
        limits = self.limits if last else self._between((self.total - left) / (self.total - self.goal), state)
        gates = measured_within(state, limits, lambda: open_within(state, preferences, limits, self.round_to))
        return gates if last or self.round_to > 1 else gates | change(state, self.limits, gates, preferences)

    def _between(self, done: float, state: TrainState) -> Limits:
        """Limits on the way from the whole cost (done = 0) to the goal (done = 1), in equal steps."""
        pairs = zip(self.limits.whole(state), self.limits.numbers(state), strict=True)
        numbers = tuple(whole + done * (min(number, whole) - whole) for whole, number in pairs)
        return Limits(self.limits.budgets, numbers).fixed()


@dataclass(frozen=True)
class CountGoal:
    """How many channels the named groups keep in the end.

    Attributes:
        sizes: of the groups at the start.
        goals: of those that have a share.
        round_to: every group keeps a multiple of so many channels.
    """

    sizes: Mapping[str, int]
    goals: Mapping[str, int]
    round_to: int

    @property
    def total(self) -> int:
        """Channels of the named groups at the start."""
        return sum(self.sizes[name] for name in self.goals)

    @property
    def goal(self) -> int:
        """Those that they keep."""
        return sum(self.goals.values())

    def choose(self, rounds: Rounds, number: int, state: TrainState, preferences: Tensor) -> Tensor:
        """The gates [J] that are open after a round, from 1."""
        structure = state.structure
        alive = sum(len(group.kept) for group in structure.groups if group.name in self.goals)
        left = rounds.after(number, alive, self.total, self.goal, torch.zeros(0))
        counts = rounded_counts(on_the_way(self.sizes, self.goals, left), self.sizes, self.round_to)
        every = torch.ones(structure.gate_count, dtype=torch.bool)
        return open_counts(structure, every, removable(structure, preferences), counts)


def _check_rounded(goals: Mapping[str, int], sizes: Mapping[str, int], round_to: int) -> None:
    """Refuse a share below one multiple.

    Raises:
        BudgetError: names the group and the least share.
    """
    for name, least in rounded_counts(goals, sizes, round_to).items():
        if least > goals[name]:
            raise BudgetError(
                f"the budget leaves {goals[name]} of {sizes[name]} channels of {name!r}, and round_to={round_to} keeps "
                f"{least} at least: give {name}={100 * least / sizes[name]:.3g}% or more, or leave round_to out"
            )


def unit_goal(settings: RunSettings, options: PruneOptions, state: TrainState) -> CostGoal | CountGoal:
    """What a run's budget asks for.

    Raises:
        BudgetError: no network of this kind meets it.
        SettingError: an allocation is asked for beside a share for each layer, or a multiple beyond all groups.
    """
    assert settings.budget is not None
    check_multiple(state.structure, options.round_to)
    if is_table(settings.budget):
        options.check_by_layer("budget", settings.options)
        goals = channel_goals(state.structure, shares_of("budget", settings.budget))
        sizes = {group.name: len(group.kept) for group in state.structure.groups}
        _check_rounded(goals, sizes, options.round_to)
        return CountGoal(sizes, goals, options.round_to)
    limits = checked_limits(state, parse_budgets(settings.budget), options.round_to)
    whole = torch.ones(state.structure.gate_count)
    latency = whole_ms(state, whole.bool()) if limits.has_latency else 0.0
    costs = [one.spent(state.initial_macs, state.initial_params, latency) for one in limits.budgets]
    return CostGoal.of(limits, costs, options.round_to)

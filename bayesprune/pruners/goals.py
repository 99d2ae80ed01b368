"""What a run's size asks for: of weights or channels, over the whole network or layer by layer."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import floor

import torch
from torch import Tensor

from bayesprune.errors import BudgetError
from bayesprune.pruners.allocation import Allocation, Layers, allocation, cut, kept_count
from bayesprune.pruners.budgeted import checked_limit, open_within, removable
from bayesprune.pruners.by_layer import channel_goals, cut_each, on_the_way, weight_goals
from bayesprune.pruners.options import PruneOptions
from bayesprune.pruners.rounding import check_multiple, open_counts, rounded_counts
from bayesprune.pruners.schedule import Rounds, scores_alive
from bayesprune.run.budget import Budget
from bayesprune.run.settings import RunSettings
from bayesprune.run.shares import is_table, shares_of
from bayesprune.training import TrainState


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
    def of(cls, settings: RunSettings, options: PruneOptions, weights: Mapping[str, Tensor]) -> "WeightGoal":
        """What a run's density asks for.

        Raises:
            BudgetError: a density keeps nothing.
            SettingError: an allocation is asked for beside a density for each layer.
        """
        sizes, allocate = {name: weight.numel() for name, weight in weights.items()}, allocation(options.allocation)
        if not is_table(settings.density):
            assert isinstance(settings.density, float)
            goal = kept_count(settings.density, sum(sizes.values()))
            return cls(sizes, goal, None, allocate, options.least)
        options.check_by_layer("density", settings.options)
        goals = weight_goals(weights, shares_of("density", str(settings.density)))
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
        kind: "macs" or "params".
        total: at the start.
        goal: in the end.
        round_to: every group keeps a multiple of so many channels.
    """

    kind: str
    total: int
    goal: int
    round_to: int

    def choose(self, rounds: Rounds, number: int, state: TrainState, preferences: Tensor) -> Tensor:
        """The gates [J] that are open after a round, from 1."""
        whole = Budget(self.kind, 1.0, relative=True)
        alive = round(whole.spent(state.network_macs(), state.params()))
        allowed = rounds.after(number, alive, self.total, self.goal, torch.zeros(0))
        return open_within(state, preferences, Budget(self.kind, float(allowed), relative=False), self.round_to)


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
    budget = Budget.parse(settings.budget)
    open_within(state, torch.ones(state.structure.gate_count), budget, options.round_to)
    total = round(budget.spent(state.initial_macs, state.initial_params))
    goal = min(total, floor(checked_limit(state, budget)))
    return CostGoal(budget.kind, total, goal, options.round_to)

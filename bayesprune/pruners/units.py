"""Methods that remove whole channels: score x allocation x schedule, within a budget; the network gets smaller."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import floor
from typing import Any

import torch
from torch import Tensor

from bayesprune.data import Data
from bayesprune.errors import SettingError
from bayesprune.pruners.allocation import Allocation, Layers, allocation, raised
from bayesprune.pruners.budgeted import open_within, removable
from bayesprune.pruners.by_layer import channel_goals, on_the_way
from bayesprune.pruners.options import PruneOptions
from bayesprune.pruners.problem import Problem, UnitScore, check_finite
from bayesprune.pruners.rounding import open_counts, rounded_counts
from bayesprune.pruners.schedule import Rounds
from bayesprune.pruners.trainings import stages_of
from bayesprune.run.budget import Budget
from bayesprune.run.method import Plan
from bayesprune.run.settings import RunSettings
from bayesprune.run.shares import is_table, shares_of
from bayesprune.structure import Structure
from bayesprune.training import Objective, TrainState

_FOR_WEIGHTS_ONLY = {"allocation": ("erdos-renyi", "erdos-renyi-kernel"), "schedule": ("bucket",)}


@dataclass(frozen=True)
class UnitPruner:
    """Remove the channels with the lowest scores until the network costs no more than the budget.

    Attributes:
        name: in the table of methods.
        summary: one line.
        score: of the channels.
        usual: the method's own defaults of its options.
        at_start: prune before any training.
        options: the method's settings.
        objective: of the training before pruning, from the options and the noise; None for the usual one.
    """

    name: str
    summary: str
    score: UnitScore
    usual: Mapping[str, Any] = field(default_factory=dict)
    at_start: bool = False
    options: type[PruneOptions] = PruneOptions
    objective: Callable[[Any, float], Objective] | None = None
    takes = frozenset({"budget", "shares"})
    needs = frozenset({"budget"})

    def plan(self, state: TrainState, data: Data, settings: RunSettings) -> Plan:
        """Training, rounds of pruning, training of the smaller network.

        Raises:
            BudgetError: no network of this kind meets the budget.
            NetworkError: the network's channels cannot be removed.
            SettingError: an option is not allowed, or the rounds need more epochs.
        """
        options = self.options.of(self.name, {**self.usual, **settings.options})
        for axis, names in _FOR_WEIGHTS_ONLY.items():
            if (chosen := getattr(options, axis)) in names:
                raise SettingError(
                    f"{axis} {chosen!r} is for single weights, {self.name} removes channels: choose another"
                )
        state.need_structure()
        size = _unit_goal(settings, options, state)
        rounds = options.rounds_between(size.total, size.goal)
        prunes = [
            partial(self._prune, data=data, options=options, choose=partial(size.choose, rounds, number))
            for number in range(1, rounds.count + 1)
        ]
        stages = stages_of(settings, options, state, data)
        objective = None if self.objective is None else self.objective(options, stages.fixed(stages.epochs).noise)
        return Plan(stages.around(prunes, at_start=self.at_start, objective=objective), stages.describe())

    def _prune(
        self, state: TrainState, *, data: Data, options: PruneOptions, choose: Callable[[TrainState, Tensor], Tensor]
    ) -> None:
        """One round."""
        scores = self.score(Problem.of(state, data))
        preferences = unit_preferences(state.structure, scores, allocation(options.allocation), least=options.least)
        state.shrink(choose(state, preferences))


def unit_preferences(structure: Structure, scores: Tensor, allocate: Allocation, *, least: int = 0) -> Tensor:
    """Scores [J] made comparable over groups by an allocation; inf at the `least` best of every group.

    Raises:
        NetworkError: scores that are not finite, named by group.
    """
    groups = {name: scores[place] for name, place in structure.slices().items() if place.stop > place.start}
    check_finite("scores", groups)
    preferences = allocate(Layers(groups, groups))
    return torch.cat([raised(preferences[name], least) for name in groups]) if groups else scores


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


def _unit_goal(settings: RunSettings, options: PruneOptions, state: TrainState) -> CostGoal | CountGoal:
    """What a run's budget asks for.

    Raises:
        BudgetError: no network of this kind meets it.
        SettingError: an allocation is asked for beside a share for each layer.
    """
    assert settings.budget is not None
    if is_table(settings.budget):
        options.check_by_layer("budget", settings.options)
        goals = channel_goals(state.structure, shares_of("budget", settings.budget))
        return CountGoal({group.name: group.size for group in state.structure.groups}, goals, options.round_to)
    budget = Budget.parse(settings.budget)
    open_within(state, torch.ones(state.structure.gate_count), budget, options.round_to)
    total = round(budget.spent(state.initial_macs, state.initial_params))
    goal = min(total, floor(budget.limit(state.initial_macs, state.initial_params)))
    return CostGoal(budget.kind, total, goal, options.round_to)

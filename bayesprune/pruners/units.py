"""Methods that remove whole channels: score x allocation x schedule, within a budget; the network gets smaller."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bayesprune.budgets.measured import missed_latency
from bayesprune.budgets.predicted import table_of
from bayesprune.data import Data
from bayesprune.errors import SettingError
from bayesprune.pruners.allocation import Allocation, Layers, allocation, raised
from bayesprune.pruners.goals import CostGoal, unit_goal
from bayesprune.pruners.options import PruneOptions
from bayesprune.pruners.problem import Problem, UnitScore, check_finite
from bayesprune.pruners.reading import normal_of, options_of
from bayesprune.pruners.trainings import stages_of
from bayesprune.run.method import Plan
from bayesprune.run.settings import RunSettings
from bayesprune.structure import Structure
from bayesprune.training import Objective, Start, TrainState

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

    def normal(self, settings: RunSettings) -> RunSettings:
        """See `Method.normal`."""
        return normal_of(self.options, settings, self.usual, at_start=self.at_start)

    def plan(self, state: TrainState, data: Data, settings: RunSettings) -> Plan:
        """Training, rounds of pruning, training of the smaller network.

        Raises:
            BudgetError: no network of this kind meets the budget.
            NetworkError: the network's channels cannot be removed.
            SettingError: an option is not allowed, or the rounds need more epochs.
        """
        options = options_of(self.options, settings, self.usual, at_start=self.at_start)
        for axis, names in _FOR_WEIGHTS_ONLY.items():
            if (chosen := getattr(options, axis)) in names:
                raise SettingError(
                    f"{axis} {chosen!r} is for single weights, {self.name} removes channels: choose another"
                )
        if not state.need_structure().gate_count:
            raise SettingError(state.structure.why_no_groups())
        size = unit_goal(settings, options, state)
        rounds = options.rounds_between(size.total, size.goal)
        prunes = [
            partial(self._prune, data=data, options=options, choose=partial(size.choose, rounds, number))
            for number in range(1, rounds.count + 1)
        ]
        stages = stages_of(settings, options, state, data)
        objective = None if self.objective is None else self.objective(options, stages.fixed(stages.epochs).noise)
        phases = stages.around(prunes, at_start=self.at_start, objective=objective)
        limits = size.limits if isinstance(size, CostGoal) else None
        if limits is not None and limits.has_latency:
            phases = [replace(phases[0], start=partial(_timed_first, phases[0].start)), *phases[1:]]
        review = partial(missed_latency, limits=limits)
        return Plan(phases, stages.describe(), dense=stages.dense_objective(), review=review)

    def _prune(
        self, state: TrainState, *, data: Data, options: PruneOptions, choose: Callable[[TrainState, Tensor], Tensor]
    ) -> None:
        """One round."""
        scores = self.score(Problem.of(state, data)).cpu()
        preferences = unit_preferences(state.structure, scores, allocation(options.allocation), least=options.least)
        state.shrink(choose(state, preferences))


def _timed_first(start: Start | None, state: TrainState) -> None:
    """Fill the run's latency table, then do what a phase starts with."""
    table_of(state)
    if start is not None:
        start(state)


def unit_preferences(structure: Structure, scores: Tensor, allocate: Allocation, *, least: int = 0) -> Tensor:
    """Scores [J] made comparable over groups by an allocation; inf at the `least` best of every group.

    Raises:
        NetworkError: scores that are not finite, named by group.
    """
    groups = {name: scores[place] for name, place in structure.slices().items() if place.stop > place.start}
    check_finite("scores", groups)
    preferences = allocate(Layers(groups, groups))
    return torch.cat([raised(preferences[name], least) for name in groups]) if groups else scores

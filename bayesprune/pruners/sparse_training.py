"""Methods that train a sparse network from the start and move its weights about: SET and RigL."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor

from bayesprune.data import Data
from bayesprune.errors import SettingError
from bayesprune.pruners.dynamic import RigL, SparseEvolution
from bayesprune.pruners.goals import WeightGoal
from bayesprune.pruners.options import PruneOptions
from bayesprune.pruners.problem import Problem
from bayesprune.pruners.reading import normal_of, options_of
from bayesprune.pruners.scores import random_scores
from bayesprune.pruners.stages import Stages
from bayesprune.pruners.weights import mask_weights
from bayesprune.run.method import Plan
from bayesprune.run.settings import RunSettings, check_integer, check_number
from bayesprune.training import TrainState
from bayesprune.training.phase import Update


@dataclass(frozen=True)
class SparseOptions(PruneOptions):
    """Settings of dynamic sparse training.

    Attributes:
        every: steps from one change of the masks to the next; None for an epoch (SET) or 100 (RigL).
        fraction: share of a layer's weights that a change replaces (RigL: the first change).
        until_share: share of the steps after which the masks stay.
    """

    every: int | None = None
    fraction: float = 0.3
    until_share: float = 0.75

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("every", 1 if self.every is None else self.every, 1)
        check_number("fraction", self.fraction, 0.0, 1.0)
        check_number("until_share", self.until_share, 0.0, 1.0)
        self.check_no_rounding()
        usual = PruneOptions()
        for name in ("schedule", "rounds", "rate", "retrain", "until_validation"):
            if getattr(self, name) != getattr(usual, name):
                raise SettingError(
                    f"dynamic sparse training has its density from the start: it takes no schedule, so leave out {name}"
                )
        if self.training != "recipe":
            raise SettingError(
                f"dynamic sparse training is one phase of the recipe's: leave out training={self.training!r}"
            )


MakeUpdate = Callable[[SparseOptions, int, int, Mapping[str, Tensor]], Update]
"""From options, steps of training, steps of an epoch and the masks of an earlier pruning to what moves the masks."""


@dataclass(frozen=True)
class SparseTrainer:
    """Random weights at the start, as many in every layer until the end, moved about while the network learns.

    Attributes:
        name: in the table of methods.
        summary: one line.
        make: what moves the masks.
        usual: the method's own defaults of `SparseOptions`.
    """

    name: str
    summary: str
    make: MakeUpdate
    usual: Mapping[str, Any] = field(default_factory=dict)
    options = SparseOptions
    takes = frozenset({"density", "shares"})
    needs = frozenset({"density"})

    def normal(self, settings: RunSettings) -> RunSettings:
        """See `Method.normal`."""
        return normal_of(self.options, settings, self.usual, at_start=True)

    def plan(self, state: TrainState, data: Data, settings: RunSettings) -> Plan:
        """One phase.

        Raises:
            BudgetError: no network of this kind has the density.
            SettingError: an option is not allowed.
        """
        options = options_of(SparseOptions, settings, self.usual, at_start=True)
        assert settings.density is not None
        size = WeightGoal.of(settings, options, Problem.of(state, data).sizes())
        rounds = options.rounds_between(size.total, size.goal)
        start = partial(mask_weights, data=data, score=random_scores, choose=partial(size.choose, rounds, 1))
        stages = Stages(settings, options, state, data)
        training = stages.fixed(stages.epochs)
        epoch_steps = max(1, training.steps // max(stages.epochs, 1))
        update = self.make(options, training.steps, epoch_steps, dict(state.masks))
        return Plan((training.phase(start, updates=[update]),))


def sparse_evolution(options: SparseOptions, steps: int, epoch_steps: int, within: Mapping[str, Tensor]) -> Update:
    """SET's changes, after every epoch."""
    return SparseEvolution(options.every or epoch_steps, options.fraction, _until(options, steps), within)


def rigl(options: SparseOptions, steps: int, epoch_steps: int, within: Mapping[str, Tensor]) -> Update:
    """RigL's changes, every 100 steps."""
    return RigL(_until(options, steps), options.every or 100, options.fraction, within)


def _until(options: SparseOptions, steps: int) -> int:
    return max(1, round(options.until_share * steps))

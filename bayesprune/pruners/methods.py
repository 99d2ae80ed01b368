"""Deterministic methods that are more than a score: plain training, and one for weights or channels."""

from dataclasses import dataclass
from typing import Self

from bayesprune.data import Data
from bayesprune.errors import SettingError
from bayesprune.pruners.options import TrainOptions
from bayesprune.pruners.problem import UnitScore, WeightScore
from bayesprune.pruners.reading import normal_of, options_of
from bayesprune.pruners.trainings import stages_of
from bayesprune.pruners.units import UnitPruner
from bayesprune.pruners.weights import WeightPruner
from bayesprune.run.method import Method, Plan
from bayesprune.run.settings import RunSettings
from bayesprune.training import TrainState


class Dense:
    """Plain training of the whole network."""

    name, summary = "dense", "plain training, nothing is removed"
    takes: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()
    options = TrainOptions

    def normal(self, settings: RunSettings) -> RunSettings:
        """See `Method.normal`."""
        return normal_of(self.options, settings, at_start=True, dense=True)

    def plan(self, state: TrainState, data: Data, settings: RunSettings) -> Plan:
        """One phase."""
        stages = stages_of(settings, options_of(TrainOptions, settings, at_start=True), state, data)
        return Plan(stages.dense(), stages.describe(), dense=stages.dense_objective())


@dataclass(frozen=True)
class EitherPruner:
    """Single weights where a density is given, channels where a budget is.

    Attributes:
        weights, units: the two methods, of one name.
    """

    weights: WeightPruner
    units: UnitPruner
    takes = frozenset({"density", "budget", "shares"})
    needs = frozenset({"density", "budget"})

    @classmethod
    def of(cls, name: str, summary: str, weights: WeightScore, units: UnitScore, *, at_start: bool = False) -> Self:
        """A method with a score of weights and one of channels."""
        return cls(
            WeightPruner(name, summary, weights, at_start=at_start), UnitPruner(name, summary, units, at_start=at_start)
        )

    @property
    def name(self) -> str:
        """In the table of methods."""
        return self.units.name

    @property
    def summary(self) -> str:
        """One line."""
        return self.units.summary

    @property
    def options(self) -> type[TrainOptions]:
        """Those of single weights, which have those of channels among them."""
        return self.weights.options

    def normal(self, settings: RunSettings) -> RunSettings:
        """See `Method.normal`."""
        return self._chosen(settings).normal(settings)

    def plan(self, state: TrainState, data: Data, settings: RunSettings) -> Plan:
        """That of the one or the other.

        Raises:
            SettingError: both sizes are given.
        """
        return self._chosen(settings).plan(state, data, settings)

    def _chosen(self, settings: RunSettings) -> Method:
        if settings.density is not None and settings.budget is not None:
            raise SettingError(f"{self.name} takes density=... or budget=..., not both")
        return self.weights if settings.budget is None else self.units

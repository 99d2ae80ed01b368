"""The deterministic methods of the table: they share loop, data and evaluation with the Bayesian ones."""

from typing import Any

from bayesprune.data import Data
from bayesprune.errors import SettingError
from bayesprune.method import Method, Plan
from bayesprune.pruners.options import TrainOptions
from bayesprune.pruners.scores import l1_norms, magnitude, random_scores, random_units
from bayesprune.pruners.stages import Stages
from bayesprune.pruners.units import UnitPruner
from bayesprune.pruners.weights import WeightPruner
from bayesprune.settings import RunSettings
from bayesprune.training import TrainState

UNIFORM: dict[str, Any] = {"allocation": "class-uniform"}
"""The same share of every layer. For norms of channels one threshold over all layers was tried as well: it empties
narrow layers first and is far worse on LeNet-300-100 (validation accuracy 72 % against 93 % at 8,000
multiply-accumulates on mnist5k)."""


class Dense:
    """Plain training of the whole network."""

    name, summary = "dense", "plain training, nothing is removed"
    takes: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()

    def plan(self, state: TrainState, data: Data, settings: RunSettings) -> Plan:
        """One phase."""
        return Plan(Stages(settings, TrainOptions.of(self.name, settings.options), state, data).dense())


class RandomPruner:
    """Random weights (with a density) or channels (with a budget) at the start: the floor of comparisons."""

    name, summary = "random", "random weights (density) or channels (budget), removed before training"
    takes = frozenset({"density", "budget"})
    needs = takes

    def plan(self, state: TrainState, data: Data, settings: RunSettings) -> Plan:
        """Prune, then train."""
        if settings.density is not None and settings.budget is not None:
            raise SettingError("random takes density=... or budget=..., not both")
        pruner: Method = WeightPruner(self.name, self.summary, random_scores, at_start=True)
        if settings.budget is not None:
            pruner = UnitPruner(self.name, self.summary, random_units, at_start=True)
        return pruner.plan(state, data, settings)


def baselines() -> list[Method]:
    """The deterministic methods of the table."""
    return [
        Dense(),
        RandomPruner(),
        WeightPruner("magnitude", "largest weights, one threshold over all layers", magnitude),
        WeightPruner("class-uniform", "largest weights, the same density in each layer", magnitude, UNIFORM),
        WeightPruner(
            "class-distributed",
            "largest weights relative to their layer's deviation",
            magnitude,
            {"allocation": "class-distributed"},
        ),
        UnitPruner("l1-units", "channels with the largest L1 norm", l1_norms, UNIFORM),
    ]

"""The deterministic methods of the table: they share loop, data and evaluation with the Bayesian ones."""

from dataclasses import dataclass
from typing import Any

from bayesprune.data import Data
from bayesprune.errors import SettingError
from bayesprune.pruners.channels import batchnorm_scale, geometric_median, taylor_units
from bayesprune.pruners.options import DamageOptions, SlimmingOptions, TrainOptions
from bayesprune.pruners.problem import UnitScore, WeightScore
from bayesprune.pruners.saliency import grasp, logit_snip, obd, snip, synflow, taylor
from bayesprune.pruners.scores import l1_norms, magnitude, random_scores, random_units
from bayesprune.pruners.slimming import ScaleSparsity
from bayesprune.pruners.sparse_training import SparseTrainer, rigl, sparse_evolution
from bayesprune.pruners.surgeon import correct, layer_obs
from bayesprune.pruners.trainings import stages_of
from bayesprune.pruners.units import UnitPruner
from bayesprune.pruners.weights import WeightPruner
from bayesprune.run.method import Method, Plan
from bayesprune.run.settings import RunSettings
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
        stages = stages_of(settings, TrainOptions.of(self.name, settings.options), state, data)
        return Plan(stages.dense(), stages.describe())


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

    @property
    def name(self) -> str:
        """In the table of methods."""
        return self.units.name

    @property
    def summary(self) -> str:
        """One line."""
        return self.units.summary

    def plan(self, state: TrainState, data: Data, settings: RunSettings) -> Plan:
        """That of the one or the other.

        Raises:
            SettingError: both sizes are given.
        """
        if settings.density is not None and settings.budget is not None:
            raise SettingError(f"{self.name} takes density=... or budget=..., not both")
        pruner: Method = self.weights if settings.budget is None else self.units
        return pruner.plan(state, data, settings)


def _either(name: str, summary: str, weights: WeightScore, units: UnitScore, *, at_start: bool = False) -> EitherPruner:
    """A method with a score of weights and one of channels."""
    return EitherPruner(
        WeightPruner(name, summary, weights, at_start=at_start), UnitPruner(name, summary, units, at_start=at_start)
    )


def baselines() -> list[Method]:
    """The deterministic methods of the table."""
    return [
        Dense(),
        _either(
            "random",
            "random weights (density) or channels (budget), removed before training: the floor of comparisons",
            random_scores,
            random_units,
            at_start=True,
        ),
        WeightPruner("magnitude", "largest weights, one threshold over all layers", magnitude),
        WeightPruner("class-uniform", "largest weights, the same density in each layer", magnitude, UNIFORM),
        WeightPruner(
            "class-distributed",
            "largest weights relative to their layer's deviation",
            magnitude,
            {"allocation": "class-distributed"},
        ),
        WeightPruner("obd", "optimal brain damage: least loss by the Hessian's diagonal", obd, options=DamageOptions),
        WeightPruner(
            "layer-obs",
            "layer-wise optimal brain surgeon: least change of each layer's output, survivors make up for it",
            layer_obs,
            UNIFORM,
            correct=correct,
        ),
        WeightPruner("snip", "before training: largest |w dL/dw| of one batch", snip, at_start=True),
        WeightPruner("logit-snip", "SNIP without labels, on the squared outputs", logit_snip, at_start=True),
        WeightPruner("grasp", "before training: what the gradient flow needs most", grasp, at_start=True),
        WeightPruner(
            "synflow",
            "before training and without data: synaptic flow, in 100 rounds",
            synflow,
            {"schedule": "exponential", "rounds": 100, "retrain": 0},
            at_start=True,
        ),
        _either(
            "taylor", "weights or channels whose removal changes the loss most, to first order", taylor, taylor_units
        ),
        UnitPruner(
            "slimming",
            "channels with the largest scales of batch normalisation, trained to be sparse",
            batchnorm_scale,
            options=SlimmingOptions,
            objective=lambda options, noise: ScaleSparsity(options.sparsity, noise),
        ),
        UnitPruner("l1-units", "channels with the largest L1 norm", l1_norms, UNIFORM),
        UnitPruner("geometric-median", "channels farthest from all others of their layer", geometric_median, UNIFORM),
        WeightPruner(
            "lottery",
            "lottery tickets: rounds of training, the largest weights start again from where they began",
            magnitude,
            {"schedule": "percentage", "rate": 0.2, "rewind": 0},
        ),
        SparseTrainer(
            "set",
            "sparse from the start: the smallest weights move to random places",
            sparse_evolution,
            {"allocation": "erdos-renyi"},
        ),
        SparseTrainer(
            "rigl",
            "sparse from the start: the smallest weights move to where the gradient is largest",
            rigl,
            {"allocation": "erdos-renyi-kernel"},
        ),
    ]

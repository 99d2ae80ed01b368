"""The deterministic methods of the table: they share loop, data and evaluation with the Bayesian ones."""

from typing import Any

from bayesprune.data import Data
from bayesprune.errors import SettingError
from bayesprune.method import Method, Plan
from bayesprune.pruners.channels import batchnorm_scale, geometric_median, taylor_units
from bayesprune.pruners.options import SlimmingOptions, TrainOptions
from bayesprune.pruners.saliency import grasp, logit_snip, obd, snip, synflow
from bayesprune.pruners.scores import l1_norms, magnitude, random_scores, random_units
from bayesprune.pruners.slimming import ScaleSparsity
from bayesprune.pruners.sparse_training import SparseTrainer, rigl, sparse_evolution
from bayesprune.pruners.stages import Stages
from bayesprune.pruners.surgeon import correct, layer_obs
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
        WeightPruner("obd", "optimal brain damage: least loss by the Hessian's exact diagonal", obd),
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
        UnitPruner("taylor", "channels whose gates change the loss most, to first order", taylor_units),
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

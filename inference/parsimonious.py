"""Learning and pruning at once with Bernoulli gates under the flattening hyper-prior.

The method of *Robust Learning of Parsimonious Deep Neural Networks* (arXiv 2205.04650) as far as its abstract tells
it; objective, step and schedule are the measured recipe.
"""

from collections.abc import Callable

import torch
from torch.optim import Optimizer

from bayesprune.budget import Budget
from bayesprune.data import Data, steps_per_epoch
from bayesprune.errors import SettingError
from bayesprune.inference.budgeting import BudgetControl, checked_limit, meet_budget
from bayesprune.inference.estimators import estimator
from bayesprune.inference.guides import GateGuide
from bayesprune.inference.objective import GATES, GUIDE, GatedObjective, guide_of
from bayesprune.inference.options import ParsimoniousOptions, Recipe
from bayesprune.inference.pricing import make_price
from bayesprune.inference.projected import ProjectedGateDescent
from bayesprune.inference.updates import Settle, Shrink, decide, describe, posterior
from bayesprune.method import Plan
from bayesprune.models.gated import GatedModel
from bayesprune.models.priors.gates import FlatteningGatePrior
from bayesprune.models.priors.weights import GaussianSlab
from bayesprune.settings import RunSettings
from bayesprune.training import CrossEntropy, Phase, TrainState, adam, constant, cosine
from bayesprune.training.phase import Update

SAFE_SMOOTHING = 0.998
"""Of the slow average that the safe removal rule looks at."""


class Parsimonious:
    """The central method: Bernoulli gates, flattening hyper-prior, shrinking, then training at fixed structure."""

    name = "parsimonious"
    summary = "Bernoulli gates under the flattening hyper-prior, learnt with the weights"
    takes = frozenset({"price", "budget", "estimator"})
    needs: frozenset[str] = frozenset()

    def plan(self, state: TrainState, data: Data, settings: RunSettings) -> Plan:
        """Pruning phase and phase at fixed structure."""
        options = ParsimoniousOptions.of(settings.options)
        if state.structure.gate_count == 0:
            raise SettingError("the network has no groups to prune: `keep` or its layers exclude all of them")
        recipe = Recipe(state.network, steps_per_epoch(data.train, settings.batch_size), settings, options)
        price, slab = make_price(state, settings, options, len(data.train)), GaussianSlab(options.slab)
        state.modules[GUIDE] = _guide(state, options.start)
        updates: list[Update] = [Settle(recipe.horizon)]
        begin_fixed: Callable[[TrainState], None] = decide
        if settings.budget is not None:
            limit = checked_limit(Budget.parse(settings.budget), state)
            price = control = BudgetControl(price, limit, recipe.settle, state)
            updates.append(control.update)
            begin_fixed = meet_budget(limit)
        updates.append(Shrink(options.shrink_every, options.safe))
        objective = GatedObjective(
            price, estimator(settings.estimator), len(data.train), ramp=recipe.ramp, weight_prior=slab
        )
        slow = SAFE_SMOOTHING if options.safe else None

        def gate_optimizers(state: TrainState) -> dict[str, Optimizer]:
            theta = guide_of(state).theta
            return {GATES: ProjectedGateDescent([theta], recipe.horizon(state.phase_step), slow_smoothing=slow)}

        pruning = Phase(
            "prune", recipe.prune_steps, objective, adam(recipe.learning_rate), constant,
            extra_optimizers=gate_optimizers, updates=updates,
        )  # fmt: skip
        decay = 1 / (len(data.train) * options.slab**2)
        fixed = Phase(
            "fixed", recipe.fixed_steps, CrossEntropy(recipe.noise),
            adam(recipe.fixed_learning_rate, decay), cosine, start=begin_fixed,
        )  # fmt: skip
        return Plan((pruning, fixed), describe, posterior)


def _guide(state: TrainState, start: float) -> GateGuide:
    """A guide over all gates; the objective binds it to the model it makes."""
    prior = FlatteningGatePrior(torch.ones(state.structure.gate_count))
    model = GatedModel(state.network, state.structure, prior, size=1)
    guide = GateGuide(model, start)
    model.close()
    return guide

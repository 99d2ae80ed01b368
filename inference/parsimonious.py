"""Learning and pruning at once with Bernoulli gates under the flattening hyper-prior.

The method of *Robust Learning of Parsimonious Deep Neural Networks* (arXiv 2205.04650) as far as its abstract tells
it; objective, step and schedule are the measured recipe.
"""

from dataclasses import replace
from functools import partial
from math import log

import torch
from torch.optim import Optimizer

from bayesprune.data import Data
from bayesprune.errors import SettingError
from bayesprune.inference.budgeting import BudgetControl, checked_limit
from bayesprune.inference.deciding import Decide
from bayesprune.inference.estimators import GateEstimator, SampledLabelCurvature, estimator
from bayesprune.inference.estimators.flips import SalientFlips
from bayesprune.inference.estimators.linearised import LinearisedFlips
from bayesprune.inference.guides import GateGuide
from bayesprune.inference.noise import NOISE, LearntNoise, NoiseScale, hold, noise_optimizers
from bayesprune.inference.objective import GATES, GUIDE, GatedObjective, guide_of
from bayesprune.inference.options import LEARNING_RATE, ParsimoniousOptions, Recipe
from bayesprune.inference.pricing import make_price
from bayesprune.inference.projected import ProjectedGateDescent
from bayesprune.inference.removal import removal_rule
from bayesprune.inference.review import Review, few_steps
from bayesprune.inference.updates import Settle, Shrink, describe, hold_last, posterior
from bayesprune.inference.visited import Sample
from bayesprune.inference.watch import Watch
from bayesprune.models.gated import GatedModel
from bayesprune.models.prices import CostPrice
from bayesprune.models.priors.gates import FlatteningGatePrior
from bayesprune.models.priors.weights import GaussianSlab
from bayesprune.pruners.rounding import check_multiple
from bayesprune.run.budget import Budget
from bayesprune.run.method import Plan
from bayesprune.run.normal import without_usual_options
from bayesprune.run.settings import RunSettings
from bayesprune.tasks.likelihood import Categorical
from bayesprune.training import Phase, Start, TrainState, adam, constant
from bayesprune.training.fixed import FixedTraining
from bayesprune.training.phase import Update

MOST_WATCHED, LEAST_WATCHED, MOST_EXAMPLES = 1_000, 100, 2_000
"""Training examples on which the objective is watched, and on which gates are decided at most."""


class Parsimonious:
    """The central method: Bernoulli gates, flattening hyper-prior, shrinking, then training at fixed structure."""

    name = "parsimonious"
    summary = "Bernoulli gates under the flattening hyper-prior, learnt with the weights"
    takes = frozenset({"price", "budget", "estimator"})
    needs: frozenset[str] = frozenset()
    options = ParsimoniousOptions

    def normal(self, settings: RunSettings) -> RunSettings:
        """See `Method.normal`; gamma is written as the price ln gamma."""
        own = ParsimoniousOptions.of(settings.options)
        if own.gamma is not None and settings.price is None:
            rest = {name: value for name, value in settings.options.items() if name != "gamma"}
            settings = replace(settings, price=log(own.gamma), options=rest)
        if settings.learning_rate == LEARNING_RATE:
            settings = replace(settings, learning_rate=None)
        return without_usual_options(settings, own, ParsimoniousOptions())

    def plan(self, state: TrainState, data: Data, settings: RunSettings) -> Plan:
        """Pruning phase and phase at fixed structure."""
        options = ParsimoniousOptions.of(settings.options)
        if state.need_structure().gate_count == 0:
            raise SettingError("the network has no groups to prune: `keep` or its layers exclude all of them")
        recipe = Recipe(state.network, data.train, settings, options, state.likelihood)
        price = make_price(state, settings, options, len(data.train), recipe.prune_steps)
        slab = GaussianSlab(options.slab)
        check_multiple(state.structure, options.round_to)
        options.check_used(settings, by_cost=isinstance(price, CostPrice))
        state.modules[GUIDE] = _guide(state, recipe.start)
        updates: list[Update] = [Settle(recipe.horizon), hold_last]
        budget = None if settings.budget is None else Budget.parse(settings.budget)
        limit = None if budget is None else checked_limit(budget, state, options.round_to)
        follows = options.follows_budget(settings)
        if limit is not None and follows:
            steps = round(options.budget_share * recipe.prune_steps)
            price = control = BudgetControl(price, limit, steps, state)
            updates.append(control.update)
        state.remember_initial()
        sample = Sample.draw(data.train, settings.seed, MOST_EXAMPLES)
        watch = Watch(sample.first(_watched(recipe, settings)), price, recipe.shrink_every)
        updates.append(watch)
        rule = removal_rule(options.removal, 1 / (len(data.train) * options.slab**2))
        updates.append(Shrink(recipe.shrink_every, rule, options.round_to))
        chosen, said = _estimator(settings.estimator, state)
        objective = GatedObjective(
            price, chosen, len(data.train), ramp=recipe.ramp, weight_prior=slab,
            estimate_every=options.estimate_every,
        )  # fmt: skip

        def gate_optimizers(state: TrainState) -> dict[str, Optimizer]:
            theta = guide_of(state).theta
            horizon, slow = recipe.horizon(state.phase_step), rule.slow_smoothing
            return {GATES: ProjectedGateDescent([theta], horizon, slow_smoothing=slow)}

        pruning = Phase(
            "prune", recipe.prune_steps, objective, adam(recipe.learning_rate), constant,
            extra_optimizers=gate_optimizers, updates=updates,
        )  # fmt: skip
        began = state.structure.original_gates()
        decide = Decide(watch, sample, limit, free=follows, round_to=options.round_to, began=began)
        fixed = _fixed(state, recipe.fixed, options.learnt_noise, decide)
        return Plan(
            (pruning, fixed), partial(describe, price=price),
            partial(posterior, price=None if follows else price, size=len(data.train)),
            notes=[*few_steps(recipe.prune_steps, data.train, settings), *said],
            review=Review(len(data.train), len(data.validation), limit),
        )  # fmt: skip


def _estimator(name: str, state: TrainState) -> tuple[GateEstimator, list[str]]:
    """The estimator of a name, and a line where another one takes its place because a loss draws no labels."""
    chosen = estimator(name)
    if isinstance(chosen, LinearisedFlips) and type(state.likelihood) is not Categorical:
        raise SettingError(
            f"estimator {name!r} needs one class an example, and the task is {state.task.name!r}: take 'curvature'"
        )
    if state.likelihood.can_sample:
        return chosen, []
    said = ["the loss is read as the negative log-likelihood of an example, in nats: prices are measured against it"]
    if isinstance(chosen, SampledLabelCurvature):
        said.append("curvature needs targets drawn from the likelihood, and a loss draws none: salient-flips instead")
        chosen = SalientFlips()
    return chosen, said


def _fixed(state: TrainState, training: FixedTraining, learnt: float | None, begin: Start) -> Phase:
    """The phase at fixed structure, under noise of a given strength or of a learnt one."""
    if learnt is None:
        return training.phase(begin)
    state.modules[NOISE] = NoiseScale(state.structure.gate_count, training.noise)
    objective = LearntNoise(learnt, training.consistency)
    return training.phase(begin, objective=objective, extra_optimizers=noise_optimizers, updates=[hold])


def _watched(recipe: Recipe, settings: RunSettings) -> int:
    """Examples to watch: a hundredth of those that gates learn from, so that looking costs little beside learning."""
    return min(MOST_WATCHED, max(LEAST_WATCHED, recipe.prune_steps * settings.batch_size // 100))


def _guide(state: TrainState, start: float) -> GateGuide:
    """A guide over all gates; the objective binds it to the model it makes."""
    prior = FlatteningGatePrior(torch.ones(state.structure.gate_count))
    model = GatedModel(state.network, state.structure, prior, size=1)
    guide = GateGuide(model, start)
    model.close()
    return guide

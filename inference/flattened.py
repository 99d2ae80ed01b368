"""Learning and pruning at once with Bernoulli gates under the flattening hyper-prior, whatever the weights' law is.

The method of *Robust Learning of Parsimonious Deep Neural Networks* (arXiv 2205.04650) as far as its abstract tells
it; objective, step and schedule are the measured recipe.
"""

from abc import abstractmethod
from dataclasses import replace
from functools import partial
from math import log
from typing import Any

from torch.optim import Optimizer

from bayesprune.budgets.predicted import table_of
from bayesprune.data import Data
from bayesprune.errors import SettingError
from bayesprune.inference import onset
from bayesprune.inference.budgeting import BudgetControl, WithinBudget
from bayesprune.inference.deciding import Decide
from bayesprune.inference.estimators import GateEstimator, SampledLabelCurvature, estimator
from bayesprune.inference.estimators.flips import SalientFlips
from bayesprune.inference.estimators.linearised import LinearisedFlips
from bayesprune.inference.guides import INDEPENDENT
from bayesprune.inference.objective import GATES, GatedObjective, guide_of
from bayesprune.inference.options import LEARNING_RATE, ParsimoniousOptions, Recipe
from bayesprune.inference.pricing import make_price
from bayesprune.inference.projected import ProjectedGateDescent
from bayesprune.inference.removal import removal_rule
from bayesprune.inference.review import Review, few_steps
from bayesprune.inference.updates import Settle, Shrink, hold_last
from bayesprune.inference.variational import Parts, VariationalMethod, made_guide
from bayesprune.inference.visited import Sample
from bayesprune.inference.watch import Watch
from bayesprune.inference.weight_laws import WeightLaw
from bayesprune.models.complexity import ComplexityPrice
from bayesprune.models.prices import CostPrice, Price
from bayesprune.models.priors.weights import GaussianSlab
from bayesprune.pruners.budgeted import checked_limits
from bayesprune.pruners.rounding import check_multiple
from bayesprune.run.budget import parse_budgets
from bayesprune.run.normal import without_usual_options
from bayesprune.run.settings import RunSettings
from bayesprune.tasks.likelihood import Categorical
from bayesprune.training import TrainState
from bayesprune.training.phase import Update

MOST_WATCHED, LEAST_WATCHED, MOST_EXAMPLES = 1_000, 100, 2_000
"""Training examples on which the objective is watched, and on which gates are decided at most."""


class Flattened(VariationalMethod):
    """Gates under the flattening hyper-prior: projected steps end at 0 or 1, the network shrinks on the way.

    A subclass says what the law of the weights is.
    """

    takes = frozenset({"price", "budget", "estimator"})

    objective = GatedObjective

    def price(self, state: TrainState, settings: RunSettings, options: Any, examples: int, steps: int) -> Price:
        """The price of what is open: `make_price`."""
        return make_price(state, settings, options, examples, steps)

    def estimating(self, chosen: GateEstimator, options: Any) -> GateEstimator:
        """The estimator of all gates, made of the one that was chosen."""
        return chosen

    def start(self, state: TrainState, recipe: Recipe) -> Any:
        """Inclusion probability at the start, one for all gates or [J]."""
        return recipe.start

    @abstractmethod
    def weight_law(self, options: Any, chosen: GateEstimator, recipe: Recipe) -> WeightLaw:
        """The guide's part for the weights, for the options of a run, its estimator and the recipe's numbers."""

    def normal(self, settings: RunSettings) -> RunSettings:
        """See `Method.normal`; gamma is written as the price ln gamma."""
        own = self.options.of(settings.method, settings.options)
        if own.gamma is not None and settings.price is None:
            rest = {name: value for name, value in settings.options.items() if name != "gamma"}
            settings = replace(settings, price=log(own.gamma), options=rest)
        if settings.learning_rate == LEARNING_RATE:
            settings = replace(settings, learning_rate=None)
        return without_usual_options(settings, own, self.options())

    def parts(self, state: TrainState, data: Data, settings: RunSettings) -> Parts:
        """Prices and budget, the guide, the projected step, shrinking and the last decisions."""
        options: ParsimoniousOptions = self.options.of(settings.method, settings.options)
        recipe = Recipe(state.network, data.train, settings, options, state.likelihood)
        price = self.price(state, settings, options, len(data.train), recipe.prune_steps)
        slab = GaussianSlab(options.slab)
        check_multiple(state.structure, options.round_to)
        options.check_used(settings, by_cost=isinstance(price, (CostPrice, ComplexityPrice)))
        chosen, said = chosen_estimator(settings.estimator, state)
        law = self.weight_law(options, chosen, recipe)
        _check_law(law)
        updates: list[Update] = [Settle(recipe.horizon), hold_last]
        budgets = None if settings.budget is None else parse_budgets(settings.budget)
        limits = None if budgets is None else checked_limits(state, budgets, options.round_to)
        follows = options.follows_budget(settings)
        rule = removal_rule(options.removal, 1 / (len(data.train) * options.slab**2))
        if limits is not None and follows:
            steps, horizon = round(options.budget_share * recipe.prune_steps), round(recipe.horizon(0))
            price = control = BudgetControl(
                price, limits, steps, state, last=recipe.prune_steps, lead=horizon, size=len(data.train)
            )
            updates.append(partial(_follow, control))
            rule = WithinBudget(rule, limits)
        sample = Sample.draw(data.train, settings.seed, MOST_EXAMPLES)
        watch = Watch(sample.first(_watched(recipe, settings)), price, recipe.shrink_every)
        updates += [watch, Shrink(recipe.shrink_every, rule, options.round_to)]

        def optimizers(state: TrainState) -> dict[str, Optimizer]:
            horizon = recipe.horizon(state.phase_step)
            gates = ProjectedGateDescent([guide_of(state).theta], horizon, slow_smoothing=rule.slow_smoothing)
            return {GATES: gates} | law.optimizers(state)

        began = state.structure.original_gates()
        return Parts(
            made_guide(state, lambda model: law.make(model, self.start(state, recipe)), slab),
            self.objective(
                price, self.estimating(chosen, options), len(data.train), ramp=recipe.ramp, weight_prior=slab,
                estimate_every=options.estimate_every, warm_up=recipe.warm_up if law.means_first else None,
            ),
            recipe.prune_steps, recipe.learning_rate, optimizers, updates,
            Decide(watch, sample, limits, free=follows, round_to=options.round_to, began=began),
            recipe.fixed, options.learnt_noise, price,
            waits=getattr(options, "means_first", True),
            notes=[*few_steps(recipe.prune_steps, data.train, settings), *said],
            begin=None if limits is None or not limits.has_latency else _measure_latency,
            review=Review(len(data.train), len(data.validation), limits),
        )  # fmt: skip


def _follow(control: BudgetControl, state: TrainState) -> None:
    """After a step: let prices follow the budget, once gates may move."""
    if not onset.waits(state):
        control.update(state)


def _measure_latency(state: TrainState) -> None:
    """Fill the run's table before gates are put on the network."""
    table_of(state)


def _check_law(law: WeightLaw) -> None:
    """Refuse weights whose divergence gates would be priced by, too.

    Raises:
        SettingError: with the reason and the cure.
    """
    if getattr(law, "kind", INDEPENDENT) != INDEPENDENT:
        raise SettingError(
            "weights of the kind 'prior_when_closed' make an open gate cost ln gamma and the divergence of its "
            "weights, hundreds of nats; prices, budgets and the last decisions here count ln gamma only: take "
            "'independent', "
            "or Variational(gate_prior=Flattening(price), guide=partial(GaussianWeightGuide, kind='prior_when_closed'))"
        )


def chosen_estimator(name: str, state: TrainState) -> tuple[GateEstimator, list[str]]:
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


def _watched(recipe: Recipe, settings: RunSettings) -> int:
    """Examples to watch: a hundredth of those that gates learn from, so that looking costs little beside learning."""
    return min(MOST_WATCHED, max(LEAST_WATCHED, recipe.prune_steps * settings.batch_size // 100))

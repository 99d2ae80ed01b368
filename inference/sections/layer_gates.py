"""Layer gates: one Bernoulli gate for each section of a network, closed sections deleted while the weights learn.

After *Concurrent Training and Layer Pruning of Deep Neural Networks* (arXiv 2406.04549) as far as its abstract tells
it: a scalar gate a section, the flattening hyper-prior, projected steps; the rest is the measured recipe of
`Parsimonious`.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor
from torch.optim import Optimizer

from bayesprune.data import Data
from bayesprune.errors import BudgetError, SettingError
from bayesprune.inference.deciding import Decide
from bayesprune.inference.differences import ExactDifferences
from bayesprune.inference.estimators.without import WithoutEstimate
from bayesprune.inference.guides import GateGuide
from bayesprune.inference.objective import GATES, guide_of
from bayesprune.inference.options import LEARNING_RATE, Recipe
from bayesprune.inference.phases import normal_of
from bayesprune.inference.pricing import FULL_PRICE, default_price
from bayesprune.inference.projected import ProjectedGateDescent
from bayesprune.inference.review import Review, few_steps
from bayesprune.inference.sections.adding import add_sections
from bayesprune.inference.sections.differences import SectionDifferences, SectionObjective
from bayesprune.inference.sections.options import LayerGateOptions
from bayesprune.inference.updates import Settle, Shrink
from bayesprune.inference.variational import Parts, VariationalMethod, made_guide
from bayesprune.inference.visited import Sample
from bayesprune.inference.watch import Watch
from bayesprune.models.complexity import SectionPrice
from bayesprune.models.prices import parse_price
from bayesprune.models.priors.weights import GaussianSlab
from bayesprune.run.method import GatePosterior, Plan
from bayesprune.run.settings import RunSettings
from bayesprune.structure.layers import weight_of
from bayesprune.structure.matrices import COUNTED
from bayesprune.training import TrainState

MOST_EXAMPLES, WATCHED = 2_000, 1_000
"""Training examples on which gates are decided, and on which the objective is watched, at most."""


class OnlySections(ExactDifferences):
    """Differences of sections; units stay as they are."""

    def _doubtful(self) -> list[int]:
        sections = set(self.state.structure.section_gates.tolist())
        return [gate for gate in super()._doubtful() if gate in sections]


class DecideSections(Decide):
    """The end of pruning, for sections only."""

    differences = OnlySections


class OpenUnits(SectionObjective):
    """The objective where no unit has a gate that acts."""

    units = False


class LayerGates(VariationalMethod):
    """One Bernoulli gate a section, learnt with the weights; the units inside have no say.

        theta_b <- clip01(theta_b - step (d_b + ln gamma / N)),  d_b = E[C(z_b = 1) - C(z_b = 0)]

    with the exact differences of `SectionDifferences`. A section whose gate closes is deleted, and its skip stays.
    Gates end at 0 or 1; what is left is trained on at fixed structure.
    """

    name = "layer-gates"
    summary = "one Bernoulli gate a residual section, learnt with the weights; closed sections are deleted"
    options = LayerGateOptions
    takes = frozenset({"price"})

    def normal(self, settings: RunSettings) -> RunSettings:
        """See `Method.normal`."""
        return normal_of(self.options, settings, LEARNING_RATE)

    def plan(self, state: TrainState, data: Data, settings: RunSettings) -> Plan:
        """See `VariationalMethod.plan`.

        Raises:
            NetworkError: the network has no section.
            SettingError: there is no epoch to learn in.
        """
        if settings.epochs == 0:
            raise SettingError(
                f"method {self.name!r} learns its gates in training, and epochs=0 leaves none: give epochs=1 or more, "
                "or a method that prunes without training, such as l1-units"
            )
        add_sections(state, settings.keep, needed=True)
        plan = super().plan(state, data, settings)
        assert plan.posterior is not None
        return replace(plan, posterior=partial(_of_sections, plan.posterior))

    def parts(self, state: TrainState, data: Data, settings: RunSettings) -> Parts:
        """Price, guide, the projected step, deletion and the last decisions."""
        options, size = LayerGateOptions.of(settings.options), len(data.train)
        recipe = Recipe(state.network, data.train, settings, options.recipe, state.likelihood)
        price = SectionPrice(_nats(state, settings, size, recipe.prune_steps))
        slab = GaussianSlab(options.slab)
        sample = Sample.draw(data.train, settings.seed, MOST_EXAMPLES)
        watch = Watch(sample.first(WATCHED), price, recipe.shrink_every)

        def optimizers(state: TrainState) -> dict[str, Optimizer]:
            return {GATES: ProjectedGateDescent([guide_of(state).theta], recipe.horizon(state.phase_step))}

        start = torch.ones(state.structure.gate_count).index_fill(0, state.structure.section_gates, options.start)
        return Parts(
            made_guide(state, lambda model: GateGuide(model, start), slab),
            OpenUnits(
                price, SectionDifferences(WithoutEstimate(), options.sections_per_step), size,
                ramp=recipe.ramp, weight_prior=slab,
            ),
            recipe.prune_steps, recipe.learning_rate, optimizers,
            [Settle(recipe.horizon), open_units, watch, Shrink(recipe.shrink_every)],
            DecideSections(watch, sample, began=state.structure.original_gates()), recipe.fixed, price=price,
            notes=few_steps(recipe.prune_steps, data.train, settings),
            review=Review(size, len(data.validation), None),
        )  # fmt: skip


@torch.no_grad()
def open_units(state: TrainState) -> None:
    """Let units stay open: an update of the loop."""
    theta = guide_of(state).theta
    gates = state.structure.section_gates.to(theta.device)
    theta.copy_(torch.ones_like(theta).index_copy(0, gates, theta[gates]))


def _nats(state: TrainState, settings: RunSettings, size: int, steps: int) -> float:
    """The price of a section; by default what the units that its layers have would cost, on average.

    Raises:
        BudgetError: there is a price for each of some groups.
    """
    if settings.price is not None:
        asked = parse_price(settings.price)
        if isinstance(asked, dict):
            raise BudgetError("layer-gates has one price for every section: give a number of nats, such as price=200")
        return asked
    sections = state.structure.sections
    modules = dict(state.network.named_modules())
    inside = [modules[layer] for one in sections for layer in one.layers if isinstance(modules[layer], COUNTED)]
    units = sum(len(weight_of(layer)) for layer in inside) / max(len(sections), 1)
    return min(1.0, steps / FULL_PRICE) * default_price("equal", size) * max(units, 1.0)


def _of_sections(posterior: Callable[[TrainState], GatePosterior], state: TrainState) -> GatePosterior:
    """The posterior, without rises of the loss for units, of which none was looked at."""
    found = posterior(state)
    if found.last_rise is None:
        return found
    rise: Tensor = torch.full_like(found.last_rise, torch.nan)
    places = state.structure.initial_slices()
    for group in state.structure.groups:
        if group.kind == "section":
            rise[places[group.name]] = found.last_rise[places[group.name]]
    return replace(found, last_rise=rise)

"""Units and layers together, priced by what they add to the expected cost.

After *Complexity-Aware Training of Deep Neural Networks for Optimal Structure Discovery* (arXiv 2411.09127) as far as
its abstract tells it: gates on units and on layers, three trade-offs, prices that follow from the complexity. Its
symbols and normalisation could not be read; those here are ours.
"""

from typing import Any

import torch
from torch import Tensor

from bayesprune.data import Data
from bayesprune.errors import BudgetError, SettingError
from bayesprune.inference.estimators import GateEstimator
from bayesprune.inference.flattened import Flattened
from bayesprune.inference.options import Recipe
from bayesprune.inference.pricing import FULL_PRICE, default_price, whole_price
from bayesprune.inference.sections.adding import add_sections
from bayesprune.inference.sections.differences import SectionDifferences, SectionObjective
from bayesprune.inference.sections.options import SECTION_START, ComplexityOptions
from bayesprune.inference.weight_laws import PointWeights, WeightLaw
from bayesprune.models.complexity import ComplexityPrice
from bayesprune.models.prices import Price, parse_price
from bayesprune.run.method import Plan
from bayesprune.run.settings import RunSettings
from bayesprune.training import TrainState


class ComplexityAware(Flattened):
    """Bernoulli gates on units and on sections, at prices that are the gradient of the expected complexity.

    The gates of sections learn from exact differences, those of units by the estimator that is chosen. A network
    without sections is pruned by its units alone.
    """

    name = "complexity-aware"
    summary = "Bernoulli gates on units and residual sections, priced by expected compute and parameters"
    options = ComplexityOptions
    objective = SectionObjective

    def plan(self, state: TrainState, data: Data, settings: RunSettings) -> Plan:
        """See `VariationalMethod.plan`; sections have gates, too."""
        add_sections(state, settings.keep, needed=False)
        return super().plan(state, data, settings)

    def weight_law(self, options: ComplexityOptions, chosen: GateEstimator, recipe: Recipe) -> WeightLaw:
        """The weights are a point."""
        return PointWeights()

    def estimating(self, chosen: GateEstimator, options: ComplexityOptions) -> GateEstimator:
        """With exact differences for sections."""
        return SectionDifferences(chosen, options.sections_per_step)

    def start(self, state: TrainState, recipe: Recipe) -> Tensor:
        """Sections start more open than units."""
        whole = torch.full((state.structure.gate_count,), float(recipe.start))
        return whole.index_fill(0, state.structure.section_gates, max(SECTION_START, recipe.start))

    def price(self, state: TrainState, settings: RunSettings, options: Any, examples: int, steps: int) -> Price:
        """The complexity of what is open.

        Raises:
            SettingError: two of nu, gamma and a price are given.
            BudgetError: there is a price for each of some groups, or none that is one.
        """
        units = max(1, state.structure.gate_count - len(state.structure.sections))
        given = {"nu": options.nu, "gamma": options.gamma, "price": settings.price}
        named = [name for name, value in given.items() if value is not None]
        if len(named) > 1:
            raise SettingError(f"give one of nu, gamma and price, not {' and '.join(named)}")
        if options.nu is not None:
            nats = options.nu * examples
        elif settings.price is not None:
            asked = parse_price(settings.price)
            if isinstance(asked, dict):
                raise BudgetError("complexity-aware prices what things cost, and no group: give a number of nats")
            nats = asked * units
        else:
            nats = default_price("cost", examples) * units
            if settings.budget is None:
                nats = min(1.0, steps / FULL_PRICE) * min(nats, whole_price(examples))
        if not nats > 0:
            raise BudgetError(f"the price must be > 0 nats, not {settings.price}")
        return ComplexityPrice.of(state.structure, state.expected_cost(), nats, options.alpha, options.beta)

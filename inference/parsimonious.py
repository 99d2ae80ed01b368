"""Learning and pruning at once with Bernoulli gates under the flattening hyper-prior.

The method of *Robust Learning of Parsimonious Deep Neural Networks* (arXiv 2205.04650) as far as its abstract tells
it; objective, step and schedule are the measured recipe.
"""

from dataclasses import dataclass
from math import log
from typing import Any

from torch import nn

from bayesprune.budget import Budget
from bayesprune.data import Data
from bayesprune.errors import BudgetError, SettingError
from bayesprune.inference.budgeting import BudgetControl, meet_budget
from bayesprune.inference.estimators import estimator
from bayesprune.inference.guides import GateGuide
from bayesprune.inference.objective import GATES, GUIDE, GatedObjective, guide_of
from bayesprune.inference.projected import ProjectedGateDescent
from bayesprune.inference.updates import Settle, Shrink, decide, describe, posterior
from bayesprune.method import Plan
from bayesprune.models.gated import GatedModel
from bayesprune.models.prices import CostPrice, EqualPrice, LayerPrice, Price, parse_price
from bayesprune.models.priors.gates import FlatteningGatePrior
from bayesprune.models.priors.weights import GaussianSlab
from bayesprune.data import steps_per_epoch
from bayesprune.settings import RunSettings
from bayesprune.training import CrossEntropy, Phase, TrainState, adam, constant, cosine


@dataclass(frozen=True)
class ParsimoniousOptions:
    """The method's own settings; None stands for the default of the kind of network.

    Attributes:
        gamma: the hyper-prior's gamma, instead of a price ln gamma.
        price_kind: "equal" for each gate, or "cost" for the multiply-accumulates and parameters it carries.
        alpha: of a cost price: 1 multiply-accumulates only, 0 parameters only.
        start: inclusion probabilities at the start.
        prune_share: share of the epochs in which gates learn.
        horizon: steps in which a useless gate falls from 1 to 0.
        settle_share: last share of the pruning phase, in which the horizon is a fifth.
        ramp_share: share of the pruning phase over which prices rise.
        shrink_every: steps between removals.
        safe: the safe removal rule.
        slab: standard deviation of the weights' prior.
        fixed_learning_rate: of the phase at fixed structure.
    """

    gamma: float | None = None
    price_kind: str | None = None
    alpha: float = 0.8
    start: float | None = None
    prune_share: float | None = None
    horizon: float | None = None
    settle_share: float = 0.2
    ramp_share: float = 0.0
    shrink_every: int = 100
    safe: bool = False
    slab: float = 1.0
    fixed_learning_rate: float | None = None

    def __post_init__(self) -> None:
        if self.gamma is not None and not self.gamma > 0:
            raise SettingError(f"gamma must be > 0 (and > 1 to prune), not {self.gamma}")
        if self.price_kind not in (None, "equal", "cost"):
            raise SettingError(f"price_kind must be 'equal' or 'cost', not {self.price_kind!r}")
        for name in ("prune_share", "settle_share", "ramp_share"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise SettingError(f"{name} must lie in [0, 1], not {value}")
        if self.start is not None and not 0 < self.start < 1:
            raise SettingError(f"start must lie strictly between 0 and 1, not {self.start}")

    @classmethod
    def of(cls, options: Any) -> "ParsimoniousOptions":
        """Read the options of a run.

        Raises:
            SettingError: there is no such option, or its value is not allowed.
        """
        unknown = set(options) - set(cls.__dataclass_fields__)
        if unknown:
            raise SettingError(f"parsimonious has no options {sorted(unknown)}; it has {sorted(cls.__dataclass_fields__)}")
        return cls(**options)


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
        recipe = _Recipe(state, steps_per_epoch(data.train, settings.batch_size), settings, options)
        price = make_price(state, settings, options, recipe.convolutional, len(data.train))
        slab = GaussianSlab(options.slab)
        objective = GatedObjective(
            price, estimator(settings.estimator), len(data.train), ramp=recipe.ramp, weight_prior=slab
        )
        _add_guide(state, options.start or 0.5)
        updates: list[Any] = [Settle(recipe.settle, recipe.horizon)]
        begin_fixed: Any = decide
        if settings.budget is not None:
            limit = checked_limit(Budget.parse(settings.budget), state)
            objective.price = control = BudgetControl(price, limit, recipe.settle)
            updates.append(control.update)
            begin_fixed = meet_budget(limit)
        updates.append(Shrink(options.shrink_every, options.safe))
        pruning = Phase(
            "prune", recipe.prune_steps, objective, adam(recipe.learning_rate), constant,
            extra_optimizers=lambda state: {GATES: recipe.gate_optimizer(state)}, updates=updates,
        )  # fmt: skip
        decay = 1 / (len(data.train) * options.slab**2)
        fixed = Phase(
            "fixed", recipe.fixed_steps, CrossEntropy(recipe.noise),
            adam(recipe.fixed_learning_rate, decay), cosine, start=begin_fixed,
        )  # fmt: skip
        return Plan((pruning, fixed), describe, posterior)


class _Recipe:
    """Numbers of the recipe that depend on the network and on the number of steps."""

    def __init__(
        self, state: TrainState, epoch_steps: int, settings: RunSettings, options: ParsimoniousOptions
    ) -> None:
        assert settings.epochs is not None
        self.convolutional = is_convolutional(state.network)
        share = options.prune_share if options.prune_share is not None else default_prune_share(self.convolutional)
        prune_epochs = min(settings.epochs, max(1, round(share * settings.epochs)))
        self.prune_steps = prune_epochs * epoch_steps
        self.fixed_steps = (settings.epochs - prune_epochs) * epoch_steps
        self.horizon = options.horizon or (400.0 if self.convolutional else 300.0)
        self.settle = round((1 - options.settle_share) * self.prune_steps)
        self.ramp = round(options.ramp_share * self.prune_steps)
        self.learning_rate = settings.learning_rate or 2e-3
        self.fixed_learning_rate = options.fixed_learning_rate or (2e-3 if self.convolutional else 5e-3)
        self.noise = settings.noise_for(state.network)
        self._slow = 0.998 if options.safe else None

    def gate_optimizer(self, state: TrainState) -> ProjectedGateDescent:
        """The projected step of the guide's theta."""
        return ProjectedGateDescent([guide_of(state).theta], self.horizon, slow_smoothing=self._slow)


DEFAULT_PRICES = {"equal": 13.0, "cost": 60.0}
"""Nats of training log-likelihood a gate must be worth by default on MNIST's 55,000 images."""


def default_price(kind: str, examples: int) -> float:
    """The default price for N examples: MNIST's times (N / 55,000)^(2/3).

    In between a fixed price, which leaves next to nothing of a network on a few thousand images, and a fixed price per
    example, which leaves so much there that any way of choosing units does as well.
    """
    return DEFAULT_PRICES[kind] * float((examples / 55_000) ** (2 / 3))


def make_price(
    state: TrainState, settings: RunSettings, options: ParsimoniousOptions, convolutional: bool, examples: int
) -> Price:
    """The price that settings and options ask for.

    Raises:
        BudgetError: it is not a price, or none of the gates could pay it.
    """
    if options.gamma is not None and settings.price is not None:
        raise SettingError("give gamma or price, not both: price = ln gamma")
    kind = options.price_kind or ("cost" if convolutional else "equal")
    default = default_price(kind, examples)
    asked = log(options.gamma) if options.gamma is not None else parse_price(default if settings.price is None else settings.price)
    if isinstance(asked, dict):
        return LayerPrice(asked)
    if kind == "equal":
        return EqualPrice(asked)
    return CostPrice(
        asked, options.alpha, state.structure.gate_count, state.initial_macs, state.initial_params
    )


def checked_limit(budget: Budget, state: TrainState) -> tuple[Budget, float]:
    """A budget and the number it allows.

    Raises:
        BudgetError: even one channel a group costs more.
    """
    from bayesprune.inference.budgeting import smallest_cost

    limit = budget.limit(state.initial_macs, state.initial_params)
    least = smallest_cost(state, budget)
    if least > limit:
        raise BudgetError(
            f"no network of this kind meets {budget.kind} <= {limit:,.0f}: with one channel a group it needs {least:,.0f}"
        )
    return budget, limit


def is_convolutional(network: nn.Module) -> bool:
    """Whether the network has convolutions."""
    return any(isinstance(module, nn.modules.conv._ConvNd) for module in network.modules())


def default_prune_share(convolutional: bool) -> float:
    """10 of 40 epochs for the perceptron, 8 of 40 for LeNet-5."""
    return 0.2 if convolutional else 0.25


def _add_guide(state: TrainState, start: float) -> None:
    """Put a guide over all gates into the state."""
    import torch

    prior = FlatteningGatePrior(torch.ones(state.structure.gate_count))
    model = GatedModel(state.network, state.structure, prior, 1)
    state.modules[GUIDE] = GateGuide(model, start)
    model.close()

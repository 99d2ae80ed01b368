"""What all variational methods share: one plan of two phases, put together from parts that can be exchanged."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.optim import Optimizer

from bayesprune.data import Data
from bayesprune.errors import SettingError
from bayesprune.inference import onset
from bayesprune.inference.budgeting import BudgetControl
from bayesprune.inference.guides import GateGuide
from bayesprune.inference.noise import NOISE, LearntNoise, NoiseScale, hold, noise_optimizers
from bayesprune.inference.objective import GUIDE
from bayesprune.inference.review import still_learning
from bayesprune.inference.updates import describe, posterior
from bayesprune.models.gated import GatedModel
from bayesprune.models.prices import Price
from bayesprune.models.priors.gates import FixedGatePrior
from bayesprune.models.priors.weights import WeightPrior
from bayesprune.run.method import Plan
from bayesprune.run.settings import RunSettings
from bayesprune.training import Objective, Phase, Start, TrainState, adam, constant
from bayesprune.training.fixed import FixedTraining
from bayesprune.training.phase import Update


@dataclass(frozen=True)
class Parts:
    """What one variational run is made of.

    Attributes:
        guide: of gates and weights; becomes the state's module "guide".
        objective: minimised while gates learn; holds gate prior, weight prior and estimator.
        steps, learning_rate: of that phase, the rate for the network's parameters.
        optimizers: of the guide's parameters, by name.
        updates: after every step of that phase: projections, removals.
        decide: the end of pruning, when gates are opened and closed for good.
        fixed: training of the compact network afterwards.
        learnt_noise: weight of the information that passes the noise of that training; None for fixed noise.
        price: of what is open, for the record of an epoch; None where there is none.
        alive: gates count as open, in the record of an epoch, whose inclusion probability is above this.
        ends_pruned: whether the method is to end with pruning, without any training of the compact network.
        waits: whether all but the network's parameters wait until the loss has left that of a guess (`onset`).
        own_likelihood: whether gates learn by another likelihood than the task's.
        notes: what the user should know before training begins.
        review: what the user should know of the result.
        begin: what is done before the first step of pruning; None for nothing.
    """

    guide: GateGuide
    objective: Objective
    steps: int
    learning_rate: float
    optimizers: Callable[[TrainState], dict[str, Optimizer]]
    updates: Sequence[Update]
    decide: Start
    fixed: FixedTraining
    learnt_noise: float | None = None
    price: Price | None = None
    alive: float = 0.0
    ends_pruned: bool = False
    waits: bool = True
    own_likelihood: bool = False
    notes: Sequence[str] = ()
    review: Callable[[TrainState], Sequence[str]] | None = None
    begin: Start | None = None


class VariationalMethod(ABC):
    """A method that learns a posterior over gates (and weights) with the network, shrinks it, and trains on.

    A subclass is a name, a class of options and the `Parts` of a run.
    """

    name: str
    summary: str
    options: type[Any]
    takes: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()

    @abstractmethod
    def normal(self, settings: RunSettings) -> RunSettings:
        """See `Method.normal`."""

    @abstractmethod
    def parts(self, state: TrainState, data: Data, settings: RunSettings) -> Parts:
        """What a run with these settings is made of."""

    def plan(self, state: TrainState, data: Data, settings: RunSettings) -> Plan:
        """Pruning phase and phase at fixed structure.

        Raises:
            SettingError: the network has no gates, or a setting cannot be used.
        """
        if state.need_structure().gate_count == 0:
            raise SettingError(state.structure.why_no_groups())
        state.remember_initial()
        parts = self.parts(state, data, settings)
        state.modules[GUIDE] = parts.guide
        if parts.waits:
            onset.prepare(state, data, parts.steps, own_likelihood=parts.own_likelihood)
        pruning = Phase(
            "prune", parts.steps, parts.objective, adam(parts.learning_rate), constant,
            extra_optimizers=parts.optimizers, updates=parts.updates, start=parts.begin,
        )  # fmt: skip
        fixed = _fixed(state, parts.fixed, parts.learnt_noise, parts.decide)
        known = None if isinstance(parts.price, BudgetControl) else parts.price  # one that follows a budget is no price
        return Plan(
            (pruning, fixed), partial(describe, price=parts.price, alive=parts.alive),
            partial(posterior, price=known, size=len(data.train)), notes=parts.notes,
            review=partial(_review, parts.review), ends_pruned=parts.ends_pruned,
        )  # fmt: skip


def made_guide(state: TrainState, make: Callable[[GatedModel], GateGuide], slab: WeightPrior) -> GateGuide:
    """A guide over all gates of a state; the objective binds it to the model that it makes.

    Args:
        state: whose network and structure it is for.
        make: from a model of them to the guide.
        slab: the weight prior.
    """
    prior = FixedGatePrior(torch.full((state.structure.gate_count,), 0.5))
    model = GatedModel(state.network, state.structure, prior, size=1, weight_prior=slab)
    guide = make(model)
    model.close()
    return guide


def _fixed(state: TrainState, training: FixedTraining, learnt: float | None, begin: Start) -> Phase:
    """The phase at fixed structure, under noise of a given strength or of a learnt one."""
    if learnt is None:
        return training.phase(begin)
    state.modules[NOISE] = NoiseScale(state.structure.gate_count, training.noise)
    objective = LearntNoise(learnt, training.consistency)
    return training.phase(begin, objective=objective, extra_optimizers=noise_optimizers, updates=[hold])


def _review(own: Callable[[TrainState], Sequence[str]] | None, state: TrainState) -> list[str]:
    """The lines of every method here, and a method's own."""
    return [*onset.review(state), *(own(state) if own is not None else ()), *still_learning(state)]

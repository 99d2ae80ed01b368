"""A method put together by the user: every part of the model and of its inference is an object."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import blake2b
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from bayesprune.data import Data, steps_per_epoch
from bayesprune.errors import SettingError
from bayesprune.inference.elbo_objective import ElboObjective, MakeGatePrior
from bayesprune.inference.estimators import GateEstimator
from bayesprune.inference.flattened import chosen_estimator
from bayesprune.inference.guides import PRIOR_WHEN_CLOSED, GateGuide
from bayesprune.inference.objective import DEVIATIONS, GATES, guide_of
from bayesprune.inference.phases import epochs_for, split_epochs
from bayesprune.inference.pricing import default_price
from bayesprune.inference.relaxed import LogitGateGuide, RelaxedGates
from bayesprune.inference.removal import Closed, RemovalRule
from bayesprune.inference.slot_checks import (
    check_fit_together,
    check_kinds,
    check_weight_prior,
    made_guide_of,
    made_prior,
    try_loss,
)
from bayesprune.inference.slots import (
    AdamSteps,
    Flattening,
    GateStep,
    ProjectedSteps,
    Quiet,
    learnt_beside,
    learnt_gates,
    updates_of,
)
from bayesprune.inference.spike_slab.nodes import MedianProbability, review
from bayesprune.inference.spike_slab.options import SMALL_DEVIATION, USUAL_DEVIATION
from bayesprune.inference.spoken import spoken
from bayesprune.inference.user_parts import asked
from bayesprune.inference.variational import Parts, VariationalMethod
from bayesprune.inference.warm_up import make_warm_up
from bayesprune.inference.weight_laws import travel_rate
from bayesprune.models.gated import GatedModel
from bayesprune.models.likelihoods import Likelihood, TaskLikelihood
from bayesprune.models.priors.weights import GaussianSlab, WeightPrior
from bayesprune.run.settings import RunSettings, check_integer, check_number, check_type
from bayesprune.tasks.code import said_by
from bayesprune.training import TrainState, adam
from bayesprune.training.fixed import FixedTraining

LEARNING_RATE = 2e-3
"""Of the means while gates learn."""

NEEDED_STEPS = 600
"""Steps in which most gates decide themselves."""

USUAL_SLAB = 0.5
"""Deviation of the weights' prior at fixed structure where the prior is no Gaussian."""

NAME = "variational"

_SLOTS = ("gate_prior", "weight_prior", "guide", "likelihood", "estimator", "step", "removal", "decide")
_NUMBERS = ("prune_share", "means_first", "shrink_every", "beside_rate")


@dataclass(frozen=True)
class NoOptions:
    """All settings of such a method are its parts."""


@dataclass(frozen=True, eq=False)
class Variational(VariationalMethod):
    """A method of the parts that are given; what is left out is what fits the others.

    ```python
    method = bp.Variational(gate_prior=FixedInclusion(1e-2), weight_prior=GaussianSlab(0.2))
    pruned = bp.prune("lenet300", "mnist5k", method=method)
    ```

    The same two phases, the same loop and the same objective in nats per training example as for the methods by name.
    See docs/own-parts.md for what each part must be.

    Attributes:
        gate_prior: from the groups as they are to a prior over their gates; called anew after every removal.
        weight_prior: of the weights of linear and convolution layers.
        guide: from a model to a guide of its gates, and of its weights where it is over them. By default `GateGuide`
            for a prior with prices, `LogitGateGuide` for others.
        likelihood: from outputs to the law of the targets while gates learn; by default the task's, which is also that
            of training at fixed structure.
        estimator: of the gates' gradient, an object or a name; by default relaxed gates where gates have logits, else
            sampled-label curvature.
        step: how gates move: `ProjectedSteps` where theta is a parameter, else `AdamSteps`.
        removal: which gates may go during training; "end" removes none before the end. By default `Closed` with
            projected steps, `Quiet` with others.
        decide: the gates that stay in the end, bool [J] of the state; by default those with theta > 1/2.
        prune_share: share of the epochs in which gates learn; the rest trains the compact network.
        means_first: whether the means learn alone until the loss has fallen and is level (`inference.warm_up`).
        shrink_every: steps between removals.
        beside_rate: Adam's learning rate for all else that the guide learns, such as deviations; by default 70 over
            the steps, but between 1e-3 and 0.05.
        name: in run.json and in tables; no name of the table of methods.

    Raises:
        SettingError: a part is of another kind than its slot, or a number is out of range.
    """

    gate_prior: MakeGatePrior = field(default_factory=Flattening)
    weight_prior: WeightPrior = field(default_factory=lambda: GaussianSlab(USUAL_SLAB))
    guide: Callable[[GatedModel], GateGuide] | None = None
    likelihood: Likelihood | None = None
    estimator: GateEstimator | str | None = None
    step: GateStep | None = None
    removal: RemovalRule | str | None = None
    decide: Callable[[TrainState], Tensor] | None = None
    prune_share: float = 0.5
    means_first: bool = True
    shrink_every: int = 100
    beside_rate: float | None = None
    name: str = NAME

    summary = "parts of the user's own"
    options = NoOptions

    def __post_init__(self) -> None:
        check_kinds({slot: getattr(self, slot) for slot in _SLOTS})
        check_type("prune_share", self.prune_share, int | float, "a number")
        check_number("prune_share", self.prune_share, 0.0, 1.0)
        check_type("means_first", self.means_first, bool, "true or false")
        check_integer("shrink_every", self.shrink_every, 1)
        check_number("beside_rate", self.beside_rate, 0.0)
        check_type("name", self.name, str, "text")
        if not (self.name.strip() and self.name.isprintable()):
            raise SettingError(f"name must be one line of printable text, not {self.name!r}: it stands in tables")
        object.__setattr__(self, "_described", self._describe())

    @property
    def described(self) -> dict[str, Any]:
        """The parts as JSON: classes and settings, and a hash of all that they hold and of the user's code."""
        found: dict[str, Any] = self._described  # type: ignore[attr-defined]  # set once: a part may change as it runs
        return dict(found)

    def normal(self, settings: RunSettings) -> RunSettings:
        """See `Method.normal`: the parts stand where other methods have options, so that they name the run.

        Raises:
            SettingError: options are given that are not these.
        """
        surplus = {name: value for name, value in settings.options.items() if self.described.get(name) != value}
        if surplus:
            raise SettingError(
                f"{self.name!r} has no options ({', '.join(sorted(surplus))}): its settings are its parts"
            )
        if settings.learning_rate == LEARNING_RATE:
            settings = replace(settings, learning_rate=None)
        return replace(settings, options=self.described)

    def parts(self, state: TrainState, data: Data, settings: RunSettings) -> Parts:
        """The parts of a run: made for this network, and tried on a few examples.

        Raises:
            SettingError: a part fails, or does not fit another one or the data.
        """
        size, validation = len(data.train), len(data.validation)
        epochs, fixed_epochs = split_epochs(settings, self.prune_share)
        steps = epochs * steps_per_epoch(data.train, settings.batch_size)
        make_prior = self.gate_prior
        if isinstance(make_prior, Flattening) and make_prior.price is None:
            make_prior = Flattening(default_price("equal", size))
        prior = made_prior(make_prior, state)
        if hasattr(prior, "to"):
            prior = prior.to(device=state.place.device, dtype=state.place.dtype)
        check_weight_prior(self.weight_prior, state.network)
        likelihood = self.likelihood or TaskLikelihood(state.likelihood)
        model, guide = self._guided(state, prior, likelihood, size)
        try:
            step = self._step(guide)
            rule = self._rule(step)
            estimator, said = self._estimator(step, state)
            check_fit_together(guide, prior, step, rule, estimator)
            try_loss(model, guide, estimator, state, data)
        finally:
            model.close()
        if rule is not None and hasattr(rule, "prepare"):
            asked("removal.prepare", rule, state, rule.prepare, state)
        rate = self.beside_rate or travel_rate(steps)

        def optimizers(state: TrainState) -> dict[str, Optimizer]:
            guide = guide_of(state)
            found = {GATES: step.optimizer(guide, steps, rule)}
            beside = learnt_beside(guide)
            return found | ({DEVIATIONS: adam(rate)(beside)} if beside else {})

        waits = guide.weight_sites or isinstance(step, ProjectedSteps)
        return Parts(
            guide,
            ElboObjective(
                make_prior, size, self.weight_prior, estimator,
                make_warm_up(steps, gates_wait=waits) if self.means_first else None, self.likelihood,
            ),
            steps, settings.learning_rate or LEARNING_RATE, optimizers, updates_of(step, rule, self.shrink_every),
            MedianProbability(
                rule.below if isinstance(rule, Quiet) else 0.0, state.structure.original_gates(), self.decide
            ),
            FixedTraining.of(
                settings, state.network, data.train, epochs=fixed_epochs, slab=USUAL_SLAB, likelihood=state.likelihood
            ),
            alive=0.5, ends_pruned=fixed_epochs == 0,
            waits=self.means_first, own_likelihood=self.likelihood is not None,
            notes=[*said, *_few_steps(steps, data, settings, self.prune_share)],
            review=partial(review, validation=validation),
        )  # fmt: skip

    def _guided(self, state: TrainState, prior: Any, likelihood: Any, size: int) -> tuple[GatedModel, GateGuide]:
        """The model of the network as it is, and its guide; the model has sites for the weights where the guide has."""
        sites = False
        while True:
            model = GatedModel(
                state.network, state.structure, prior, size, weight_prior=self.weight_prior, likelihood=likelihood,
                weight_sites=sites,
            )  # fmt: skip
            try:
                guide = made_guide_of(self.guide or self._usual_guide(prior), model)
            except BaseException:
                model.close()
                raise
            if guide.weight_sites == sites:
                state.place.settle(guide)
                return model, guide
            model.close()
            sites = guide.weight_sites

    def _usual_guide(self, prior: Any) -> Callable[[GatedModel], GateGuide]:
        """What fits the prior."""
        if hasattr(prior, "log_gamma"):
            return GateGuide
        deviation = SMALL_DEVIATION if self.means_first else USUAL_DEVIATION
        return lambda model: LogitGateGuide(model, 0.99, kind=PRIOR_WHEN_CLOSED, deviation=deviation)

    def _step(self, guide: GateGuide) -> GateStep:
        if self.step is not None:
            return self.step
        boxed = any(parameter is guide.theta for parameter in learnt_gates(guide))
        return ProjectedSteps() if boxed else AdamSteps()

    def _rule(self, step: GateStep) -> RemovalRule | None:
        if isinstance(self.removal, str):  # "end", by check_kinds
            return None
        if self.removal is not None:
            return self.removal
        if isinstance(step, ProjectedSteps):
            return Closed()
        return Quiet()

    def _estimator(self, step: GateStep, state: TrainState) -> tuple[GateEstimator, list[str]]:
        if self.estimator is None and not isinstance(step, ProjectedSteps):
            return RelaxedGates(), []
        if self.estimator is None or isinstance(self.estimator, str):
            return chosen_estimator(self.estimator or "curvature", state)
        return self.estimator, []

    def _describe(self) -> dict[str, Any]:
        slots = {slot: getattr(self, slot) for slot in _SLOTS}
        found = {slot: spoken(part) for slot, part in slots.items() if part is not None}
        usual = {name: type(self).__dataclass_fields__[name].default for name in _NUMBERS}
        numbers = {name: getattr(self, name) for name in _NUMBERS if getattr(self, name) != usual[name]}
        digest = blake2b(said_by(slots).encode(), digest_size=8).hexdigest()
        return {**found, **numbers, "parts_digest": digest}


def _few_steps(steps: int, data: Data, settings: RunSettings, prune_share: float) -> list[str]:
    """A line where gates have fewer steps than they need."""
    if steps >= NEEDED_STEPS:
        return []
    epochs = epochs_for(NEEDED_STEPS, prune_share, data, settings)
    return [f"the gates have {steps:,} steps to decide themselves and need about {NEEDED_STEPS}: give epochs={epochs}"]

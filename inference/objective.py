"""The Bayesian objective of the training loop: the ELBO per example, with prices that follow a ramp."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from bayesprune.errors import SettingError
from bayesprune.inference import onset
from bayesprune.inference.elbo import GatedELBO
from bayesprune.inference.estimators import GateEstimator, WithoutEstimate
from bayesprune.inference.guides import GateGuide
from bayesprune.inference.projected import ProjectedGateDescent
from bayesprune.inference.ramp import LinearRamp, Ramp
from bayesprune.inference.warm_up import observe
from bayesprune.models.gated import GatedModel
from bayesprune.models.likelihoods import Likelihood, TaskLikelihood
from bayesprune.models.prices import Price
from bayesprune.models.priors.gates import FlatteningGatePrior, GatePrior
from bayesprune.models.priors.weights import GaussianSlab, WeightPrior
from bayesprune.structure import Structure
from bayesprune.training import TrainState

SMALL = 0.25
"""Share of the initial multiply-accumulates from which on gates may be estimated at some steps only."""

GUIDE, GATES, DEVIATIONS = "guide", "gates", "deviations"
"""Names of the guide among the state's modules, and of the optimizers of the gates and of the weights' deviations."""


class PerExample(ABC):
    """The negative ELBO of a gated network, in nats per training example."""

    needs_labels = True
    size: int
    weight_prior: WeightPrior
    likelihood: Likelihood | None = None
    _model: GatedModel | None = None

    def attach(self, state: TrainState) -> None:
        """Make the Pyro model of the network as it is now, and bind the guide to it.

        Raises:
            SettingError: the guide over weights is one of Pyro's, which cannot follow a network that shrinks.
        """
        self.detach()
        guide = guide_of(state)
        check_follows(guide)
        prior = self._make_prior(state, guide)
        self._model = GatedModel(
            state.network, self.acting(state), prior, self.size, weight_prior=self.weight_prior,
            likelihood=self.likelihood or TaskLikelihood(state.likelihood), weight_sites=guide.weight_sites,
        )  # fmt: skip
        guide.bind(self._model)
        guide.masks = state.masks
        self._make_elbos(state, self._model, guide)

    def acting(self, state: TrainState) -> Structure:
        """The structure whose gates act on the network."""
        return state.structure

    def detach(self) -> None:
        """Take the gates off the network."""
        if self._model is not None:
            self._model.close()
            self._model = None

    @abstractmethod
    def _make_prior(self, state: TrainState, guide: GateGuide) -> GatePrior: ...

    @abstractmethod
    def _make_elbos(self, state: TrainState, model: GatedModel, guide: GateGuide) -> None: ...

    def __call__(self, *arguments: Any, **named: Any) -> Tensor:
        """Refuse to be a loss of `pyro.infer.SVI`, which calls its loss with model and guide.

        Raises:
            SettingError: always.
        """
        raise SettingError(
            f"{type(self).__name__} counts nats per example for the training loop, SVI's loss nats of the whole "
            "training set: take GatedELBO"
        )


class GatedObjective(PerExample):
    """Negative ELBO of a gated network in nats per training example; `GatedELBO` counts those of all examples.

    Args:
        price: of the gates.
        estimator: of their gradient.
        size: training examples N.
        ramp: how the prices rise; a number of steps for equal parts, 0 for none.
        weight_prior: of the slab.
        estimate_every: steps from one estimate of the gates' gradient to the next, once the network has at most
            `SMALL` of its initial multiply-accumulates; between them theta goes on by its moving average.
        warm_up: until it begins the weights' deviations stay as they are; None where they learn from the first step.
    """

    def __init__(
        self,
        price: Price,
        estimator: GateEstimator,
        size: int,
        *,
        ramp: Ramp | int = 0,
        weight_prior: WeightPrior | None = None,
        estimate_every: int = 1,
        warm_up: Ramp | None = None,
    ) -> None:
        if estimate_every < 1:
            raise SettingError(f"estimate_every must be >= 1 step, not {estimate_every}")
        self.price, self.estimator, self.size = price, estimator, size
        self.ramp = LinearRamp(ramp) if isinstance(ramp, int) else ramp
        self.weight_prior = weight_prior or GaussianSlab()
        self.estimate_every, self._every = estimate_every, 1
        self.warm_up = warm_up
        self._without = WithoutEstimate()
        self._present: GateEstimator = estimator

    def _make_prior(self, state: TrainState, guide: GateGuide) -> GatePrior:
        self._cost = state.expected_cost()
        self._prior = FlatteningGatePrior(self._log_gamma(state))
        return self._prior

    def _make_elbos(self, state: TrainState, model: GatedModel, guide: GateGuide) -> None:
        self._elbos = {chosen: GatedELBO(chosen)(model, guide) for chosen in (self.estimator, self._without)}
        self._every = self.estimate_every if state.network_macs() <= SMALL * state.initial_macs else 1

    def loss(self, state: TrainState, inputs: Any, labels: Any) -> Tensor:
        """Negative ELBO of a mini-batch divided by N; tells the gates' optimizer the prices.

        The losses of auxiliary outputs are added; their part in the gates' gradient is of first order.
        """
        onset.direct(state)
        waits = onset.waits(state)
        factor = 0.0 if waits else self.ramp.factor(state)
        full = self._log_gamma(state)
        self._prior.set_log_gamma(full * factor)
        optimizer = gate_optimizer(state)
        optimizer.prices, optimizer.ramp = full / self.size, factor
        estimates = self._estimates(state)
        optimizer.stands_for = self._every if estimates else 0
        optimizer.waits = waits or self.ramp.waits(state)
        optimizer.opens = self.ramp.opens(state) or onset.stalls(state)
        if self.warm_up is not None:
            onset.hold(state, DEVIATIONS, waits or self.warm_up.waits(state))
        self._present = self.estimator if estimates else self._without
        guide_of(state).theta.grad = None
        guide_of(state).noiseless = waits
        module = self._elbos[self._present]
        assert isinstance(module.elbo, GatedELBO)
        module.elbo.penalised = not waits
        negative_elbo: Tensor = module(inputs, labels)
        observe(self.warm_up, self.ramp, state, module.elbo.data_loss)
        loss = negative_elbo / self.size
        return loss if state.heads is None else loss + state.heads.loss(state.likelihood, labels)

    def kind(self, state: TrainState) -> str:
        """Whether the coming step estimates the gates' gradient, and whether it draws the weights."""
        return ("estimate" if self._estimates(state) else "weights only") + onset.kind(state)

    def _estimates(self, state: TrainState) -> bool:
        return state.phase_step % self._every == 0

    def _log_gamma(self, state: TrainState) -> Tensor:
        """Prices ln gamma [J] now, before the ramp."""
        return self.price.log_gamma(state.structure, self._cost, guide_of(state).theta.detach())


def guide_of(state: TrainState) -> GateGuide:
    """The guide among the state's modules."""
    guide = state.modules[GUIDE]
    assert isinstance(guide, GateGuide)
    return guide


def gate_optimizer(state: TrainState) -> ProjectedGateDescent:
    """The optimizer of the gates."""
    optimizer = state.optimizers[GATES]
    assert isinstance(optimizer, ProjectedGateDescent)
    return optimizer


def check_follows(guide: GateGuide) -> None:
    """Refuse a guide that cannot follow a network that shrinks.

    Raises:
        SettingError: it holds a guide of Pyro's over the weights.
    """
    if guide.weights is not None:
        raise SettingError(
            "the training loop shrinks its network, and a guide of Pyro's over the weights cannot follow: take "
            "GateGuide(model) or GaussianWeightGuide(model), or train it by pyro.infer.SVI (docs/pyro.md)"
        )

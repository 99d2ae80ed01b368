"""The Bayesian objective of the training loop: the ELBO per example, with prices that follow a ramp."""

from torch import Tensor

from bayesprune.errors import SettingError
from bayesprune.inference.elbo import GatedELBO
from bayesprune.inference.estimators import GateEstimator
from bayesprune.inference.guides import GateGuide
from bayesprune.inference.projected import ProjectedGateDescent
from bayesprune.models.gated import GatedModel
from bayesprune.models.prices import Price
from bayesprune.models.priors.gates import FlatteningGatePrior
from bayesprune.models.priors.weights import GaussianSlab, WeightPrior
from bayesprune.structure import ExpectedCost
from bayesprune.training import TrainState

GUIDE, GATES = "guide", "gates"
"""Names of the guide among the state's modules and of the gates' optimizer."""


class GatedObjective:
    """Negative ELBO per training example of a gated network.

    Args:
        price: of the gates.
        estimator: of their gradient.
        size: training examples N.
        ramp: steps over which the prices rise linearly to their full height; 0 for none.
        weight_prior: of the slab.
    """

    needs_labels = True

    def __init__(
        self,
        price: Price,
        estimator: GateEstimator,
        size: int,
        *,
        ramp: int = 0,
        weight_prior: WeightPrior | None = None,
    ) -> None:
        if ramp < 0:
            raise SettingError(f"ramp must be >= 0 steps, not {ramp}")
        self.price, self.estimator, self.size, self.ramp = price, estimator, size, ramp
        self.weight_prior = weight_prior or GaussianSlab()
        self._model: GatedModel | None = None

    def attach(self, state: TrainState) -> None:
        """Make the Pyro model of the network as it is now, and bind the guide to it."""
        self.detach()
        guide = guide_of(state)
        positions = {layer.name: layer.positions for layer in state.layers()}
        self._cost = ExpectedCost(state.network, state.structure, positions)
        self._prior = FlatteningGatePrior(self._log_gamma(state))
        self._model = GatedModel(state.network, state.structure, self._prior, self.size, weight_prior=self.weight_prior)
        guide.bind(self._model)
        self._elbo = GatedELBO(self.estimator)(self._model, guide)

    def detach(self) -> None:
        """Take the gates off the network."""
        if self._model is not None:
            self._model.close()
            self._model = None

    def loss(self, state: TrainState, inputs: Tensor, labels: Tensor | None) -> Tensor:
        """Negative ELBO of a mini-batch divided by N; tells the gates' optimizer the prices."""
        factor = min(1.0, (state.phase_step + 1) / self.ramp) if self.ramp else 1.0
        full = self._log_gamma(state)
        self._prior.set_log_gamma(full * factor)
        optimizer = state.optimizers[GATES]
        assert isinstance(optimizer, ProjectedGateDescent)
        optimizer.prices, optimizer.ramp = full / self.size, factor
        guide = guide_of(state)
        guide.theta.grad = None
        negative_elbo: Tensor = self._elbo(inputs, labels)
        return negative_elbo / self.size

    def passes(self, batch_size: int) -> float:
        """The estimator's cost."""
        return self.estimator.passes(batch_size)

    def _log_gamma(self, state: TrainState) -> Tensor:
        """Prices ln gamma [J] now, before the ramp."""
        return self.price.log_gamma(state.structure, self._cost, guide_of(state).theta.detach())


def guide_of(state: TrainState) -> GateGuide:
    """The guide among the state's modules."""
    guide = state.modules[GUIDE]
    assert isinstance(guide, GateGuide)
    return guide

"""The negative ELBO of any gate prior, weight prior, likelihood, guide and estimator as an objective of the loop."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from bayesprune.inference import onset
from bayesprune.inference.elbo import GatedELBO
from bayesprune.inference.estimators import GateEstimator
from bayesprune.inference.guides import PRIOR_WHEN_CLOSED, GateGuide
from bayesprune.inference.objective import DEVIATIONS, GATES, PerExample, guide_of
from bayesprune.inference.projected import ProjectedGateDescent
from bayesprune.inference.ramp import Ramp
from bayesprune.inference.warm_up import observe
from bayesprune.models.gated import GatedModel
from bayesprune.models.likelihoods import Likelihood
from bayesprune.models.priors.gates import FlatteningGatePrior, GatePrior
from bayesprune.models.priors.weights import WeightPrior
from bayesprune.structure import Structure
from bayesprune.training import TrainState

MakeGatePrior = Callable[[Structure], GatePrior]
"""From the groups as they are now to a prior over their gates; called anew whenever channels were removed."""


class ElboObjective(PerExample):
    """Negative ELBO in nats per training example; `GatedELBO` counts those of all examples.

    Args:
        gate_prior: makes the prior over the present gates.
        size: training examples N.
        weight_prior: of the slab.
        estimator: of the likelihood's gradient in the gates.
        warm_up: until it begins the means learn alone. Gates that Adam moves learn once it has risen to 1; prices of
            projected gates rise with it. None for all at once.
        likelihood: None for the task's.
    """

    def __init__(
        self,
        gate_prior: MakeGatePrior,
        size: int,
        weight_prior: WeightPrior,
        estimator: GateEstimator,
        warm_up: Ramp | None = None,
        likelihood: Likelihood | None = None,
    ) -> None:
        self.gate_prior, self.size, self.weight_prior, self.estimator = gate_prior, size, weight_prior, estimator
        self.warm_up, self.likelihood = warm_up, likelihood

    def _make_prior(self, state: TrainState, guide: GateGuide) -> Any:
        prior: Any = self.gate_prior(state.structure)
        self._prior = prior.to(guide.theta) if hasattr(prior, "to") else prior
        self._full = self._prior.log_gamma.clone() if isinstance(self._prior, FlatteningGatePrior) else None
        return self._prior

    def _make_elbos(self, state: TrainState, model: GatedModel, guide: GateGuide) -> None:
        self._counts_weights = getattr(guide, "kind", "") == PRIOR_WHEN_CLOSED
        self._elbo = GatedELBO(self.estimator)(model, guide)

    def loss(self, state: TrainState, inputs: Any, labels: Any) -> Tensor:
        """Negative ELBO of a mini-batch divided by N; the losses of auxiliary outputs are added."""
        onset.direct(state)
        self._direct(state)
        assert isinstance(self._elbo.elbo, GatedELBO)
        self._elbo.elbo.penalised = not onset.waits(state)
        guide_of(state).noiseless = onset.waits(state)
        loss: Tensor = self._elbo(inputs, labels) / self.size
        observe(self.warm_up, None, state, self._elbo.elbo.data_loss)
        return loss if state.heads is None else loss + state.heads.loss(state.likelihood, labels)

    def kind(self, state: TrainState) -> str:
        """All steps do the same, other than those that wait."""
        return "step" + onset.kind(state)

    def _direct(self, state: TrainState) -> None:
        """Tell the optimizers of gates and deviations whether they wait, and projected gates their prices."""
        warm_up, gates = self.warm_up, state.optimizers.get(GATES)
        waits, factor = (False, 1.0) if warm_up is None else (warm_up.waits(state), warm_up.factor(state))
        if onset.waits(state):
            waits, factor = True, 0.0
        if warm_up is not None:
            onset.hold(state, DEVIATIONS, waits)
        if not isinstance(gates, ProjectedGateDescent):
            if warm_up is not None:
                onset.hold(state, GATES, factor < 1)
            return
        assert self._full is not None and isinstance(self._prior, FlatteningGatePrior)  # `check_parts`
        if self._counts_weights and factor < 1:
            waits = True  # closing a gate would save what its weights cost before they have learnt their deviations
        self._prior.set_log_gamma(self._full * factor)
        gates.prices, gates.ramp, gates.stands_for = self._full / self.size, factor, 1
        gates.waits = waits
        gates.opens = onset.stalls(state) or (warm_up is not None and warm_up.opens(state))

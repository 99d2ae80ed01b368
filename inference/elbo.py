"""The evidence lower bound of a gated network, as a Pyro ELBO that is used as a module."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyro.infer.elbo import ELBO
from pyro.infer.enum import get_importance_trace
from pyro.poutine.runtime import am_i_wrapped
from torch import Tensor, nn

from bayesprune.batches import count, take
from bayesprune.devices import number
from bayesprune.errors import SettingError
from bayesprune.inference.estimators import GateEstimator, SampledLabelCurvature
from bayesprune.inference.guides import GateGuide
from bayesprune.inference.handlers import GateHandler
from bayesprune.models.gated import GatedModel


class GatedELBO(ELBO):
    """Negative ELBO in nats of the whole training set, with a gate estimator for its gradient.

    `GatedELBO(estimator)(model, guide)` is a `torch.nn.Module`; called with a mini-batch (inputs, labels) it returns
    an unbiased estimate of

        sum_n E_z[-log p(y_n | x_n, z, w)] + gate penalty(theta) + weight penalty,

    the data term scaled by N/B in this one place (by the model's plate), the gate term in closed form and counted
    once. `backward()` fills the gradients of the weights and of theta, the latter by the estimator. It has the
    expectation of `pyro.infer.Trace_ELBO` on the same model and guide.

    Attributes:
        data_loss: mean negative log-likelihood of the last mini-batch; on an accelerator a tensor, to be read later.

    Args:
        estimator: of the gates' gradient; sampled-label curvature by default.
    """

    def __init__(self, estimator: GateEstimator | None = None) -> None:
        super().__init__()
        self.estimator = estimator or SampledLabelCurvature()
        self.data_loss: float | Tensor = 0.0

    def differentiable_loss(self, model: Any, guide: Any, inputs: Any, labels: Any) -> Tensor:
        """The estimate for one mini-batch, ready for `backward()`."""
        problem = MiniBatch(model, guide, inputs, labels)
        with guide.local_noise():
            data = self.estimator.loss(problem, guide.theta)
        self.data_loss = number(data.detach())
        return data * problem.weight + problem.penalty(guide.theta)

    def loss(self, model: Any, guide: Any, inputs: Any, labels: Any) -> float:
        """The estimate for one mini-batch as a number."""
        return float(self.differentiable_loss(model, guide, inputs, labels).item())

    def loss_and_grads(self, model: Any, guide: Any, inputs: Any, labels: Any) -> float:
        """The estimate as a number, its gradients accumulated."""
        loss = self.differentiable_loss(model, guide, inputs, labels)
        loss.backward()
        return float(loss.item())

    def _get_trace(self, model: Any, guide: Any, args: Any, kwargs: Any) -> Any:
        """The traces of model and guide with global gates, as Pyro's own tools expect them."""
        return get_importance_trace("flat", self.max_plate_nesting, model, guide, args, kwargs)


class MiniBatch:
    """What an estimator sees of a model: its predictions under gates, through Pyro's handlers.

    Raises:
        SettingError: one of model and guide has a law of the weights, the other takes them as they are.
    """

    def __init__(self, model: GatedModel, guide: GateGuide, inputs: Any, labels: Any) -> None:
        self._model, self._guide = model, guide
        self._inputs, self._labels = inputs, labels
        self._weights = guide.sample_weights()
        if bool(self._weights) != model.weight_sites:
            raise SettingError(
                f"{type(guide).__name__} does not fit a model with weight_sites={model.weight_sites}: "
                "GaussianWeightGuide goes with weight_sites=True, GateGuide with weight_sites=False"
            )
        self._weight_log_prob: Tensor | None = None
        self._weight: float | None = None
        self._plain = type(model).forward is GatedModel.forward and not am_i_wrapped()

    @property
    def size(self) -> int:
        """Examples in the mini-batch."""
        return count(self._inputs)

    @property
    def weight(self) -> float:
        """What the mini-batch's mean stands for: N, from the plate's scale N/B; known after the first `predict`."""
        if self._weight is None:
            raise SettingError("predict first: the model's plate says how many examples a mini-batch stands for")
        return self._weight

    def predict(self, gates: Tensor, rows: Tensor | None = None) -> Any:
        """The distribution of the labels under gates [J] or [B, J]."""
        inputs = self._inputs if rows is None else take(self._inputs, rows)
        if self._plain:
            return self._predict_plainly(inputs, gates)
        with GateHandler(gates, self._weights) as handler:
            self._model(inputs, self.labels(rows))
        if self._weight is None:
            self._weight = float(handler.scale) * count(inputs)
            self._weight_log_prob = handler.weight_log_prob
        return handler.predicted

    def _predict_plainly(self, inputs: Any, gates: Tensor) -> Any:
        """What the program gives under `GateHandler`, without Pyro's calls: a tenth of a small network's step.

        For the program as `GatedModel` has it only, and while no handler of the user's wants to see its sites.
        """
        model = self._model
        predicted = model.likelihood(model.outputs(inputs, gates, self._weights))
        if self._weight is None:
            self._weight = float(model.size)
            self._weight_log_prob = None if self._weights else model.weight_log_prob()
        return predicted

    def labels(self, rows: Tensor | None = None) -> Any:
        """The observed targets."""
        return self._labels if rows is None else take(self._labels, rows)

    @contextmanager
    def apart(self) -> Iterator[bool]:
        """For a while examples do not see each other: batch normalisation takes its running statistics.

        Yields whether that makes a difference. Losses of single examples are comparable only so, and passes that
        only measure leave the running statistics alone.
        """
        norms = [m for m in self._model.network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        coupled = [norm for norm in norms if norm.training]
        for norm in coupled:
            norm.training = False
        try:
            yield bool(coupled)
        finally:
            for norm in coupled:
                norm.training = True

    def penalty(self, theta: Tensor) -> Tensor:
        """Gate and weight terms in nats, counted once."""
        total = self._model.gate_prior.penalty(theta).sum()
        gaussian = self._guide.weight_penalty(theta)
        if gaussian is not None:
            return total + gaussian
        return total if self._weight_log_prob is None else total - self._weight_log_prob

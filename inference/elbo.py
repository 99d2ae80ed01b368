"""The evidence lower bound of a gated network, as a Pyro ELBO that is used as a module."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from pyro.infer.elbo import ELBO
from pyro.infer.enum import get_importance_trace
from pyro.poutine.runtime import am_i_wrapped
from torch import Tensor, nn

from bayesprune.batches import count, take
from bayesprune.devices import number
from bayesprune.errors import SettingError
from bayesprune.inference.estimators import GateEstimator, SampledLabelCurvature
from bayesprune.inference.fit import WITH_SITES, check_box, check_fit, is_own
from bayesprune.inference.guides import GaussianWeightGuide
from bayesprune.inference.handlers import FoundSiteError, GateHandler, Lookout
from bayesprune.inference.laws import check_laws
from bayesprune.inference.programs import Program
from bayesprune.models.gated import GatedModel
from bayesprune.models.parameters import are_collected, tell_all
from bayesprune.models.priors.weights import GaussianSlab


class GatedELBO(ELBO):
    """Negative ELBO in nats of the whole training set, with a gate estimator for its gradient.

    It is a loss of `pyro.infer.SVI`, with `GatedOptim` as its optimizer, and a module for loops of one's own. Divided
    by N it is the loss of `GatedObjective`, which like all objectives of the training loop counts nats per example.

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
        with getattr(guide, "local_noise", nullcontext)():  # a guide of the user's need not have it
            data = self.estimator.loss(problem, guide.theta)
        self.data_loss = number(data.detach())
        return data * problem.weight + problem.penalty(guide.theta)

    def loss(self, model: Any, guide: Any, inputs: Any, labels: Any = None) -> float:
        """The estimate for one mini-batch as a number."""
        with torch.enable_grad():  # estimators differentiate, and `SVI.evaluate_loss` says no_grad
            return float(self.differentiable_loss(model, guide, inputs, labels).item())

    def loss_and_grads(self, model: Any, guide: Any, inputs: Any, labels: Any = None) -> float:
        """The estimate as a number, its gradients accumulated: what `pyro.infer.SVI` calls at every step.

        Raises:
            SettingError: see `MiniBatch`; or theta has left [0, 1], moved by another optimizer than `GatedOptim`.
        """
        loss = self.differentiable_loss(model, guide, inputs, labels)
        check_box(guide.theta)
        loss.backward()
        return float(loss.item())

    def attach(self, state: Any) -> None:
        """Refuse to be an objective of the training loop.

        Raises:
            SettingError: always; the loop counts nats per training example, and this nats of all of them.
        """
        raise SettingError(
            "GatedELBO counts nats of the whole training set, objectives of the training loop nats per example: "
            "take GatedObjective"
        )

    def _get_trace(self, model: Any, guide: Any, args: Any, kwargs: Any) -> Any:
        """The traces of model and guide with global gates, as Pyro's own tools expect them."""
        return get_importance_trace("flat", self.max_plate_nesting, model, guide, args, kwargs)


class MiniBatch:
    """What an estimator sees of a model: its predictions under gates, through Pyro's handlers.

    Model and guide of this package are known, and only what changes is computed. Of a user's own the programs are run:
    every other site is scored or refused by name, see `Program`.

    Raises:
        SettingError: model and guide do not fit, or a site of theirs cannot be scored.
    """

    def __init__(self, model: GatedModel, guide: Any, inputs: Any, labels: Any) -> None:
        check_fit(model, guide)
        if labels is None:
            raise SettingError("labels are missing: call the ELBO with inputs and labels")
        self._model, self._guide = model, guide
        self._inputs, self._labels = inputs, labels
        self._weight_log_prob: Tensor | None = None
        self._weight: float | None = None
        self._program: Program | None = None
        self._weights: dict[str, Tensor] = {}
        self._plain, self._scores_weights = False, True
        if not is_own(model, guide):
            self._run_programs()
            return
        self._weights = guide.sample_weights()
        if bool(self._weights) != model.weight_sites:
            raise SettingError(
                f"{type(guide).__name__} does not fit a model with weight_sites={model.weight_sites}: GateGuide goes "
                "with weight_sites=False, GaussianWeightGuide and GateGuide(weights=AutoNormal) with weight_sites=True"
            )
        self._plain = not am_i_wrapped()
        if not self._plain:
            guide.tell_parameters()

    @property
    def size(self) -> int:
        """Examples in the mini-batch."""
        return count(self._inputs)

    @property
    def per_example(self) -> bool:
        """Whether every example can have gates of its own."""
        return self._model.structure.per_example

    @property
    def weight(self) -> float:
        """What the mini-batch's mean stands for: N, from the plate's scale N/B; known after the first `predict`."""
        if self._weight is None:
            raise SettingError("predict first: the model's plate says how many examples a mini-batch stands for")
        return self._weight

    def predict(self, gates: Tensor, rows: Tensor | None = None) -> Any:
        """The distribution of the labels under gates [J] or [S, J]."""
        if gates.dim() == 2 and len(gates) == 1 and not self.per_example:
            gates = gates[0]
        inputs = self._inputs if rows is None else take(self._inputs, rows)
        if self._program is None:
            try:
                return self._predict_plainly(inputs, gates) if self._plain else self._predict(inputs, gates, rows)
            except FoundSiteError:  # the network's own program has sites
                WITH_SITES.add(self._model)
                self._run_programs()
        assert self._program is not None
        predicted = self._program.run(gates, inputs, self.labels(rows), rows)
        if self._weight is None:
            assert self._program.scale is not None
            self._weight = self._program.scale * count(inputs)
        return predicted

    def _predict_plainly(self, inputs: Any, gates: Tensor) -> Any:
        """What the program gives under `GateHandler`, without Pyro's calls: a tenth of a small network's step.

        For the program as `GatedModel` has it only, and while no handler of the user's wants to see its sites.
        """
        model = self._model
        with Lookout():
            predicted = model.likelihood(model.outputs(inputs, gates, self._weights))
        if self._weight is None:
            self._weight = float(model.size)
            self._weight_log_prob = None if self._weights else model.weight_log_prob()
        return predicted

    def _predict(self, inputs: Any, gates: Tensor, rows: Tensor | None) -> Any:
        """What the program of this package says, seen by handlers of the user's."""
        with GateHandler(gates, self._weights) as handler:
            self._model(inputs, self.labels(rows))
        if self._weight is None:
            self._weight = float(handler.scale) * count(inputs)
            self._weight_log_prob = handler.weight_log_prob
        return handler.predicted

    def _run_programs(self) -> None:
        """Go by the programs of model and guide, once it is sure that closed forms may stand for their gates."""
        model, guide, inputs, labels = self._model, self._guide, self._inputs, self._labels
        if isinstance(guide, nn.Module) and are_collected():
            tell_all("guide", guide)  # a guide of the user's need not
        slab = model.weight_sites and type(model.weight_prior) is GaussianSlab
        self._scores_weights = slab and isinstance(guide, GaussianWeightGuide)
        given = guide.sample_weights() if self._scores_weights else {}
        self._program = Program(model, guide, inputs, labels, given)
        with self.apart():
            check_laws(model, guide, self._program.drawn, self._program.closed, inputs, labels)

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
        """Gate and weight terms, and those of all other sites, in nats, counted once."""
        total = self._model.gate_prior.penalty(theta).sum()
        if self._program is not None:
            total = total + self._program.rest
        gaussian: Tensor | None = self._guide.weight_penalty(theta) if self._scores_weights else None
        if gaussian is not None:
            return total + gaussian
        return total if self._weight_log_prob is None else total - self._weight_log_prob

"""Every task under gates: the ELBO against the 2^J sum written out, and the estimators' means against enumeration."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Categorical, Exponential, Independent, Normal, Poisson

from bayesprune.inference.elbo import GatedELBO, MiniBatch
from bayesprune.inference.estimators import estimator
from bayesprune.inference.guides import GateGuide
from bayesprune.inference.references.oracle import expected_loss, negative_elbo
from bayesprune.models import LeNet300
from bayesprune.models.gated import GatedModel
from bayesprune.models.likelihoods import TaskLikelihood
from bayesprune.models.priors.gates import FlatteningGatePrior
from bayesprune.structure import find
from bayesprune.tasks import Likelihood, OwnTask, likelihood
from bayesprune.tasks.likelihood import IGNORED

if TYPE_CHECKING:
    from tests.inference.conftest import Moments

THETA = (0.25, 0.6, 0.5, 0.875, 0.4, 0.7)
EXAMPLES, COPIES, STEPS = 5, 40, 100
Reduce = Callable[[Iterable[Tensor]], "Moments"]


class Law(NamedTuple):
    """A task's likelihood, its law by torch with batch shape [B] or [B, ...], and the information of its outputs."""

    make: Callable[[], Likelihood]
    law: Callable[[Tensor], Any]
    information: Callable[[Tensor], Tensor]
    """[B, K] (one position, or independent outputs) to [B, K, K]; -E of the Hessian of the log-likelihood."""
    weights: str = ""
    ignores: bool = False


def of_classes(outputs: Tensor) -> Tensor:
    p = outputs.softmax(1)
    return torch.diag_embed(p) - p.unsqueeze(2) * p.unsqueeze(1)


def of_tags(outputs: Tensor) -> Tensor:
    return torch.diag_embed(outputs.sigmoid() * (1 - outputs.sigmoid()))


DEVIATIONS = (0.5, 2.0, 1.0)
OWN = OwnTask(law=lambda outputs: Independent(Exponential(outputs.exp()), 1))
LAWS = {
    "classes": Law(likelihood.Categorical, lambda o: Categorical(logits=o), of_classes),
    "weighted classes": Law(likelihood.Categorical, lambda o: Categorical(logits=o), of_classes, "examples"),
    "positions": Law(likelihood.Positions, lambda o: Categorical(logits=o.movedim(1, -1)), of_classes, ignores=True),
    "tags": Law(likelihood.Bernoulli, lambda o: Bernoulli(logits=o), of_tags),
    "weighted tags": Law(likelihood.Bernoulli, lambda o: Bernoulli(logits=o), of_tags, "targets"),
    "numbers": Law(
        lambda: likelihood.Gaussian(3, DEVIATIONS),
        lambda o: Normal(o, torch.tensor(DEVIATIONS)),
        lambda o: torch.diag_embed((1 / torch.tensor(DEVIATIONS).double().square()).expand_as(o)),
    ),
    "learnt noise": Law(
        lambda: likelihood.Gaussian(3), lambda o: Normal(o, 1.0), lambda o: torch.diag_embed(torch.ones_like(o))
    ),
    "counts": Law(likelihood.Poisson, lambda o: Poisson(o.exp()), lambda o: torch.diag_embed(o.exp())),
    "weighted counts": Law(
        likelihood.Poisson, lambda o: Poisson(o.exp()), lambda o: torch.diag_embed(o.exp()), "examples"
    ),
    "own law": Law(OWN.likelihood, lambda o: Exponential(o.exp()), lambda o: torch.diag_embed(torch.ones_like(o))),
}
EVERY = pytest.mark.parametrize("law", LAWS.values(), ids=list(LAWS))


class Tagger(nn.Module):
    """The perceptron's three logits as those of one position."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.inside(inputs)
        return logits[:, :, None]


class Case(NamedTuple):
    """A gated perceptron 4-3-3-3, its guide, and the whole of its data."""

    model: GatedModel
    guide: GateGuide
    inputs: Tensor
    labels: Any
    inside: Any


def case_of(law: Law) -> Case:
    torch.manual_seed(3)
    inside = LeNet300((3, 3), (4,), 3).double()
    for parameter in inside.parameters():
        nn.init.normal_(parameter, 0.0, 0.6)
    network = Tagger(inside) if law.ignores else inside
    inputs = torch.randn(EXAMPLES, 4, dtype=torch.float64)
    targets = law.law(network(inputs).detach()).sample()
    if law.ignores:
        targets[1] = IGNORED
    shape = {"": None, "examples": (EXAMPLES,), "targets": tuple(targets.shape)}[law.weights]
    labels = targets if shape is None else (targets, 2 * torch.rand(shape, dtype=torch.float64))
    structure = find(network, inputs, inputs="none")
    prior = FlatteningGatePrior(torch.full((structure.gate_count,), 2.0).double())
    likely = TaskLikelihood(law.make().double())
    model = GatedModel(network, structure, prior, EXAMPLES, likelihood=likely)
    guide = GateGuide(model).double()
    with torch.no_grad():
        guide.theta.copy_(torch.tensor(THETA))
    return Case(model, guide, inputs, labels, inside)


def settings() -> Iterator[tuple[Tensor, Tensor]]:
    """All gates [6], each with its chance."""
    theta = torch.tensor(THETA).double()
    for chosen in product([0.0, 1.0], repeat=6):
        gates = torch.tensor(chosen, dtype=torch.float64)
        yield gates, torch.where(gates > 0, theta, 1 - theta).prod()


def outputs_of(case: Case, gates: Tensor) -> Tensor:
    """The perceptron written out: [B, 3]."""
    hidden = case.inside.fc1(case.inputs).relu() * gates[..., :3]
    outputs: Tensor = case.inside.fc3(case.inside.fc2(hidden).relu() * gates[..., 3:])
    return outputs


def importance(case: Case) -> Tensor:
    """[B, 1] or [B, 3]: what each target counts."""
    targets, weights = case.labels if isinstance(case.labels, tuple) else (case.labels, None)
    if weights is not None:
        return weights if weights.dim() > 1 else weights[:, None]
    counts: Tensor = (targets != IGNORED).double()
    return counts if counts.dim() > 1 else counts[:, None]


def by_hand(case: Case, law: Law, gates: Tensor) -> Tensor:
    """Negative log-likelihood [B] by torch's distributions."""
    targets = case.labels[0] if isinstance(case.labels, tuple) else case.labels
    outputs = outputs_of(case, gates)
    outputs = outputs[:, :, None] if law.ignores else outputs
    terms = -law.law(outputs).log_prob(targets.clamp_min(0) if law.ignores else targets)
    terms = terms if terms.dim() > 1 else terms[:, None]
    return (terms * importance(case)).sum(1)


def repeated(case: Case) -> tuple[Tensor, Any]:
    """The whole data several times, with gates of its own for every copy."""

    def many(tensor: Tensor) -> Tensor:
        return tensor.repeat(COPIES, *[1] * (tensor.dim() - 1))

    labels = tuple(map(many, case.labels)) if isinstance(case.labels, tuple) else many(case.labels)
    return many(case.inputs), labels


@EVERY
def test_the_oracle_is_the_sum_over_all_gates(law: Law) -> None:
    case = case_of(law)
    loss = sum(chance * by_hand(case, law, gates).sum() for gates, chance in settings())
    problem = MiniBatch(*case[:4])
    problem.predict(case.guide.theta)
    expected = loss + problem.penalty(case.guide.theta)
    torch.testing.assert_close(negative_elbo(*case[:4]), expected.detach(), rtol=1e-6, atol=1e-6)


@EVERY
@pytest.mark.parametrize("name", ["curvature", "salient-flips", "disarm", "score-function"])
def test_the_mean_of_the_elbo_is_the_oracle(name: str, law: Law, moments: Reduce) -> None:
    case = case_of(law)
    elbo = GatedELBO(estimator(name))(case.model, case.guide)
    torch.manual_seed(0)
    measured = moments(elbo(*repeated(case)) for _ in range(STEPS))
    assert float(measured.distance(negative_elbo(*case[:4]))) < 4


@EVERY
@pytest.mark.parametrize("name", ["salient-flips", "disarm", "score-function"])
def test_the_mean_gradient_is_the_enumerated_one(name: str, law: Law, moments: Reduce) -> None:
    case = case_of(law)
    _, truth = expected_loss(*case[:4])
    torch.manual_seed(0)
    measured = moments(slopes(case, name))
    assert float(measured.distance(truth).max()) < 4.5
    assert float(measured.error.max()) < 0.3 * float(truth.abs().max())


@EVERY
def test_the_mean_of_curvature_is_the_second_order_difference(law: Law, moments: Reduce) -> None:
    """mean_n E_z[dl/dz_j + (1/2 - z_j) (da/dz_j)^T I(a) (da/dz_j)], I the information of the outputs a."""
    case = case_of(law)
    truth: Tensor = torch.zeros(6, dtype=torch.float64)
    for gates, chance in settings():
        every = gates.expand(EXAMPLES, 6).clone().requires_grad_()
        (first,) = torch.autograd.grad(by_hand(case, law, every).sum(), every)
        outputs = outputs_of(case, every)
        rows = [torch.autograd.grad(outputs[:, k].sum(), every, retain_graph=True)[0] for k in range(3)]
        slope = torch.stack(rows, 1)  # [B, K, J]
        scale = importance(case).sqrt()
        if scale.shape[1] == 1:
            scale = scale.expand(-1, 3)
        slope = slope * scale[:, :, None]
        second = torch.einsum("bkj,bkl,blj->bj", slope, law.information(outputs.detach()), slope)
        truth += chance.detach() * (first + (0.5 - gates) * second).mean(0).detach()
    torch.manual_seed(0)
    assert float(moments(slopes(case, "curvature")).distance(truth).max()) < 4.5


def slopes(case: Case, name: str) -> Iterator[Tensor]:
    """The estimates of the gates' gradient, one step after the other."""
    inputs, labels = repeated(case)
    for _ in range(STEPS):
        loss = estimator(name).loss(MiniBatch(case.model, case.guide, inputs, labels), case.guide.theta)
        yield torch.autograd.grad(loss, case.guide.theta)[0]


def test_the_elbo_trains_learnt_noise() -> None:
    case = case_of(LAWS["learnt noise"])
    parameter = next(iter(case.model.likelihood.likelihood.parameters()))  # type: ignore[attr-defined]
    torch.manual_seed(0)
    loss: Tensor = GatedELBO()(case.model, case.guide)(case.inputs, case.labels)
    assert float(torch.autograd.grad(loss, parameter)[0].abs().min()) > 0

"""The ELBO against the 2^J sum, against Pyro's own, and over mini-batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from functools import partial
from itertools import combinations
from math import exp, log, pi
from typing import TYPE_CHECKING, Any

import pyro
import pytest
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor

from bayesprune.errors import SettingError
from bayesprune.inference.elbo import GatedELBO, MiniBatch
from bayesprune.inference.estimators import DisARM, SalientFlips, estimator
from bayesprune.inference.guides import GateGuide, GaussianWeightGuide
from bayesprune.inference.references.oracle import negative_elbo
from bayesprune.models.gated import GatedModel
from bayesprune.models.likelihoods import GaussianLikelihood
from bayesprune.models.priors.gates import FixedGatePrior
from bayesprune.models.priors.weights import GaussianSlab

if TYPE_CHECKING:
    from tests.inference.conftest import Moments, Tiny

ByHand = Callable[["Tiny"], tuple[Tensor, Tensor]]
Reduce = Callable[[Iterable[Tensor]], "Moments"]
PRICES = (1.0, 2.0, 0.5, 4.0, -1.0, 3.0)


@pytest.fixture(autouse=True)
def _empty_store() -> Iterator[None]:
    """Nothing may enter Pyro's global parameter store."""
    pyro.clear_param_store()
    yield
    assert list(pyro.get_param_store().keys()) == []


def exact(case: Tiny, by_hand: ByHand, scale: float = 1.0) -> Tensor:
    """N E[loss] + sum_j [theta_j ln gamma_j + ln(ln gamma_j / (gamma_j - 1))] - ln N(w; 0, scale^2)."""
    loss, _ = by_hand(case)
    prior: Any = case.model.gate_prior
    gates = sum(
        theta * price + log(price / (exp(price) - 1))
        for theta, price in zip(case.guide.theta.tolist(), prior.log_gamma.tolist(), strict=True)
    )
    weights = torch.cat([w.flatten() for w in case.model.network.parameters()])
    slab = (weights**2 / (2 * scale**2) + log(scale) + 0.5 * log(2 * pi)).sum()
    return len(case.inputs) * loss + gates + slab


def repeated(case: Tiny, copies: int) -> tuple[Tensor, Tensor]:
    """The whole data several times: a mini-batch larger than N, with gates of its own for every copy."""
    return case.inputs.repeat(copies, 1), case.labels.repeat(copies, *[1] * (case.labels.dim() - 1))


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_oracle_is_the_formula(scale: float, tiny: Callable[..., Tiny], by_hand: ByHand) -> None:
    case = tiny(log_gamma=PRICES, weight_prior=GaussianSlab(scale))
    torch.testing.assert_close(negative_elbo(*case), exact(case, by_hand, scale).detach(), rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("name", ["curvature", "salient-flips", "uniform-flips", "disarm", "score-function"])
def test_mean_is_the_oracle(name: str, tiny: Callable[..., Tiny], moments: Reduce) -> None:
    """The value of every estimator's ELBO, over 10,000 draws of gates."""
    case = tiny(log_gamma=PRICES)
    elbo = GatedELBO(estimator(name))(case.model, case.guide)
    torch.manual_seed(0)
    measured = moments(elbo(*repeated(case, 20)) for _ in range(100))
    assert float(measured.distance(negative_elbo(*case))) < 3
    assert float(measured.error) < 0.1


def test_gradient_is_the_oracle_s(tiny: Callable[..., Tiny], by_hand: ByHand, moments: Reduce) -> None:
    """In theta and in all weights, prior terms included, of the one loss whose `backward` training calls."""
    case = tiny(log_gamma=PRICES)
    elbo = GatedELBO(SalientFlips())(case.model, case.guide)
    parameters = [case.guide.theta, *case.model.network.parameters()]
    loss, _ = by_hand(case)
    data = torch.autograd.grad(loss, parameters)
    truth = [5 * data[0] + torch.tensor(PRICES).double()]
    truth += [5 * slope + weight.detach() for slope, weight in zip(data[1:], parameters[1:], strict=True)]

    def gradients() -> Iterator[Tensor]:
        for _ in range(100):
            slopes = torch.autograd.grad(elbo(*repeated(case, 20)), parameters)
            yield torch.cat([slope.flatten() for slope in slopes])

    torch.manual_seed(0)
    distance = moments(gradients()).distance(torch.cat([slope.flatten() for slope in truth]))
    assert float(distance[:6].max()) < 3
    assert float(distance[6:].max()) < 4.5


def test_pyro_s_elbo_has_the_same_expectation(tiny: Callable[..., Tiny], by_hand: ByHand, moments: Reduce) -> None:
    """`Trace_ELBO` of the same model and guide, global gates: value, and gradients in theta and the weights.

    It scores pi, z and the weights term by term; the constant of the hyper-prior is part of it.
    """
    case = tiny(log_gamma=PRICES)
    parameters = [case.guide.theta, *case.model.network.parameters()]
    slopes = torch.autograd.grad(exact(case, by_hand), parameters)
    truth = torch.cat([negative_elbo(*case).reshape(1), *(slope.flatten() for slope in slopes)])
    torch.manual_seed(0)
    with pyro.settings.context(module_local_params=True):
        elbo = Trace_ELBO()(case.model, case.guide)

        def draws() -> Iterator[Tensor]:
            for _ in range(800):
                loss = elbo(case.inputs, case.labels)
                slopes = torch.autograd.grad(loss, parameters)
                yield torch.cat([loss.reshape(1), *(slope.flatten() for slope in slopes)])

        measured = moments(draws())
    distance = measured.distance(truth)
    assert float(distance[:7].max()) < 3
    assert float(distance[7:].max()) < 4.5
    prices = torch.tensor(PRICES)
    gate_terms = float((torch.tensor(case.guide.theta.tolist()) * prices).sum())
    constant = float((prices / prices.expm1()).log().sum())
    assert min(abs(gate_terms), abs(constant)) > 10 * float(measured.error[0])  # neither could be missing
    assert {id(p) for p in elbo.parameters()} == {id(p) for p in (*case.guide.parameters(), *case.model.parameters())}


def test_fixed_gate_prior(tiny: Callable[..., Tiny], by_hand: ByHand, moments: Reduce) -> None:
    """Without the site "pi": the ordinary Bernoulli KL, in both ELBOs."""
    inclusion = torch.tensor([0.1, 0.5, 0.9, 0.3, 0.3, 0.6]).double()
    case = tiny(gate_prior=FixedGatePrior(inclusion))
    theta = case.guide.theta.detach()
    divergence = theta * (theta / inclusion).log() + (1 - theta) * ((1 - theta) / (1 - inclusion)).log()
    weights = torch.cat([w.flatten() for w in case.model.network.parameters()])
    truth = 5 * by_hand(case)[0] + divergence.sum() + (weights**2 / 2 + 0.5 * log(2 * pi)).sum()
    torch.testing.assert_close(negative_elbo(*case), truth.detach())
    torch.manual_seed(0)
    ours = GatedELBO()(case.model, case.guide)
    assert float(moments(ours(*repeated(case, 20)) for _ in range(100)).distance(truth)) < 3
    pyros = Trace_ELBO()(case.model, case.guide)
    assert float(moments(pyros(case.inputs, case.labels) for _ in range(500)).distance(truth)) < 3


def test_gates_for_each_example_and_global_ones_have_the_same_expectation(
    tiny: Callable[..., Tiny], by_hand: ByHand, moments: Reduce
) -> None:
    """Every example's expected loss, once with one set of gates for all and once with its own."""
    case = tiny()
    problem, theta = MiniBatch(*case), case.guide.theta.detach()
    _, truth = by_hand(case)

    def losses(shape: tuple[int, ...]) -> Iterator[Tensor]:
        for _ in range(1000):
            gates = torch.bernoulli(theta.expand(*shape, 6) if shape else theta)
            yield -problem.predict(gates).log_prob(case.labels)

    torch.manual_seed(0)
    with torch.no_grad():
        shared, own = moments(losses(())), moments(losses((5,)))
    assert float(shared.distance(truth).max()) < 3.5
    assert float(own.distance(truth).max()) < 3.5
    # and they are not the same law: one set for all makes the mean loss vary more
    for gates in ([1.0, 0, 1, 1, 0, 1], [0.0, 1, 1, 0, 1, 1]):
        one = torch.tensor(gates).double()
        together = problem.predict(one.expand(5, 6)).log_prob(case.labels)
        torch.testing.assert_close(problem.predict(one).log_prob(case.labels), together)


def test_mini_batches_are_unbiased_exactly(tiny: Callable[..., Tiny]) -> None:
    """With decided gates nothing is random: the mean over all mini-batches of a size is the whole."""
    case = tiny(theta=(1.0, 0.0, 1.0, 1.0, 1.0, 0.0), examples=6)
    elbo = GatedELBO()(case.model, case.guide)
    whole = elbo(case.inputs, case.labels)
    torch.testing.assert_close(whole.detach(), negative_elbo(*case))
    for batches in (list(combinations(range(6), 2)), [(0, 1, 2), (3, 4, 5)], [(k,) for k in range(6)]):
        mean = sum(elbo(case.inputs[list(b)], case.labels[list(b)]) for b in batches) / len(batches)
        torch.testing.assert_close(mean, whole)
    parts = [elbo(case.inputs[:2], case.labels[:2]), elbo(case.inputs[2:], case.labels[2:])]
    torch.testing.assert_close(parts[0] * 2 / 6 + parts[1] * 4 / 6, whole)


def test_mini_batches_are_unbiased_in_expectation(tiny: Callable[..., Tiny], moments: Reduce) -> None:
    """With undecided gates, over random mini-batches of two: value and gradient in theta."""
    case = tiny(examples=6, log_gamma=PRICES)
    elbo = GatedELBO(SalientFlips(30))(case.model, case.guide)
    full = GatedELBO(SalientFlips(30))(case.model, case.guide)
    theta = case.guide.theta

    def draws(module: Any, size: int) -> Iterator[Tensor]:
        for _ in range(400):
            chosen = torch.randperm(6)[:size]
            loss = module(case.inputs[chosen], case.labels[chosen])
            yield torch.cat([loss.reshape(1), torch.autograd.grad(loss, theta)[0]])

    torch.manual_seed(0)
    small, whole = moments(draws(elbo, 2)), moments(draws(full, 6))
    assert float(small.distance(torch.cat([negative_elbo(*case).reshape(1), small.mean[1:]]))[0]) < 3
    error = (small.error.square() + whole.error.square()).sqrt()
    assert float(((small.mean - whole.mean).abs() / error).max()) < 3.5


def test_regression(tiny: Callable[..., Tiny], moments: Reduce) -> None:
    """A Gaussian likelihood of labels [B, 3]: both ELBOs, and its normalising constant."""
    case = tiny(seed=18, likelihood=GaussianLikelihood(2.0))
    case = case._replace(labels=torch.sin(case.inputs[:, :3]))
    truth = negative_elbo(*case)
    torch.manual_seed(0)
    ours, pyros = GatedELBO()(case.model, case.guide), Trace_ELBO()(case.model, case.guide)
    assert float(moments(ours(*repeated(case, 20)) for _ in range(100)).distance(truth)) < 3
    assert float(moments(pyros(case.inputs, case.labels) for _ in range(500)).distance(truth)) < 3
    network = case.model.network
    sure = tiny(seed=18, theta=1.0, likelihood=GaussianLikelihood(2.0))._replace(labels=case.labels)
    squares = ((case.labels - network(case.inputs)) ** 2 / (2 * 2.0**2) + log(2.0) + 0.5 * log(2 * pi)).sum()
    rest = MiniBatch(*sure)
    rest.predict(torch.ones(6).double())
    torch.testing.assert_close(negative_elbo(*sure), (squares + rest.penalty(sure.guide.theta)).detach())


@pytest.mark.parametrize(("kind", "inputs"), [("independent", "none"), ("prior_when_closed", "all")])
def test_gaussian_weights(kind: str, inputs: str, tiny: Callable[..., Tiny], moments: Reduce) -> None:
    """`Trace_ELBO` with the weights as sites has the expectation of the closed forms, for both kinds of guide."""
    case = tiny(
        guide=partial(GaussianWeightGuide, deviation=0.3, kind=kind), weight_sites=True, theta=0.6, inputs=inputs
    )
    ours, pyros = GatedELBO(DisARM())(case.model, case.guide), Trace_ELBO()(case.model, case.guide)
    torch.manual_seed(0)
    with torch.no_grad():
        theirs = moments(pyros(case.inputs, case.labels) for _ in range(400))
        mine = moments(ours(*repeated(case, 4)) for _ in range(200))
    error = float((theirs.error.square() + mine.error.square()).sqrt())
    assert abs(float(theirs.mean - mine.mean)) < 3 * error
    other = next(k for k in GaussianWeightGuide.kinds if k != kind)
    case.guide.kind = other  # type: ignore[assignment]  # Gaussian guides have a kind
    difference = GatedELBO()(case.model, case.guide)(*repeated(case, 400)) - mine.mean
    assert abs(difference.item()) > 10 * error  # the other kind would be noticed


def test_gradients_of_gaussian_weights_are_pyro_s(tiny: Callable[..., Tiny], moments: Reduce) -> None:
    """In theta, means and log deviations: the gated KL's slope in theta is part of the guide's."""
    case = tiny(guide=partial(GaussianWeightGuide, deviation=0.3, kind="prior_when_closed"), weight_sites=True)
    parameters = [*case.guide.parameters(), *case.model.network.parameters()]

    def gradients(elbo: Any, count: int, copies: int) -> Iterator[Tensor]:
        for _ in range(count):
            slopes = torch.autograd.grad(elbo(*repeated(case, copies)), parameters)
            yield torch.cat([slope.flatten() for slope in slopes])

    torch.manual_seed(0)
    theirs = moments(gradients(Trace_ELBO()(case.model, case.guide), 300, 1))
    mine = moments(gradients(GatedELBO(SalientFlips())(case.model, case.guide), 150, 20))
    error = (theirs.error.square() + mine.error.square()).sqrt()
    assert float(((theirs.mean - mine.mean).abs() / error).max()) < 4


def test_model_and_guide_must_agree_on_the_weights(tiny: Callable[..., Tiny]) -> None:
    """A Gaussian guide on a model without weight sites would be scored and never used; the reverse has no weights."""
    for guide, sites in ((GaussianWeightGuide, False), (GateGuide, True)):
        case = tiny(guide=guide, weight_sites=sites)
        with pytest.raises(SettingError, match="does not fit a model with weight_sites"):
            GatedELBO()(case.model, case.guide)(case.inputs, case.labels)


def test_two_models_share_nothing(tiny: Callable[..., Tiny]) -> None:
    """Training one of two models with the same names leaves the other and Pyro's global store alone."""
    first, second = tiny(), tiny(seed=1)
    before = [p.detach().clone() for p in (*second.model.parameters(), *second.guide.parameters())]
    for module in (Trace_ELBO()(first.model, first.guide), GatedELBO()(first.model, first.guide)):
        optimizer = torch.optim.Adam(module.parameters(), 0.01)
        start = [p.detach().clone() for p in module.parameters()]
        for _ in range(3):
            optimizer.zero_grad()
            module(first.inputs, first.labels).backward()
            optimizer.step()
        assert all(not torch.equal(a, b) for a, b in zip(start, module.parameters(), strict=True))
    after = [*second.model.parameters(), *second.guide.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_loss_and_grads_as_in_pyro_s_interface(tiny: Callable[..., Tiny]) -> None:
    """`loss` gives a number, `loss_and_grads` accumulates gradients, traces are those of global gates."""
    case = tiny(theta=(1.0, 0.0, 1.0, 1.0, 1.0, 0.0))
    elbo = GatedELBO()
    truth = float(negative_elbo(*case))
    assert elbo.loss(*case) == pytest.approx(truth)
    assert case.guide.theta.grad is None
    assert elbo.loss_and_grads(*case) == pytest.approx(truth)
    assert case.guide.theta.grad is not None
    model_trace, guide_trace = elbo._get_trace(case.model, case.guide, (case.inputs, case.labels), {})
    assert model_trace.nodes["z"]["value"].shape == guide_trace.nodes["z"]["value"].shape == (6,)
    with pytest.raises(SettingError, match="predict first"):
        _ = MiniBatch(*case).weight


def test_pyro_s_calls_are_made_only_where_somebody_looks(tiny: Callable[..., Tiny]) -> None:
    """The same value and gradients to the last bit with a handler around, which then sees the sites."""
    found, trace = [], pyro.poutine.trace()
    for handler in (nullcontext(), trace):
        case = tiny(log_gamma=PRICES)
        torch.manual_seed(3)
        with handler:
            loss = GatedELBO()(case.model, case.guide)(case.inputs[:3], case.labels[:3])
        loss.backward()
        found.append([loss, case.guide.theta.grad, *(weight.grad for weight in case.model.network.parameters())])
    assert {"pi", "z", "weights", "y"} <= set(trace.trace.nodes)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_a_program_of_the_user_s_is_run_as_it_is(tiny: Callable[..., Tiny]) -> None:
    class Own(GatedModel):
        def forward(self, inputs: Tensor, labels: Tensor | None = None) -> Any:
            return super().forward(-inputs, labels)

    case = tiny()
    own = Own(case.model.network, case.model.structure, case.model.gate_prior, case.model.size)
    gates = torch.ones(6).double()
    found = MiniBatch(own, case.guide, case.inputs, case.labels).predict(gates)
    assert torch.equal(found.logits, MiniBatch(case.model, case.guide, -case.inputs, case.labels).predict(gates).logits)

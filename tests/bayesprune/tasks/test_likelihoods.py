"""Every task's law against torch's distributions, autograd's Hessian and draws."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Distribution, Laplace, Normal, Poisson, kl_divergence

from bayesprune.tasks import OwnTask, likelihood
from bayesprune.tasks.likelihood import IGNORED, Likelihood

BATCH, DRAWS = 5, 20_000


class Case(NamedTuple):
    """A likelihood, the shape of an example's outputs, and the law of its targets by torch."""

    make: Callable[[], Likelihood]
    shape: tuple[int, ...]
    law: Callable[[Tensor], Distribution]
    closed: bool = True


def learnt(deviations: tuple[float, ...]) -> Likelihood:
    found = likelihood.Gaussian(len(deviations))
    with torch.no_grad():
        found.log_tenth.copy_(torch.tensor(deviations).log() / 10)
    return found


def own(law: Callable[[Tensor], Any]) -> Callable[[], Likelihood]:
    return lambda: OwnTask(law=law).likelihood()


CASES = {
    "classes": Case(likelihood.Categorical, (4,), lambda outputs: Categorical(logits=outputs)),
    "positions": Case(likelihood.Positions, (3, 6), lambda outputs: Categorical(logits=outputs.movedim(1, -1))),
    "binary": Case(likelihood.Bernoulli, (1,), lambda outputs: Bernoulli(logits=outputs)),
    "tags": Case(likelihood.Bernoulli, (3,), lambda outputs: Bernoulli(logits=outputs)),
    "known noise": Case(
        lambda: likelihood.Gaussian(2, (0.5, 2.0)), (2,), lambda outputs: Normal(outputs, torch.tensor([0.5, 2.0]))
    ),
    "learnt noise": Case(lambda: learnt((0.3, 1.5)), (2,), lambda outputs: Normal(outputs, torch.tensor([0.3, 1.5]))),
    "counts": Case(likelihood.Poisson, (2,), lambda outputs: Poisson(outputs.exp())),
    "own law": Case(own(lambda o: Laplace(o[:, 0], 0.7)), (1,), lambda outputs: Laplace(outputs[:, 0], 0.7)),
}
LAWS = pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))


def drawn(case: Case, batch: int = BATCH) -> tuple[Tensor, Tensor]:
    """Outputs and targets in double precision."""
    outputs = 0.8 * torch.randn(batch, *case.shape, dtype=torch.float64)
    return outputs, case.law(outputs).sample()


def summed(terms: Tensor) -> Tensor:
    return terms.flatten(1).sum(1) if terms.dim() > 1 else terms


@LAWS
def test_negative_log_likelihood_is_torch_s(case: Case) -> None:
    outputs, targets = drawn(case)
    found, law = case.make().double(), case.law(outputs)
    expected = -law.log_prob(targets)
    torch.testing.assert_close(found.terms(outputs, targets), expected, check_dtype=False, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(found.negative_log(outputs, targets), summed(expected), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(found.loss(outputs, targets), summed(expected).mean(), rtol=1e-6, atol=1e-7)


@LAWS
def test_weights_of_examples_and_of_targets_multiply_it(case: Case) -> None:
    outputs, targets = drawn(case)
    found = case.make().double()
    terms = found.terms(outputs, targets)
    weights = torch.rand(BATCH, dtype=torch.float64)
    torch.testing.assert_close(found.negative_log(outputs, (targets, weights)), weights * summed(terms))
    every = torch.rand_like(terms)
    torch.testing.assert_close(found.negative_log(outputs, (targets, every)), summed(every * terms))
    torch.testing.assert_close(found.loss(outputs, (targets, every)), summed(every * terms).mean())


@LAWS
def test_draws_follow_the_law(case: Case) -> None:
    """Mean and second moment of 20,000 draws for one output, within 5 standard errors."""
    outputs, _ = drawn(case, 1)
    many = outputs.expand(DRAWS, *case.shape)
    ours, theirs = case.make().double().sample(many).double(), case.law(many).sample().double()
    assert ours.shape == theirs.shape
    for power in (1, 2):
        one, other = ours**power, theirs**power
        error = ((one.var(0) + other.var(0)) / DRAWS).sqrt()
        assert bool(((one.mean(0) - other.mean(0)).abs() <= 5 * error + 1e-12).all())


@LAWS
def test_divergence_is_the_symmetric_one(case: Case) -> None:
    (one, _), (other, _) = drawn(case), drawn(case)
    p, q = case.law(one), case.law(other)
    expected = summed(kl_divergence(p, q) + kl_divergence(q, p))
    torch.testing.assert_close(case.make().double().divergence(one, other), expected, rtol=1e-5, atol=1e-7)


@LAWS
def test_curvature_is_the_hessian(case: Case) -> None:
    """The sum of s s^T is the Hessian of the negative log-likelihood of an example by its outputs."""
    outputs, targets = drawn(case)
    found = case.make().double()
    directions = found.curvature(outputs)
    if directions is None:
        assert len(case.shape) > 1 or case is CASES["own law"]  # too many, or nothing is known of the law
        return
    total = sum(each.unsqueeze(2) * each.unsqueeze(1) for each in directions)
    for row in range(BATCH):
        target = targets[row : row + 1]
        hessian: Any = torch.autograd.functional.hessian(
            lambda output, target=target: found.negative_log(output[None], target).sum(), outputs[row]
        )
        torch.testing.assert_close(total[row], hessian, rtol=1e-6, atol=1e-8)  # type: ignore[index]


@LAWS
def test_the_mean_squared_slope_at_draws_is_the_curvature(case: Case) -> None:
    """What sampled-label curvature rests on: E over the likelihood's own draws of the squared slope is the Hessian."""
    found = case.make().double()
    directions = found.curvature(drawn(case, 1)[0])
    if directions is None:
        return
    outputs, _ = drawn(case, 1)
    many = outputs.expand(DRAWS, *case.shape).clone().requires_grad_()
    (slope,) = torch.autograd.grad(found.negative_log(many, found.sample(many)).sum(), many)
    squares = slope.square()
    exact = sum(each.square() for each in found.curvature(outputs) or ())
    error = (squares.var(0) / DRAWS).sqrt()
    assert bool(((squares.mean(0) - exact).abs() <= 5 * error + 1e-12).all())


def test_ignored_positions_cost_nothing() -> None:
    outputs, targets = drawn(CASES["positions"])
    terms = likelihood.Positions().terms(outputs, targets)
    targets[:, 2] = IGNORED
    left = likelihood.Positions().negative_log(outputs, targets)
    torch.testing.assert_close(left, summed(terms) - terms[:, 2])


def test_one_output_may_come_without_its_axis() -> None:
    for kind in (likelihood.Bernoulli(), likelihood.Poisson(), likelihood.Gaussian(1, (0.5,))):
        kind = kind.double()
        flat = torch.randn(BATCH, dtype=torch.float64)
        targets = kind.sample(flat)
        assert targets.shape == (BATCH, 1)
        torch.testing.assert_close(kind.negative_log(flat, targets), kind.negative_log(flat[:, None], targets))
        torch.testing.assert_close(kind.divergence(flat, -flat), kind.divergence(flat[:, None], -flat[:, None]))
        one, other = (list(kind.curvature(each) or ()) for each in (flat, flat[:, None]))
        torch.testing.assert_close(one[0], other[0][:, 0])


def test_learnt_noise_is_learnt_by_maximum_likelihood() -> None:
    """The minimum over the noise lies at the root of the mean squared error."""
    found = likelihood.Gaussian(2)
    errors = torch.randn(200, 2) * torch.tensor([0.2, 3.0])
    optimizer = torch.optim.LBFGS(found.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = found.loss(torch.zeros_like(errors), errors)
        loss.backward()
        return loss

    optimizer.step(closure)
    torch.testing.assert_close(found.deviation(), errors.square().mean(0).sqrt(), rtol=1e-3, atol=0.0)


@pytest.mark.parametrize("weighted", [False, True])
def test_noise_is_learnt_anew_from_what_a_finished_network_says(weighted: bool) -> None:
    """The minimum of the weighted negative log-likelihood, from batches of any size."""
    found, fixed = likelihood.Gaussian(2), likelihood.Gaussian(2, (0.5, 1.0))
    outputs = torch.randn(300, 2)
    targets = outputs + torch.randn(300, 2) * torch.tensor([0.2, 3.0])
    weights = torch.rand(300)
    cuts = [slice(0, 100), slice(100, 101), slice(101, 300)]
    for one in (found, fixed):
        one.refit((outputs[cut], (targets[cut], weights[cut]) if weighted else targets[cut]) for cut in cuts)
    torch.testing.assert_close(fixed.deviation(), torch.tensor([0.5, 1.0]))
    found.loss(outputs, (targets, weights) if weighted else targets).backward()
    (parameter,) = found.parameters()
    assert parameter.grad is not None and float(parameter.grad.abs().max()) < 1e-4
    before = found.deviation().detach()
    found.refit([(outputs, torch.full_like(targets, torch.nan))])
    assert torch.equal(found.deviation(), before)  # a network that diverged says nothing of the noise

"""Guides of Pyro's over the weights, beside gates of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, Any

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO
from pyro.infer.autoguide import AutoDelta, AutoDiagonalNormal, AutoGuideList, AutoNormal, init_to_value
from torch import Tensor
from torch.nn.functional import cross_entropy

from bayesprune.errors import SettingError
from bayesprune.inference import ESTIMATORS, GatedELBO, GatedOptim, GateGuide
from bayesprune.inference.estimators import SalientFlips, estimator
from bayesprune.inference.references.oracle import all_gates
from bayesprune.models import GatedModel, GaussianSlab, LeNet300
from bayesprune.models.priors.gates import FlatteningGatePrior
from bayesprune.structure import compact, find

if TYPE_CHECKING:
    from tests.inference.conftest import Moments, Tiny

Reduce = Callable[[Iterable[Tensor]], "Moments"]
SCALE, SPREAD = 0.7, 0.3


@pytest.fixture(autouse=True)
def _empty_store() -> Iterator[None]:
    """Nothing may enter Pyro's global parameter store."""
    pyro.clear_param_store()
    yield
    assert list(pyro.get_param_store().keys()) == []


def guided(tiny: Callable[..., Tiny], weights: Any = None, **settings: Any) -> Tiny:
    """Weights around the network's own with deviation 0.3, by `AutoNormal`; the guide has run once."""
    case = tiny(weight_sites=True, weight_prior=GaussianSlab(SCALE), **settings)
    values = {f"w.{name}": p.detach() for name, p in case.model.network.named_parameters()}
    made = weights or partial(AutoNormal, init_loc_fn=init_to_value(values=values), init_scale=SPREAD)
    guide = GateGuide(case.model, weights=made).double()
    with torch.no_grad():
        guide.theta.copy_(case.guide.theta)
    guide(case.inputs, case.labels)
    return case._replace(guide=guide)


def by_enumeration(case: Tiny, draws: int = 4000) -> tuple[Tensor, Tensor]:
    """The negative ELBO and its standard error: all 2^6 gates, draws of the weights, divergences in closed form."""
    generator = torch.Generator().manual_seed(3)
    weights, divergence = {}, torch.zeros(()).double()
    for name, p in case.model.network.named_parameters():
        mean = p.detach()
        noise = torch.randn(draws, *mean.shape, generator=generator, dtype=torch.float64)
        weights[name] = mean + SPREAD * noise
        normal = torch.distributions.Normal(mean, torch.full_like(mean, SPREAD))
        prior = torch.distributions.Normal(torch.zeros_like(mean), torch.full_like(mean, SCALE))
        divergence += torch.distributions.kl_divergence(normal, prior).sum()
    theta = case.guide.theta.detach()
    total = torch.zeros(draws).double()
    for gates in all_gates(6).double():
        hidden = (case.inputs @ weights["fc1.weight"].mT + weights["fc1.bias"].unsqueeze(1)).relu() * gates[:3]
        hidden = (hidden @ weights["fc2.weight"].mT + weights["fc2.bias"].unsqueeze(1)).relu() * gates[3:]
        logits = hidden @ weights["fc3.weight"].mT + weights["fc3.bias"].unsqueeze(1)
        losses = cross_entropy(logits.flatten(0, 1), case.labels.repeat(draws), reduction="none")
        total += (gates * theta + (1 - gates) * (1 - theta)).prod() * losses.reshape(draws, 5).sum(1)
    gate_terms = case.model.gate_prior.penalty(theta).sum()
    return total.mean() + divergence + gate_terms, total.std() / draws**0.5


def losses(elbo: Any, case: Tiny, count: int) -> Iterator[Tensor]:
    for _ in range(count):
        yield elbo(case.inputs, case.labels)


@pytest.mark.parametrize("name", ["curvature", "salient-flips", "disarm"])
def test_its_mean_is_that_of_enumeration(name: str, tiny: Callable[..., Tiny], moments: Reduce) -> None:
    """Weights by Monte Carlo with 4,000 draws, gates by their 2^6 settings; 3.5 standard errors of both."""
    case = guided(tiny)
    truth, error = by_enumeration(case)
    torch.manual_seed(0)
    found = moments(losses(GatedELBO(estimator(name))(case.model, case.guide), case, 300))
    both = float((found.error**2 + error**2).sqrt())
    assert abs(float(found.mean - truth)) < 3.5 * both
    assert both < 1.0  # the divergences alone are tens of nats


def test_pyro_s_elbo_has_the_same_expectation(tiny: Callable[..., Tiny], moments: Reduce) -> None:
    """`Trace_ELBO` on the same model and guide: value, and gradients in theta, locations and scales."""
    case = guided(tiny)
    parameters = list(case.guide.parameters())
    assert len(parameters) == 13  # theta, and a location and a scale of each of six tensors

    def slopes(elbo: Any, count: int) -> Iterator[Tensor]:
        for loss in losses(elbo, case, count):
            found = torch.autograd.grad(loss, parameters)
            yield torch.cat([loss.reshape(1), *(slope.flatten() for slope in found)])

    torch.manual_seed(0)
    mine = moments(slopes(GatedELBO(SalientFlips())(case.model, case.guide), 150))
    theirs = moments(slopes(Trace_ELBO()(case.model, case.guide), 300))
    error = (mine.error.square() + theirs.error.square()).sqrt()
    assert float(((mine.mean - theirs.mean).abs() / error).max()) < 4.2  # the largest of 86
    truth, _ = by_enumeration(case)
    assert abs(float(theirs.mean[0] - truth)) < 3.5 * float(theirs.error[0])


@pytest.mark.parametrize("loss", [GatedELBO(), Trace_ELBO()])
@pytest.mark.parametrize("weights", [AutoNormal, AutoDiagonalNormal, AutoDelta])
def test_svi_moves_all_parameters(weights: Any, loss: Any, tiny: Callable[..., Tiny]) -> None:
    """Gates and what Pyro's guide made at its first run; the network's own weights, which nobody reads, stay."""
    case = guided(tiny, weights)
    start = [p.detach().clone() for p in case.guide.parameters()]
    unread = [p.detach().clone() for p in case.model.parameters()]
    svi = SVI(case.model, case.guide, GatedOptim(case.model, case.guide, 50), loss=loss)
    for _ in range(3):
        svi.step(case.inputs, case.labels)
    assert len(start) >= 2
    assert all(bool((a != b).any()) for a, b in zip(start, case.guide.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(unread, case.model.parameters(), strict=True))


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_every_estimator_takes_it(name: str, tiny: Callable[..., Tiny]) -> None:
    case = guided(tiny)
    loss = GatedELBO(estimator(name))(case.model, case.guide)(case.inputs, case.labels)
    assert all(bool(s.isfinite().all()) for s in torch.autograd.grad(loss, list(case.guide.parameters())))


def test_parameters_that_pyro_makes_late_are_taken_up(tiny: Callable[..., Tiny]) -> None:
    """SVI's first step is the guide's first run."""
    case = tiny(weight_sites=True)
    guide = GateGuide(case.model, 0.5, weights=AutoNormal)
    assert [name for name, _ in guide.named_parameters()] == ["theta"]
    svi = SVI(case.model, guide, GatedOptim(case.model, guide, 50), loss=GatedELBO())
    svi.step(case.inputs, case.labels)
    start = [p.detach().clone() for p in guide.parameters()]
    assert len(start) == 13
    svi.step(case.inputs, case.labels)
    assert all(bool((a != b).any()) for a, b in zip(start, guide.parameters(), strict=True))


def test_it_learns(tiny: Callable[..., Tiny], moments: Reduce) -> None:
    """Fifty steps lower the loss by many standard errors."""
    case = guided(tiny)
    module = GatedELBO()(case.model, case.guide)
    torch.manual_seed(0)
    before = moments(losses(module, case, 40))
    optim = GatedOptim(case.model, case.guide, 200, rest=partial(torch.optim.Adam, lr=0.05))
    svi = SVI(case.model, case.guide, optim, loss=GatedELBO())
    for _ in range(50):
        svi.step(case.inputs, case.labels)
    after = moments(losses(module, case, 40))
    assert float(before.mean - after.mean) > 5 * float(before.error + after.error)


def test_guides_share_nothing(tiny: Callable[..., Tiny]) -> None:
    """Two guides whose parameters have the same names in Pyro; a copy goes on by itself."""
    first, second = guided(tiny), guided(tiny)
    copied = deepcopy(second.guide)
    start = [p.detach().clone() for p in second.guide.parameters()]
    svi = SVI(first.model, first.guide, GatedOptim(first.model, first.guide, 50), loss=GatedELBO())
    svi.step(first.inputs, first.labels)
    for guide in (second.guide, copied):
        assert all(torch.equal(a, b) for a, b in zip(start, guide.parameters(), strict=True))
    restored = guided(tiny).guide
    restored.load_state_dict(first.guide.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(first.guide.parameters(), restored.parameters(), strict=True))


def test_a_guide_that_is_made_already(tiny: Callable[..., Tiny]) -> None:
    """Pyro's list of guides over the model without its gates is taken as it is."""
    case = tiny(weight_sites=True)
    plain = poutine.block(case.model, hide=["pi", "z"])
    listed = AutoGuideList(plain)
    listed.append(AutoDelta(poutine.block(plain, expose=["w.fc1.weight"])))
    listed.append(AutoNormal(poutine.block(plain, hide=["w.fc1.weight"])))
    guide = GateGuide(case.model, 0.5, weights=listed)
    svi = SVI(case.model, guide, GatedOptim(case.model, guide, 50), loss=GatedELBO())
    svi.step(case.inputs, case.labels)
    start = [p.detach().clone() for p in guide.parameters()]
    assert len(start) == 1 + 1 + 2 * 5
    svi.step(case.inputs, case.labels)
    assert all(bool((a != b).any()) for a, b in zip(start, guide.parameters(), strict=True))


def test_it_needs_sites_and_keeps_its_shape(tiny: Callable[..., Tiny]) -> None:
    with pytest.raises(SettingError, match="weight_sites=True"):
        GateGuide(tiny().model, weights=AutoNormal)
    case = guided(tiny)
    case.guide.bind(tiny(seed=1, weight_sites=True).model)  # the same shape
    network = tiny().model.network
    assert isinstance(network, LeNet300)
    structure = find(network, case.inputs, inputs="none")
    smaller = compact(network, structure, torch.tensor([True, False, True, True, True, True]))
    model = GatedModel(network, smaller, FlatteningGatePrior(torch.ones(5)), 5, weight_sites=True)
    with pytest.raises(SettingError, match="cannot follow a network that shrinks"):
        case.guide.bind(model)


def test_a_guide_over_part_of_the_weights_is_named(tiny: Callable[..., Tiny]) -> None:
    case = tiny(weight_sites=True)
    part = AutoNormal(poutine.block(case.model, expose=["w.fc1.weight"]))
    guide = GateGuide(case.model, 0.5, weights=part)
    with pytest.raises(SettingError, match="the model samples 'w.fc1.bias', .*, and the guide does not"):
        GatedELBO()(case.model, guide)(case.inputs, case.labels)

"""Nodes with a scale each: the ELBO against sums over gates and quadrature, against Pyro's own, and folding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO
from torch import Tensor
from torch.distributions import Bernoulli, Gamma, InverseGamma, LogNormal, Normal, kl_divergence
from torch.nn.functional import cross_entropy

from bayesprune.inference.elbo import GatedELBO
from bayesprune.inference.fit import is_own
from bayesprune.inference.relaxed import RelaxedGates
from bayesprune.inference.spike_slab.scaled_guide import ScaledGateGuide
from bayesprune.inference.spike_slab.scaled_nodes import scaled_when_evaluating
from bayesprune.inference.spike_slab.scales import GroupHorseshoeScales, GroupLassoScales, NodeScales
from bayesprune.models.priors.gates import FixedGatePrior
from bayesprune.models.priors.scales import node_places, regularised
from bayesprune.models.priors.weights import GaussianSlab

if TYPE_CHECKING:
    from tests.inference.conftest import Moments, Tiny

Reduce = Callable[[Iterable[Tensor]], "Moments"]
SLAB, PRIOR, WIDE, NARROW = 0.7, 0.3, 1.1, 1e-5
GATES = torch.tensor(list(product([0.0, 1.0], repeat=6)), dtype=torch.float64)
PLACES, MASSES = np.polynomial.hermite_e.hermegauss(60)
MASSES = MASSES / MASSES.sum()
HORSESHOE = partial(GroupHorseshoeScales, limit=1.3, whole=0.8, node=1.7)
KINDS = [GroupLassoScales, HORSESHOE]


def made(tiny: Callable[..., Tiny], kind: Any, deviation: float, scale_deviation: float, **settings: Any) -> Tiny:
    guide = partial(ScaledGateGuide, start=0.6, deviation=deviation, scales=partial(kind, deviation=scale_deviation))
    prior = FixedGatePrior(torch.full((settings.pop("gates", 6),), PRIOR).double())
    case = tiny(guide=guide, weight_sites=True, gate_prior=prior, weight_prior=GaussianSlab(SLAB), **settings)
    assert isinstance(case.guide, ScaledGateGuide)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in case.guide.scales.learnt():
            if bool((parameter > -1).all()):  # means
                parameter.add_(0.4 * torch.randn_like(parameter))
    case.model.weight_prior = case.guide.slab(case.model.network, case.model.structure)
    return case


def guide_of(case: Tiny) -> ScaledGateGuide:
    assert isinstance(case.guide, ScaledGateGuide)
    return case.guide


def by_quadrature(mean: Tensor, log_deviation: Tensor, prior: Any) -> Tensor:
    """The sum of E_q[ln q - ln p] of log-normal laws."""
    total = torch.zeros((), dtype=torch.float64)
    for place, mass in zip(PLACES, MASSES, strict=True):
        own = LogNormal(mean, log_deviation.exp())
        value = (mean + log_deviation.exp() * place).exp()
        total += mass * (own.log_prob(value) - prior.log_prob(value)).sum()
    return total


@torch.no_grad()
def divergence(case: Tiny) -> Tensor:
    """Of the scales, by quadrature over densities of torch's."""
    scales, one = guide_of(case).scales, torch.ones(6, dtype=torch.float64)
    if isinstance(scales, GroupLassoScales):
        total = by_quadrature(scales.penalty_mean, scales.penalty_log_deviation, Gamma(4 * one[0], 2.0))
        sizes = torch.tensor([5.0, 5, 5, 4, 4, 4], dtype=torch.float64)
        for place, mass in zip(PLACES, MASSES, strict=True):
            penalty = (scales.penalty_mean + scales.penalty_log_deviation.exp() * place).exp()
            prior = Gamma((sizes + 1) / 2, penalty / 2)
            total += mass * by_quadrature(scales.node_mean, scales.node_log_deviation, prior)
        return total
    assert isinstance(scales, GroupHorseshoeScales)
    total = by_quadrature(scales.node_a, scales.node_a_log_deviation, Gamma(one / 2, 1 / 1.7**2))
    total += by_quadrature(scales.whole_a, scales.whole_a_log_deviation, Gamma(one[0] / 2, 1 / 0.8**2))
    total += by_quadrature(scales.node_b, scales.node_b_log_deviation, InverseGamma(one / 2, one))
    return total + by_quadrature(scales.whole_b, scales.whole_b_log_deviation, InverseGamma(one[0] / 2, one[0]))


@torch.no_grad()
def exact(case: Tiny) -> Tensor:
    """N E[loss] over 64 settings of the gates and the law of fc2's node 1's scale, plus all divergences."""
    network: Any = case.model.network
    guide = guide_of(case)
    theta, scales = guide.theta, guide.scales
    chances = (GATES * theta + (1 - GATES) * (1 - theta)).prod(-1)
    data = torch.zeros((), dtype=torch.float64)
    for place, mass in zip(PLACES, MASSES, strict=True):
        scale = _scales_at(scales, WIDE * place)
        hidden = (scale[:3] * network.fc1(case.inputs)).relu() * GATES[:, None, :3]
        hidden = (scale[3:] * network.fc2(hidden)).relu() * GATES[:, None, 3:]
        losses = cross_entropy(network.fc3(hidden).flatten(0, 1), case.labels.repeat(64), reduction="none")
        data += mass * (chances * losses.reshape(64, -1).sum(1)).sum()
    own = {"fc1": theta[:3], "fc2": theta[3:], "fc3": torch.ones(3).double()}
    for name, mean in network.named_parameters():
        law = Normal(mean, guide.log_deviation[name.replace(".", "|")].exp())
        nodes = kl_divergence(law, Normal(0.0, SLAB)).reshape(len(mean), -1).sum(1)
        data += (nodes * own[name.split(".")[0]]).sum()
    return data + kl_divergence(Bernoulli(theta), Bernoulli(torch.tensor(PRIOR).double())).sum() + divergence(case)


def _scales_at(scales: NodeScales, shift: float) -> Tensor:
    """All scales [6] where fc2's node 1 lies so far from the mean of its (first) logarithm."""
    moved = shift * torch.eye(6, dtype=torch.float64)[4]
    if isinstance(scales, GroupLassoScales):
        return ((scales.node_mean + moved) / 2).exp()
    assert isinstance(scales, GroupHorseshoeScales)
    square = (scales.node_a + scales.node_b + moved + scales.whole_a + scales.whole_b).exp()
    return regularised(square.sqrt(), 1.3)


@pytest.mark.parametrize("kind", KINDS)
def test_negative_elbo_and_its_mini_batches(kind: Any, tiny: Callable[..., Tiny], moments: Reduce) -> None:
    """One scale with a wide law, all else as good as fixed; two of the five examples stand for all."""
    case = made(tiny, kind, NARROW, NARROW)
    scales: Any = guide_of(case).scales
    wide = scales.node_log_deviation if kind is GroupLassoScales else scales.node_a_log_deviation
    with torch.no_grad():
        wide[4] = torch.tensor(WIDE).log()
    assert is_own(case.model, case.guide)
    elbo = GatedELBO(RelaxedGates())(case.model, case.guide)
    truth = exact(case)
    torch.manual_seed(0)
    whole = moments(elbo(case.inputs, case.labels) for _ in range(400))
    assert float(whole.distance(truth)) < 3.5 and float(whole.error) < 0.3

    def batches() -> Iterator[Tensor]:
        for _ in range(600):
            rows = torch.randperm(5)[:2]
            yield elbo(case.inputs[rows], case.labels[rows])

    part = moments(batches())
    assert float(part.distance(truth)) < 3.5 and float(part.error) < 0.3


@pytest.mark.parametrize("inputs", ["none", pytest.param("all", marks=pytest.mark.long)])
@pytest.mark.parametrize("kind", KINDS)
def test_pyro_s_elbo_of_the_same_programs(kind: Any, inputs: str, tiny: Callable[..., Tiny], moments: Reduce) -> None:
    """`Trace_ELBO` scores every site of model and guide: gates, scales, weights; ours takes closed forms."""
    case = made(tiny, kind, 0.3, 0.4, inputs=inputs, gates=6 if inputs == "none" else 10, theta=0.6)
    with torch.no_grad():
        for parameter in guide_of(case).scales.gate_parameters()[1:3]:  # means far from their prior
            parameter.sub_(2.0)
    ours, pyros = GatedELBO(RelaxedGates())(case.model, case.guide), Trace_ELBO()(case.model, case.guide)
    torch.manual_seed(0)
    with torch.no_grad():
        theirs = moments(pyros(case.inputs, case.labels) for _ in range(250))
    mine = moments(ours(case.inputs, case.labels) for _ in range(250))
    error = float((theirs.error.square() + mine.error.square()).sqrt())
    assert abs(float(theirs.mean - mine.mean)) < 3.5 * error
    assert error < 0.1 * float(guide_of(case).scales.divergence().detach())  # so that its part would be missed


@pytest.mark.parametrize("kind", KINDS)
def test_a_median_is_the_median_of_the_draws(kind: Any, tiny: Callable[..., Tiny]) -> None:
    guide = guide_of(made(tiny, kind, 0.3, 0.8))
    torch.manual_seed(0)
    drawn = torch.stack([guide.scales.draw() for _ in range(4000)]).detach()
    below = (drawn < guide.median_scales()).double().mean(0)
    assert bool(((below - 0.5).abs() < 3.5 * 0.5 / 4000**0.5).all())


def test_inputs_have_no_scale(tiny: Callable[..., Tiny]) -> None:
    guide = guide_of(made(tiny, GroupLassoScales, 0.3, 0.8, inputs="all", gates=10, theta=0.6))
    assert bool((guide.scales.draw()[:4] == 1).all()) and bool((guide.scales.draw()[4:] != 1).all())
    assert [parameter.shape for parameter in guide.gate_parameters()] == [(10,)] * 6
    before = guide.scales.divergence()
    with torch.no_grad():
        guide.scales.node_mean[:4] += 5.0  # type: ignore[index,operator]  # the group lasso's
    assert torch.equal(guide.scales.divergence(), before)


@pytest.mark.parametrize("kind", KINDS)
def test_folded_scales_are_part_of_the_weights(kind: Any, tiny: Callable[..., Tiny]) -> None:
    """While the hooks are there evaluation sees what folding leaves; training does not; unfolding takes it back."""
    case = made(tiny, kind, 0.3, 0.4)
    guide, network, structure = guide_of(case), case.model.network, case.model.structure
    initial = {name: value.clone() for name, value in network.state_dict().items()}
    scale = guide.median_scales()
    with torch.no_grad():
        hidden = (scale[:3] * network.fc1(case.inputs)).relu()  # type: ignore[operator]  # layers are modules
        expected = network.fc3((scale[3:] * network.fc2(hidden)).relu())  # type: ignore[operator]  # likewise
        plain = network(case.inputs)
        handles = scaled_when_evaluating(network, guide, node_places(network, structure))
        network.train()
        assert torch.equal(network(case.inputs), plain)
        network.eval()
        torch.testing.assert_close(network(case.inputs), expected)
        with pytest.raises(RuntimeError):
            network(case.inputs[:, :2])  # what fails puts the parameters back, too
    for handle in handles:
        handle.remove()
    assert all(torch.equal(value, initial[name]) for name, value in network.state_dict().items())
    guide.fold(network, structure)
    torch.testing.assert_close(network(case.inputs), expected)
    assert bool((guide.median_scales() == 1).all())
    guide.folded.zero_()
    guide.unfold(network, structure)
    torch.testing.assert_close(network.state_dict(), initial)


@pytest.mark.parametrize("kind", KINDS)
def test_a_user_s_handler_sees_the_scaled_weights(kind: Any, tiny: Callable[..., Tiny]) -> None:
    """Under a handler the program is run with sites; with laws that are as good as points both ways say the same."""
    case = made(tiny, kind, NARROW, NARROW)
    guide = guide_of(case)
    with torch.no_grad():
        guide.logit.copy_(torch.tensor([40.0, -40.0, 40.0, 40.0, 40.0, -40.0]))
    elbo = GatedELBO(RelaxedGates())(case.model, guide)
    plain = elbo(case.inputs, case.labels)
    with poutine.trace() as seen:
        handled = elbo(case.inputs, case.labels)
    torch.testing.assert_close(handled, plain, rtol=1e-3, atol=1e-3)
    weight = seen.trace.nodes["w.fc2.weight"]["value"]
    network: Any = case.model.network
    expected = network.fc2.weight * guide.median_scales()[3:].unsqueeze(1)
    torch.testing.assert_close(weight, expected, rtol=1e-3, atol=1e-3)

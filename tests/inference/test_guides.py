"""Guides: what they sample, and the gated divergence of Gaussian weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import pyro
import pytest
import torch
from torch import Tensor
from torch.distributions import kl_divergence

from bayesprune.errors import SettingError, UnknownNameError
from bayesprune.inference.guides import GateGuide, GaussianWeightGuide, open_shares
from bayesprune.models.gated import GatedModel
from bayesprune.models.priors import NodeSpikeSlab, NodeSpikeSlabPosterior, bernoulli_kl
from bayesprune.models.priors.gates import FlatteningGatePrior
from bayesprune.models.priors.weights import GaussianSlab
from bayesprune.structure import compact, find

if TYPE_CHECKING:
    from tests.inference.conftest import Tiny

THETA = (0.25, 0.6, 0.5, 1.0, 0.0, 0.7)


def gated(tiny: Callable[..., Tiny], kind: str, **settings: object) -> Tiny:
    """A case with Gaussian weights of different deviations, on a slab of deviation 0.7."""
    guide = partial(GaussianWeightGuide, kind=kind)
    case = tiny(guide=guide, weight_sites=True, weight_prior=GaussianSlab(0.7), **settings)
    assert isinstance(case.guide, GaussianWeightGuide)
    with torch.no_grad():
        for number, deviation in enumerate(case.guide.log_deviation.values()):
            deviation.uniform_(-3, 0.5, generator=torch.Generator().manual_seed(number))
    return case


def deviation(case: Tiny, name: str) -> Tensor:
    """Standard deviations of a parameter's weights."""
    assert isinstance(case.guide, GaussianWeightGuide)
    return case.guide.log_deviation[name.replace(".", "|")].exp()


def nodes(case: Tiny, layer: str) -> tuple[Tensor, Tensor]:
    """Means and deviations of every node's incoming weights and bias [nodes, inputs + 1]."""
    module: Any = case.model.network.get_submodule(layer)
    mean = torch.cat([module.weight, module.bias.unsqueeze(1)], 1)
    spread = torch.cat([deviation(case, f"{layer}.weight"), deviation(case, f"{layer}.bias").unsqueeze(1)], 1)
    return mean.detach(), spread.detach()


def test_gated_divergence_is_that_of_node_spike_and_slab(tiny: Callable[..., Tiny]) -> None:
    """The law of whole nodes: KL(q(v) || p(v)) of spike-and-slab nodes is the Bernoulli part plus ours.

    sum_i theta_i sum_j [ln(s0 / s_ij) + (s_ij^2 + m_ij^2) / (2 s0^2) - 1/2], the last layer without spike.
    """
    case = gated(tiny, "prior_when_closed", theta=THETA)
    theta, total = case.guide.theta.detach(), torch.zeros(()).double()
    for layer, place in (("fc1", slice(0, 3)), ("fc2", slice(3, 6))):
        mean, spread = nodes(case, layer)
        posterior = NodeSpikeSlabPosterior(theta[place], mean, spread)
        prior = NodeSpikeSlab(torch.tensor(0.3).double(), 0.7, mean.shape[1])
        total += (kl_divergence(posterior, prior) - bernoulli_kl(theta[place], 0.3)).sum()
    mean, spread = nodes(case, "fc3")
    total += NodeSpikeSlabPosterior(torch.ones(3).double(), mean, spread).slab.entropy().sum() * -1
    total -= NodeSpikeSlab(torch.ones(()).double(), 0.7, 4).slab.log_prob(mean).sum()
    total += (spread**2 / (2 * 0.7**2)).sum()
    penalty = case.guide.weight_penalty(case.guide.theta)
    assert penalty is not None
    torch.testing.assert_close(penalty.detach(), total)
    (slope,) = torch.autograd.grad(penalty, case.guide.theta)
    divergence = kl_divergence(
        torch.distributions.Normal(*nodes(case, "fc1")), torch.distributions.Normal(0.0, 0.7)
    ).sum(1)
    torch.testing.assert_close(slope[:3], divergence)


def test_independent_weights_count_in_full(tiny: Callable[..., Tiny]) -> None:
    """The mean-field divergence, whatever theta is; no slope in theta."""
    case = gated(tiny, "independent", theta=THETA)
    total = torch.zeros(()).double()
    for name, mean in case.model.network.named_parameters():
        posterior = torch.distributions.Normal(mean.detach(), deviation(case, name).detach())
        total += kl_divergence(posterior, torch.distributions.Normal(0.0, 0.7)).sum()
    penalty = case.guide.weight_penalty(case.guide.theta)
    assert penalty is not None
    torch.testing.assert_close(penalty.detach(), total)
    slope: Any = torch.autograd.grad(penalty, case.guide.theta, allow_unused=True)[0]
    assert slope is None


def test_an_input_s_outgoing_weights_belong_to_its_gate(tiny: Callable[..., Tiny]) -> None:
    """A weight between a gated input and a gated node costs only where both are open; its bias has one gate."""
    case = gated(tiny, "prior_when_closed", theta=(0.1, 0.2, 0.3, 0.4, *THETA), inputs="all")
    shares = open_shares(case.model.structure, case.guide.theta)
    assert [axis for axis, _ in shares["fc1.weight"]] == [0, 1]
    assert [axis for axis, _ in shares["fc1.bias"]] == [0]
    assert [axis for axis, _ in shares["fc2.weight"]] == [0]
    assert "fc3.weight" not in shares
    penalty = case.guide.weight_penalty(case.guide.theta)
    assert penalty is not None
    (slope,) = torch.autograd.grad(penalty, case.guide.theta)
    normal = torch.distributions.Normal(*nodes(case, "fc1"))
    divergence = kl_divergence(normal, torch.distributions.Normal(0.0, 0.7))[:, :4]
    torch.testing.assert_close(slope[:4], torch.tensor(THETA[:3]).double() @ divergence)


def test_a_closed_node_s_weights_are_drawn_from_the_slab(tiny: Callable[..., Tiny]) -> None:
    """Under "prior_when_closed" the guide's weight sites look at the gates they were drawn with."""
    case = gated(tiny, "prior_when_closed", theta=(1.0, 0.0, 1.0, 1.0, 1.0, 1.0))
    trace: Any = pyro.poutine.trace(case.guide).get_trace(case.inputs)
    weight, bias = trace.nodes["w.fc1.weight"]["fn"].base_dist, trace.nodes["w.fc1.bias"]["fn"].base_dist
    mean, spread = nodes(case, "fc1")
    expected_mean, expected_spread = mean.clone(), spread.clone()
    expected_mean[1], expected_spread[1] = 0.0, 0.7
    torch.testing.assert_close(torch.cat([weight.loc, bias.loc.unsqueeze(1)], 1).detach(), expected_mean)
    torch.testing.assert_close(torch.cat([weight.scale, bias.scale.unsqueeze(1)], 1).detach(), expected_spread)
    assert trace.nodes["z"]["value"].tolist() == [1, 0, 1, 1, 1, 1]


def test_weight_draws_have_their_mean_and_deviation(tiny: Callable[..., Tiny]) -> None:
    case = gated(tiny, "independent")
    torch.manual_seed(0)
    draws = torch.stack([case.guide.sample_weights()["fc2.weight"] for _ in range(3000)]).detach()
    mean, spread = case.model.network.get_parameter("fc2.weight").detach(), deviation(case, "fc2.weight").detach()
    assert float(((draws.mean(0) - mean).abs() / (spread / 3000**0.5)).max()) < 4
    assert float((draws.std(0) / spread - 1).abs().max()) < 4 / (2 * 3000) ** 0.5
    assert case.guide.sample_weights()["fc2.weight"].requires_grad


def test_gate_guide_samples_the_best_pi_and_the_gates(tiny: Callable[..., Tiny]) -> None:
    """pi* = theta / (theta + gamma (1 - theta)), a point; z in {0, 1}; the weights are no sites."""
    case = tiny(log_gamma=2.0)
    trace: Any = pyro.poutine.trace(case.guide).get_trace(case.inputs)
    theta = case.guide.theta.detach()
    gamma = torch.tensor(2.0).double().exp()
    torch.testing.assert_close(trace.nodes["pi"]["value"], theta / (theta + gamma * (1 - theta)))
    assert set(trace.nodes["z"]["value"].tolist()) <= {0.0, 1.0}
    assert set(trace.nodes) - {"_INPUT", "_RETURN"} == {"pi", "z"}
    assert case.guide.weight_penalty(case.guide.theta) is None
    assert case.guide.sample_weights() == {}
    assert case.guide.gate_parameters() == [case.guide.theta]
    assert list(case.guide.state_dict()) == ["theta"]  # the model is not part of it


def test_start(tiny: Callable[..., Tiny]) -> None:
    model = tiny().model
    assert GateGuide(model).theta.tolist() == [0.5] * 6
    assert GateGuide(model, torch.tensor(THETA)).theta.tolist() == pytest.approx(THETA)
    for wrong in (-0.1, 1.5, float("nan")):
        with pytest.raises(SettingError, match="must lie in"):
            GateGuide(model, wrong)


def test_settings_of_gaussian_guides(tiny: Callable[..., Tiny]) -> None:
    model = tiny(weight_sites=True).model
    with pytest.raises(UnknownNameError, match="weight guide"):
        GaussianWeightGuide(model, kind="gated")
    with pytest.raises(SettingError, match="deviation must be > 0"):
        GaussianWeightGuide(model, deviation=0.0)
    flat = tiny(weight_sites=True, weight_prior=GaussianSlab(float("inf"))).model
    with pytest.raises(SettingError, match="finite scale"):
        GaussianWeightGuide(flat)


def test_a_gaussian_guide_does_not_follow_a_shrinking_network(tiny: Callable[..., Tiny]) -> None:
    case = tiny(guide=GaussianWeightGuide, weight_sites=True)
    case.guide.bind(tiny(seed=1, weight_sites=True).model)  # the same shape
    network = tiny().model.network
    structure = find(network, case.inputs, inputs="none")
    smaller = compact(network, structure, torch.tensor([True, False, True, True, True, True]))
    model = GatedModel(network, smaller, FlatteningGatePrior(torch.ones(5)), 5, weight_sites=True)
    with pytest.raises(SettingError, match="cannot follow a network that shrinks"):
        case.guide.bind(model)

"""Scales of nodes: closed divergences against quadrature and draws, laws against what they are known to amount to."""

from math import pi
from typing import Any

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine
from torch import Tensor
from torch.distributions import Distribution, Gamma, HalfCauchy, InverseGamma, LogNormal, Normal

from bayesprune.errors import SettingError
from bayesprune.models import Conv4, LeNet300
from bayesprune.models.priors.scales import (
    GroupHorseshoeSlab,
    GroupLassoSlab,
    log_normal_to_gamma,
    log_normal_to_inverse_gamma,
    node_places,
    node_sizes,
    regularised,
    scaled,
)
from bayesprune.structure import find

PLACES, MASSES = np.polynomial.hermite_e.hermegauss(120)
LAWS = [(0.3, 0.4), (-1.2, 0.9), (2.0, 0.05)]


def number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def by_quadrature(mean: float, deviation: float, prior: Distribution) -> float:
    """E_q[ln q - ln p] of a log-normal q by Gauss and Hermite."""
    values = torch.exp(mean + deviation * torch.tensor(PLACES))
    own = LogNormal(number(mean), number(deviation))
    masses = torch.tensor(MASSES / MASSES.sum())
    return float((masses * (own.log_prob(values) - prior.log_prob(values))).sum())


@pytest.mark.parametrize(("mean", "deviation"), LAWS)
@pytest.mark.parametrize(("shape", "rate"), [(0.5, 1.0), (0.5, 1 / 3.0**2), (4.0, 2.0), (393.0, 250.0)])
def test_divergence_to_a_gamma_law(mean: float, deviation: float, shape: float, rate: float) -> None:
    """The second pair is the A of a half-Cauchy law of width t = 3, where -ln t instead of +ln t would show."""
    found = log_normal_to_gamma(number(mean), number(deviation).log(), shape, float(np.log(rate)), rate)
    assert float(found) == pytest.approx(by_quadrature(mean, deviation, Gamma(number(shape), number(rate))), rel=1e-6)


@pytest.mark.parametrize(("mean", "deviation"), LAWS)
@pytest.mark.parametrize(("shape", "scale"), [(0.5, 1.0), (2.5, 3.0)])
def test_divergence_to_an_inverse_gamma_law(mean: float, deviation: float, shape: float, scale: float) -> None:
    found = log_normal_to_inverse_gamma(number(mean), number(deviation).log(), shape, scale)
    prior = InverseGamma(number(shape), number(scale))
    assert float(found) == pytest.approx(by_quadrature(mean, deviation, prior), rel=1e-6)


def test_divergence_under_a_rate_with_a_law_of_its_own_by_draws() -> None:
    """KL of (tau^2, lambda^2) with tau^2 given lambda^2: the mean over 40,000 draws of both."""
    torch.manual_seed(0)
    node, penalty = LogNormal(number(0.2), number(0.3)), LogNormal(number(1.1), number(0.5))
    square, rate = node.sample((40_000,)), penalty.sample((40_000,))
    drawn = node.log_prob(square) - Gamma(number(2.5), rate / 2).log_prob(square)
    expected = float((number(1.1) + 0.125).exp() / 2)
    found = log_normal_to_gamma(number(0.2), number(0.3).log(), 2.5, 1.1 - float(np.log(2)), expected)
    error = float(drawn.std()) / 200
    assert abs(float(drawn.mean() - found)) < 3.5 * error and error < 0.01


def test_without_its_scale_a_node_has_the_group_lasso_density() -> None:
    """The integral over tau^2 falls as exp(-lambda |w|), whatever the direction of w in R^3."""
    penalty = 1.7
    square = torch.linspace(1e-6, 60, 600_001, dtype=torch.float64)
    prior = Gamma(number(2.0), number(penalty**2 / 2)).log_prob(square).exp()

    def density(w: Tensor) -> float:
        node = Normal(0.0, square.sqrt()).log_prob(w.unsqueeze(1)).sum(0).exp()
        return float(torch.trapezoid(node * prior, square))

    one, two = torch.tensor([0.6, -0.3, 1.0]).double(), torch.tensor([0.0, 2.0, 0.4]).double()
    ratio = density(one) / density(two)
    assert ratio == pytest.approx(float(torch.exp(-penalty * (one.norm() - two.norm()))), rel=1e-4)


def test_a_and_b_make_a_half_cauchy_law() -> None:
    """Of 40,000 nodes at v = 1: the share of tau below three numbers; the width t = 2.5 counts."""
    slab = GroupHorseshoeSlab(1.0, torch.ones(40_000), {}, limit=1e6, whole=0.7, node=2.5)
    torch.manual_seed(0)
    ones: Any = {f"scale.whole.{letter}": torch.tensor(1.0) for letter in "ab"}
    scales = poutine.condition(slab.sample_scales, data=ones)()
    law = HalfCauchy(2.5)
    for limit in (0.5, 2.5, 10.0):
        share = float(law.cdf(torch.tensor(limit)))
        error = (share * (1 - share) / 40_000) ** 0.5
        assert abs(float((scales < limit).float().mean()) - share) < 3.5 * error
    whole: Any = {name: torch.ones(40_000) for name in ("scale.node.a", "scale.node.b")}
    drawn = torch.stack([poutine.condition(slab.sample_scales, data=whole)()[0] for _ in range(1500)])
    assert abs(float((drawn < 0.7).float().mean()) - 0.5) < 3.5 * 0.5 / 1500**0.5  # the width is the median


def test_a_regularised_scale_stays_below_its_limit() -> None:
    scale = torch.tensor([0.01, 1.0, 1e4], dtype=torch.float64)
    assert regularised(scale, 2.0).tolist() == pytest.approx([0.01, 2 / 5**0.5, 2.0], rel=1e-4)
    assert bool((regularised(scale, 2.0) < 2.0).all())


def test_nodes_are_counted_with_their_biases() -> None:
    """By hand; inputs are no nodes, and the output layer's have no gate."""
    network = LeNet300((5, 4), (1, 3, 2), 3)
    structure = find(network, torch.randn(2, 1, 3, 2), inputs="all")
    assert node_sizes(network, structure).tolist() == [0.0] * 6 + [7.0] * 5 + [6.0] * 4
    assert set(node_places(network, structure)) == {"fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"}
    maps = Conv4((2, 3, 4, 2, 5, 4), (1, 8, 8), 3)
    structure = find(maps, torch.randn(2, 1, 8, 8))
    sizes = node_sizes(maps, structure)
    assert sizes[structure.slices()["conv2"]].tolist() == [2 * 9 + 1.0] * 3
    assert sizes[structure.slices()["fc1"]].tolist() == [float(maps.get_parameter("fc1.weight").shape[1] + 1)] * 5


def test_a_node_s_weights_are_scaled_and_no_others() -> None:
    network = LeNet300((3, 2), (4,), 3)
    structure = find(network, torch.randn(2, 4), inputs="none")
    places, scale = node_places(network, structure), torch.tensor([2.0, 3.0, 4.0, 5.0, 6.0])
    weight = network.fc2.weight.detach()
    assert torch.equal(scaled(weight, places["fc2.weight"], scale), weight * torch.tensor([[5.0], [6.0]]))
    assert torch.equal(scaled(weight, (), scale), weight)


@pytest.mark.parametrize("kind", [GroupLassoSlab, GroupHorseshoeSlab])
def test_the_prior_as_a_program(kind: Any) -> None:
    """Weights are normal with the deviation scale * slab, given the scales that the program drew."""
    network = LeNet300((3, 2), (4,), 3)
    structure = find(network, torch.randn(2, 4), inputs="none")
    slab = kind(0.5, node_sizes(network, structure), node_places(network, structure))
    torch.manual_seed(0)
    trace = poutine.trace(slab.sample).get_trace(network)
    trace.compute_log_prob()
    square: Any = trace.nodes["scale.node" if kind is GroupLassoSlab else "scale.node.a"]["value"]
    assert square.shape == (5,)
    site: Any = trace.nodes["w.fc2.weight"]
    deviation = site["fn"].base_dist.scale
    assert deviation.shape == (2, 3) and bool((deviation == deviation[:, :1]).all())
    if kind is GroupLassoSlab:
        torch.testing.assert_close(deviation[:, 0], 0.5 * square[3:].sqrt())
    expected = (-(site["value"] ** 2) / (2 * deviation**2) - deviation.log() - 0.5 * np.log(2 * pi)).sum()
    torch.testing.assert_close(site["log_prob_sum"], expected)
    assert bool((trace.nodes["w.fc3.bias"]["fn"].base_dist.scale == 0.5).all())
    with pytest.raises(SettingError, match="weight_sites=True"):
        slab.log_prob(network)
    with pytest.raises(SettingError, match="finite deviation"):
        kind(float("inf"), torch.ones(1), {})
    pyro.clear_param_store()

"""The slab over weights: density, gradient, sites."""

from typing import Any

import pyro
import pytest
import torch
from torch import nn
from torch.distributions import Normal

from bayesprune.errors import SettingError
from bayesprune.models.priors.weights import GaussianSlab, slab_parameters


def network() -> nn.Module:
    """A convolution, a batch normalisation (not covered), and a linear layer without bias."""
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(1, 3, 2), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2, bias=False))
    return layers.double()


def test_covers_linear_and_convolution_layers() -> None:
    assert list(slab_parameters(network())) == ["0.weight", "0.bias", "3.weight"]
    assert list(slab_parameters(nn.Linear(2, 1))) == ["weight", "bias"]
    assert slab_parameters(nn.BatchNorm1d(3)) == {}


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_log_density_and_its_gradient(scale: float) -> None:
    """Torch's Normal, entry by entry; -w / scale^2."""
    layers = network()
    covered = slab_parameters(layers)
    log_prob = GaussianSlab(scale).log_prob(layers)
    law = Normal(torch.zeros((), dtype=torch.float64), scale)
    expected = torch.stack([law.log_prob(p.detach()).sum() for p in covered.values()]).sum()
    torch.testing.assert_close(log_prob.detach(), expected)
    given = GaussianSlab(scale).log_prob(layers, tuple(covered.values()))  # spares looking for them
    torch.testing.assert_close(given, log_prob)
    (3 * log_prob).backward()
    for parameter in covered.values():
        torch.testing.assert_close(parameter.grad, -3 * parameter.detach() / scale**2)
    assert layers.get_parameter("1.weight").grad is None


def test_flat_slab_adds_nothing() -> None:
    slab = GaussianSlab(float("inf"))
    assert slab.log_prob(network()) == 0
    with pytest.raises(SettingError, match="cannot be sampled"):
        slab.sample(network())
    assert GaussianSlab().log_prob(nn.ReLU()) == 0


def test_sites() -> None:
    """One Normal site a tensor, all of its axes in the event."""
    layers = network()
    trace: Any = pyro.poutine.trace(GaussianSlab(0.5).sample).get_trace(layers)
    assert {"w.0.weight", "w.0.bias", "w.3.weight"} == set(trace.nodes) - {"_INPUT", "_RETURN"}
    site = trace.nodes["w.0.weight"]
    assert site["fn"].event_shape == (3, 1, 2, 2)
    assert site["fn"].batch_shape == ()
    assert site["value"].dtype == torch.float64
    trace.compute_log_prob()
    values = torch.cat([trace.nodes[name]["value"].flatten() for name in trace.nodes if name.startswith("w.")])
    torch.testing.assert_close(trace.log_prob_sum(), Normal(torch.tensor(0.0).double(), 0.5).log_prob(values).sum())
    torch.manual_seed(0)
    draws = torch.stack([GaussianSlab(0.5).sample(layers)["3.weight"] for _ in range(2000)])
    assert float(draws.std()) == pytest.approx(0.5, rel=4 / (2 * draws.numel()) ** 0.5)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
def test_scales_that_cannot_be_used(scale: float) -> None:
    with pytest.raises(SettingError, match="scale must be > 0"):
        GaussianSlab(scale)

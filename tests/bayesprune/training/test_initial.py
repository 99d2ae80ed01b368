"""Glorot's initial weights, against their variance and against sums that the authors' logs print."""

from math import floor

import pytest
import torch
from torch import nn

from bayesprune.models import LeNet5, LeNet300
from bayesprune.structure import weights_of
from bayesprune.training.initial import glorot


def drawn(network: nn.Module, seed: int = 0) -> nn.Module:
    """The network with weights of a seed."""
    torch.manual_seed(seed)
    glorot(network)
    return network


def test_variance_and_range() -> None:
    layers = {"linear": (nn.Linear(400, 300), 700), "convolution": (nn.Conv2d(30, 40, 5), 30 * 25 + 40 * 25)}
    for layer, fans in layers.values():
        drawn(layer)
        deviation = (2 / fans) ** 0.5
        weight = layer.get_parameter("weight").detach()
        assert float(weight.std()) == pytest.approx(deviation, rel=0.02)
        assert 1.99 * deviation / 0.8796 < float(weight.abs().max()) <= 2 * deviation / 0.8796 * (1 + 1e-6)
        assert float(layer.get_parameter("bias").detach().std()) == pytest.approx(0.01, rel=0.4)


@pytest.mark.parametrize(("network", "expected", "within"), [(LeNet300(), 83.0, 0.5), (LeNet5(), 91.8, 0.5)])
def test_sum_of_squares_of_the_largest_weights_as_the_authors_log_it(
    network: nn.Module, expected: float, within: float
) -> None:
    # 3 % of each layer by magnitude: 82.9 and 83.1 (LeNet-300-100), 91.9 and 91.9 (LeNet-5) in their notebooks.
    total = 0.0
    for weight in weights_of(drawn(network)).values():
        ordered = weight.detach().abs().flatten().sort().values
        total += float(ordered[floor(0.97 * len(ordered)) + 1 :].square().sum())
    assert total == pytest.approx(expected, abs=within)


def test_other_layers_and_the_seed() -> None:
    linear, normalisation = nn.Linear(4, 4, bias=False), nn.BatchNorm1d(4)
    network = nn.Sequential(linear, normalisation)
    scale = normalisation.weight.detach().clone()
    found = []
    for seed in (0, 0, 1):
        drawn(network, seed)
        found.append(linear.weight.detach().clone())
    assert torch.equal(normalisation.weight, scale)
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])

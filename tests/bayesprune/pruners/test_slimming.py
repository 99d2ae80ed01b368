"""Training with an L1 penalty on the scales of batch normalisation."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bayesprune.data import Data
from bayesprune.errors import NetworkError, SettingError
from bayesprune.pruners.channels import batchnorm_scale
from bayesprune.pruners.problem import Problem
from bayesprune.pruners.slimming import ScaleSparsity
from bayesprune.structure import find
from bayesprune.training import NegativeLogLikelihood, Phase, TrainState, adam, constant, train


class Normalised(nn.Module):
    """Two normalised convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)
        self.conv2, self.norm2 = nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5)
        self.last = nn.Linear(5, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        maps = self.norm1(self.conv1(inputs)).relu()
        outputs: Tensor = self.last(self.norm2(self.conv2(maps)).relu().mean((2, 3)))
        return outputs


def state_of(data: Data, network: nn.Module, **settings: Any) -> tuple[TrainState, Tensor, Tensor]:
    inputs, labels = next(iter(data.train.batches(30)))
    return TrainState(network, find(network, inputs[:2], **settings), inputs[:2]), inputs, labels


@pytest.fixture
def network() -> Normalised:
    torch.manual_seed(2)
    made = Normalised()
    made.norm1.weight.data = torch.tensor([0.5, -2.0, 0.0, 1.0])
    made.norm2.weight.data = torch.tensor([1.0, 1.0, -3.0, 0.25, 0.0])
    return made


def gradients(network: Normalised, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, [network.norm1.weight, network.norm2.weight, network.conv1.weight]))


def test_loss_and_subgradient(small_data: Data, network: Normalised) -> None:
    state, inputs, labels = state_of(small_data, network)
    objective = ScaleSparsity(0.125)
    objective.attach(state)
    loss = objective.loss(state, inputs, labels)
    plain = cross_entropy(network(inputs), labels)
    assert loss.item() == pytest.approx(plain.item() + 0.125 * (3.5 + 5.25))
    ours, theirs = gradients(network, loss), gradients(network, plain)
    signs = [[1.0, -1, 0, 1], [1.0, 1, -1, 1, 0]]
    for one, other, sign in zip(ours, theirs, signs, strict=False):
        torch.testing.assert_close(one, other + 0.125 * torch.tensor(sign))
    torch.testing.assert_close(ours[2], theirs[2])


def test_only_channels_that_can_be_removed_are_pressed(small_data: Data, network: Normalised) -> None:
    state, inputs, labels = state_of(small_data, network, keep=["conv2", "norm2"])
    objective = ScaleSparsity(1.0)
    objective.attach(state)
    loss = objective.loss(state, inputs, labels)
    assert loss.item() == pytest.approx(cross_entropy(network(inputs), labels).item() + 3.5)


class BesideInputs(nn.Module):
    """A normalisation over maps and the network's input, which cannot be removed."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.last = nn.Conv2d(1, 3, 1), nn.BatchNorm2d(4), nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        maps = self.norm(torch.cat([inputs, self.conv(inputs)], 1))
        outputs: Tensor = self.last(maps.relu().mean((2, 3)))
        return outputs


def test_a_scale_without_a_gate_is_not_pressed(small_data: Data) -> None:
    network = BesideInputs()
    network.norm.weight.data = torch.tensor([8.0, 1.0, -2.0, 0.5])
    state, inputs, labels = state_of(small_data, network)
    objective = ScaleSparsity(1.0)
    objective.attach(state)
    loss = objective.loss(state, inputs, labels)
    assert loss.item() == pytest.approx(cross_entropy(network(inputs), labels).item() + 3.5)


def test_after_a_shrink_the_scales_that_are_left_count(small_data: Data, network: Normalised) -> None:
    state, inputs, labels = state_of(small_data, network)
    objective = ScaleSparsity(1.0)
    objective.attach(state)
    state.shrink(torch.tensor([True, False, True, True, True, True, False, True, True]))
    objective.attach(state)
    loss = objective.loss(state, inputs, labels)
    assert loss.item() == pytest.approx(cross_entropy(network(inputs), labels).item() + 1.5 + 2.25)


def test_noise_is_that_of_cross_entropy_and_hooks_go(small_data: Data, network: Normalised) -> None:
    state, inputs, labels = state_of(small_data, network)
    values = []
    for objective in (ScaleSparsity(0.0, 0.3, 0.5), NegativeLogLikelihood(0.3, 0.5)):
        objective.attach(state)
        torch.manual_seed(4)
        values.append(objective.loss(state, inputs, labels).item())
        objective.detach()
        assert not any(module._forward_pre_hooks for module in network.modules())
    assert values[0] == pytest.approx(values[1])
    assert values[0] != pytest.approx(cross_entropy(network(inputs), labels).item())


def test_training_makes_scales_small(small_data: Data) -> None:
    totals = []
    for strength in (0.0, 0.1):
        torch.manual_seed(3)
        state, _, _ = state_of(small_data, Normalised())
        phase = Phase("train", 40, ScaleSparsity(strength), adam(0.02), constant)
        train(state, [phase], small_data, batch_size=60, seed=1)
        totals.append(float(batchnorm_scale(Problem.of(state, small_data)).sum()))
    assert totals[1] < 0.5 * totals[0]


def test_a_network_without_normalisation_is_refused_when_training_begins(small_data: Data) -> None:
    state, _, _ = state_of(small_data, nn.Sequential(nn.Flatten(), nn.Linear(36, 5), nn.ReLU(), nn.Linear(5, 3)))
    phase = Phase("train", 2, ScaleSparsity(0.1), adam(0.02), constant)
    with pytest.raises(NetworkError, match="use another score"):
        train(state, [phase], small_data, batch_size=60, seed=1)


@pytest.mark.parametrize("strength", [-0.1, float("nan"), float("inf")])
def test_a_strength_that_is_none_is_refused(strength: float) -> None:
    with pytest.raises(SettingError, match="strength must be a finite number >= 0"):
        ScaleSparsity(strength)

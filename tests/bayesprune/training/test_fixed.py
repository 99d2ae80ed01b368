"""How networks are trained at fixed structure, by kind of network and amount of data."""

from copy import deepcopy
from math import cos, pi
from typing import Any

import pytest
import torch
from torch import nn

from bayesprune.data import Data, Split, TensorSplit
from bayesprune.errors import SettingError
from bayesprune.experiments.methods import method
from bayesprune.models import LeNet300
from bayesprune.pruners.methods import Dense
from bayesprune.run.running import run
from bayesprune.run.settings import RunSettings
from bayesprune.training import NegativeLogLikelihood
from bayesprune.training.fixed import FixedTraining

PERCEPTRON, CONVOLUTIONAL = nn.Linear(2, 2), nn.Sequential(nn.Conv2d(1, 1, 1))


class Loader:
    """A split that has batches of its own: 500 of them."""

    steps = 500

    def __len__(self) -> int:
        return 50_000


def split(examples: int) -> TensorSplit:
    return TensorSplit(torch.zeros(examples, 1), torch.zeros(examples, dtype=torch.int64))


def training(network: nn.Module, train: Split, epochs: int, **given: Any) -> FixedTraining:
    rate = given.pop("learning_rate", None)
    return FixedTraining.of(RunSettings("dense", **given), network, train, epochs=epochs, slab=0.5, learning_rate=rate)


def test_much_data_makes_a_perceptron_take_twice_the_examples_a_step() -> None:
    """At sqrt(2) the learning rate; a network with convolutions has nothing to gain."""
    found = training(PERCEPTRON, split(55_000), 30)
    assert (found.batch_size, found.steps) == (200, 30 * 275)
    assert found.learning_rate == pytest.approx(7.0711e-3, rel=1e-4)
    assert found.decay == 4 / 55_000
    found = training(CONVOLUTIONAL, split(55_000), 30)
    assert (found.batch_size, found.steps, found.learning_rate) == (100, 30 * 550, 5e-3)


@pytest.mark.parametrize(
    ("train", "epochs"),
    [
        (split(3_500), 60),  # 18 steps an epoch would be left
        (split(55_000), 29),  # 7,975 steps would be left
        (split(55_001), 30),  # the last batch would hold one example, on which batch normalisation cannot train
        (Loader(), 100),  # its batches are its own
    ],
)
def test_otherwise_a_perceptron_takes_the_batch_size_of_the_run(train: Any, epochs: int) -> None:
    found = training(PERCEPTRON, train, epochs)
    assert (found.batch_size, found.learning_rate) == (100, 5e-3)
    assert found.steps == epochs * (500 if isinstance(train, Loader) else -(-len(train) // 100))


def test_noise_depends_on_the_kind_of_network_and_consistency_on_the_number_of_examples_too() -> None:
    one, other = (training(network, split(500), 1) for network in (PERCEPTRON, CONVOLUTIONAL))
    assert (one.noise, one.consistency, other.noise, other.consistency) == (0.3, 0.5, 0.2, 0.0)
    assert [training(PERCEPTRON, split(count), 1).consistency for count in (9_999, 10_000)] == [0.5, 0.0]


@pytest.mark.parametrize(
    ("network", "examples", "decay"),
    [(PERCEPTRON, 55_000, 4 / 55_000), (CONVOLUTIONAL, 55_000, 5e-4), (CONVOLUTIONAL, 400, 0.01)],
)
def test_weights_decay_as_the_prior_asks_and_with_convolutions_not_less_than_usual(
    network: nn.Module, examples: int, decay: float
) -> None:
    assert training(network, split(examples), 1).decay == pytest.approx(decay)


def test_what_is_asked_for_overrules_the_defaults() -> None:
    found = training(PERCEPTRON, split(55_000), 30, noise=0.0, consistency=0.5, batch_size=50, learning_rate=0.5)
    assert (found.noise, found.consistency, found.batch_size, found.learning_rate) == (0.0, 0.5, 100, 0.5)


def test_the_phase_is_what_it_says() -> None:
    phase = training(PERCEPTRON, split(55_000), 30).phase()
    assert (phase.name, phase.steps, phase.batch_size) == ("fixed", 8_250, 200)
    assert isinstance(phase.objective, NegativeLogLikelihood)
    assert (phase.objective.noise, phase.objective.consistency) == (0.3, 0.0)
    assert (phase.schedule(0.0), phase.schedule(0.5), phase.schedule(1.0)) == pytest.approx((1.0, 0.5, 0.0))


def test_gradient_descent_is_that_of_the_formula(small_data: Data) -> None:
    """Nesterov's momentum 0.9, coupled decay, half a cosine from 0.1; four epochs of one batch by hand."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    assert isinstance(small_data.train, TensorSplit)
    count = len(small_data.train)
    settings = RunSettings("dense", epochs=4, batch_size=count, noise=0.0, consistency=0.0, optimizer="sgd")
    trained = run(Dense(), network, small_data, settings).network
    layer = deepcopy(network)[1]
    (inputs, labels) = next(small_data.train.batches(count))
    decay = 1 / (count * 0.5**2)
    momenta = [torch.zeros_like(parameter) for parameter in layer.parameters()]
    for step in range(4):
        loss = nn.functional.cross_entropy(layer(inputs.flatten(1)), labels)
        rate = 0.1 * 0.5 * (1 + cos(pi * step / 4))
        for parameter, momentum, slope in zip(
            layer.parameters(), momenta, torch.autograd.grad(loss, list(layer.parameters())), strict=True
        ):
            slope = slope + decay * parameter.detach()
            momentum.mul_(0.9).add_(slope)
            parameter.data.sub_(rate * (slope + 0.9 * momentum))
    for parameter, own in zip(trained.parameters(), layer.parameters(), strict=True):
        torch.testing.assert_close(parameter, own, rtol=1e-4, atol=1e-6)


def test_methods_with_an_optimizer_of_their_own_refuse_another() -> None:
    settings = RunSettings("magnitude", density=0.5, optimizer="sgd", options={"training": "plain"})
    with pytest.raises(SettingError, match=r"optimizer='sgd' does nothing here, since training='plain' has one of its"):
        method("magnitude").normal(settings)
    assert RunSettings("dense", optimizer="adam") == RunSettings("dense")
    with pytest.raises(SettingError, match="unknown optimizer 'lion': .*there are adam, sgd"):
        RunSettings("dense", optimizer="lion")


@pytest.mark.parametrize("name", ["l1-units", "parsimonious"])
def test_momenta_are_cut_along(name: str, small_data: Data) -> None:
    """A run that removes channels under gradient descent ends, at the size that was asked for."""
    network = LeNet300((12, 8), (1, 6, 6), 3)
    settings = RunSettings(name, epochs=4, batch_size=50, optimizer="sgd", learning_rate=0.01, budget="params=30%")
    pruned = run(method(name), network, small_data, settings)
    assert pruned.evaluation.params <= 0.3 * sum(parameter.numel() for parameter in network.parameters())

"""Tiny gated networks in double precision, small enough to enumerate their gates."""

from collections.abc import Callable, Iterable
from itertools import product
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bayesprune.inference.guides import GateGuide
from bayesprune.inference.objective import GATES, GUIDE
from bayesprune.inference.projected import ProjectedGateDescent
from bayesprune.inference.relaxed import LogitGateGuide
from bayesprune.models import LeNet300
from bayesprune.models.gated import GatedModel
from bayesprune.models.priors.gates import FlatteningGatePrior
from bayesprune.structure import find
from bayesprune.training import TrainState

SIX = (0.25, 0.6, 0.5, 0.875, 0.4, 0.7)
"""Inclusion probabilities of a network of six gates, all strictly inside."""


class Tiny(NamedTuple):
    """A gated network with a guide and the whole of its training data."""

    model: GatedModel
    guide: GateGuide
    inputs: Tensor
    labels: Tensor


class Moments(NamedTuple):
    """Means of independent draws, and the standard errors of those means."""

    mean: Tensor
    error: Tensor

    def distance(self, truth: Tensor) -> Tensor:
        """How many standard errors the means are from the truth; what does not vary must be equal to 1e-9."""
        return (self.mean - truth.detach()).abs() / self.error.clamp_min(1e-9 / 3)


@pytest.fixture
def tiny() -> Callable[..., Tiny]:
    """Makes a perceptron 4-3-3-3 with gates on its two hidden layers, and five examples (N = 5)."""

    def make(
        *,
        theta: Any = SIX,
        log_gamma: Any = 2.0,
        gate_prior: nn.Module | None = None,
        inputs: Any = "none",
        examples: int = 5,
        seed: int = 0,
        guide: Callable[..., GateGuide] = GateGuide,
        **settings: Any,
    ) -> Tiny:
        """`theta` and `log_gamma` are numbers or one for each gate; `settings` are those of `GatedModel`."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = LeNet300((3, 3), (4,), 3).double()
            for parameter in network.parameters():
                nn.init.normal_(parameter, 0.0, 0.9)  # large enough for gates to interact
            features = torch.randn(examples, 4, dtype=torch.float64)
            labels = torch.randint(3, (examples,))
        structure = find(network, features, inputs=inputs)
        prices = torch.as_tensor(log_gamma, dtype=torch.float64).expand(structure.gate_count)
        prior: Any = gate_prior or FlatteningGatePrior(prices)
        model = GatedModel(network, structure, prior, examples, **settings)
        bound = guide(model).double()
        probabilities = torch.as_tensor(theta, dtype=torch.float64).expand(structure.gate_count)
        with torch.no_grad():
            if isinstance(bound, LogitGateGuide):
                bound.logit.copy_(probabilities.logit())
            else:
                bound.theta.copy_(probabilities)
        return Tiny(model, bound, features, labels)

    return make


@pytest.fixture
def by_hand() -> Callable[[Tiny], tuple[Tensor, Tensor]]:
    """The oracle's oracle: E[mean cross-entropy] of a tiny network, and for each example its expected loss.

    The sum over all settings of the six hidden gates, the network written out; differentiable in theta and weights.
    """

    gates = torch.tensor(list(product([0.0, 1.0], repeat=6)), dtype=torch.float64).unsqueeze(1)  # [64, 1, 6]

    def expect(case: Tiny) -> tuple[Tensor, Tensor]:
        network: Any = case.model.network
        theta = case.guide.theta
        hidden = network.fc1(case.inputs).relu() * gates[..., :3]
        logits = network.fc3(network.fc2(hidden).relu() * gates[..., 3:])
        labels = case.labels.expand(64, -1)
        losses = cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").reshape(64, -1)
        chances = (gates * theta + (1 - gates) * (1 - theta)).prod(-1)  # [64, 1]
        expected = (chances * losses).sum(0)
        return expected.mean(), expected

    return expect


@pytest.fixture
def moments() -> Callable[[Iterable[Tensor]], Moments]:
    """Mean and standard error of independent draws."""

    def reduce(draws: Iterable[Tensor]) -> Moments:
        stacked = torch.stack([draw.detach() for draw in draws])
        return Moments(stacked.mean(0), stacked.std(0) / len(stacked) ** 0.5)

    return reduce


@pytest.fixture
def gated_state() -> Callable[..., TrainState]:
    """Makes the state of a perceptron 6-5-4-3 in training: gates on inputs and hidden units (15), both optimizers."""

    def make(theta: Any = 0.5, *, horizon: float = 100, slow_smoothing: float | None = None) -> TrainState:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = LeNet300((5, 4), (6,), 3)
            example = torch.randn(2, 6)
        state = TrainState(network, find(network, example), example)
        model = GatedModel(network, state.structure, FlatteningGatePrior(torch.ones(15)), 1)
        state.modules[GUIDE] = guide = GateGuide(model, torch.as_tensor(theta))
        model.close()
        gates = ProjectedGateDescent([guide.theta], horizon, slow_smoothing=slow_smoothing)
        state.optimizers = {"network": torch.optim.Adam(network.parameters(), 1e-3), GATES: gates}
        return state

    return make

"""States of tiny networks with a method's guide and its first phase, ready for a step."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from bayesprune.data import Data
from bayesprune.inference.multipliers.relatives import RELATIVES
from bayesprune.models import Conv4, LeNet300
from bayesprune.run.method import Plan
from bayesprune.run.running import initial_state
from bayesprune.run.settings import RunSettings
from bayesprune.training import TrainState
from bayesprune.training.phase import make_optimizers

METHODS = {method.name: method for method in RELATIVES}
Begun = tuple[TrainState, Plan]


def perceptron() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LeNet300((12, 8), (1, 6, 6), 3)


def convolutional() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Conv4((4, 4, 5, 5, 7, 6), (1, 6, 6), 3)


@pytest.fixture(params=[perceptron, convolutional], ids=["perceptron", "convolutional"])
def network(request: pytest.FixtureRequest) -> nn.Module:
    """A network of 56 gates (inputs included), and one of 30."""
    made: nn.Module = request.param()
    return made


@pytest.fixture
def begun(small_data: Data) -> Callable[..., Begun]:
    """Makes a state and the plan of a method; `settings` are those of the run."""

    def make(method: str, network: nn.Module | None = None, settings: Any = (), **options: Any) -> Begun:
        chosen: dict[str, Any] = {"epochs": 4, "batch_size": 40, "options": options} | dict(settings)
        given = RunSettings(method, **chosen)
        state = initial_state(network or perceptron(), small_data, given)
        plan = METHODS[method].plan(state, small_data, given)
        make_optimizers(state, plan.phases[0])
        plan.phases[0].objective.attach(state)
        return state, plan

    return make

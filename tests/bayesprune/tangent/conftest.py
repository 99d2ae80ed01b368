"""A small perceptron, runs of tangent transfer on it, and their phases one by one."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from bayesprune.data import Data
from bayesprune.models import LeNet300
from bayesprune.run.method import Plan
from bayesprune.run.pruned import Pruned
from bayesprune.run.running import initial_state, run
from bayesprune.run.settings import RunSettings
from bayesprune.tangent.method import NeuralTangentTransfer
from bayesprune.training import TrainState, train


def perceptron() -> nn.Module:
    """36-12-8-3."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LeNet300((12, 8), (1, 6, 6), 3)


def settings_of(own: dict[str, Any]) -> RunSettings:
    """Eight steps of transfer and one epoch; what is no setting of a run is an option of the method."""
    known = {name: own.pop(name) for name in list(own) if name in RunSettings.__dataclass_fields__}
    size = {} if {"density", "budget"} & known.keys() else {"density": 0.3}
    plain: dict[str, Any] = {"method": "ntt", "epochs": 1, "batch_size": 24, "seed": 3}
    return RunSettings(**plain | size | known, options={"steps": 8, "every": 2, **own})


@pytest.fixture
def run_ntt() -> Callable[..., Pruned]:
    """Runs tangent transfer from data, with settings of the run and options of the method."""

    def runs(
        data: Data, network: nn.Module | None = None, *, given: dict[str, Any] | None = None, **own: Any
    ) -> Pruned:
        return run(NeuralTangentTransfer(), network or perceptron(), data, settings_of(own), **given or {})

    return runs


@pytest.fixture
def planned() -> Callable[..., tuple[TrainState, Plan]]:
    """Makes a state and the plan for it."""

    def plans(data: Data, network: nn.Module | None = None, **own: Any) -> tuple[TrainState, Plan]:
        chosen = settings_of(own)
        state = initial_state(network or perceptron(), data, chosen)
        return state, NeuralTangentTransfer().plan(state, data, chosen)

    return plans


@pytest.fixture
def transferred(planned: Callable[..., tuple[TrainState, Plan]]) -> Callable[..., tuple[TrainState, Plan]]:
    """The same after the transfer, before its result is handed over."""

    def transfers(data: Data, network: nn.Module | None = None, **own: Any) -> tuple[TrainState, Plan]:
        state, plan = planned(data, network, **own)
        train(state, plan.phases[:1], data, batch_size=24, seed=3, describe=plan.describe)
        return state, plan

    return transfers

"""Numbers that are no numbers stop the training, and what was good stays on disk."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bayesprune.data import Data
from bayesprune.errors import DivergenceError
from bayesprune.store.tensors import load_tensors
from bayesprune.training import Checkpointer, NegativeLogLikelihood, Phase, TrainState, constant, train

MakeState = Callable[..., TrainState]
MakePhase = Callable[..., Phase]


def diverge(state: TrainState, phases: list[Phase], data: Data, file: Path | None, **settings: Any) -> DivergenceError:
    checkpointer = None if file is None else Checkpointer(file, steps=1)
    with pytest.raises(DivergenceError) as caught:
        train(state, phases, data, **{"batch_size": 50, "seed": 7, "checkpointer": checkpointer} | settings)
    return caught.value


def assert_good(file: Path, fresh: TrainState, phases: list[Phase], identity: dict[str, Any], step: int) -> None:
    """The file is there, holds finite weights only, and can be gone on from."""
    values = load_tensors(file).values()
    assert all(bool(torch.isfinite(value).all()) for value in values if value.is_floating_point())
    fresh.identity = identity
    assert Checkpointer(file).restore(fresh, phases)
    assert fresh.step == step


@pytest.mark.parametrize(("rate", "good"), [(1e30, 1), (1e38, 0)])  # the larger one overflows at once
def test_a_huge_learning_rate(
    make_state: MakeState, phase: MakePhase, small_data: Data, tmp_path: Path, rate: float, good: int
) -> None:
    file, phases = tmp_path / "state", [phase(10, rate=rate)]
    state = make_state()
    error = diverge(state, phases, small_data, file)
    assert error.step == 2 and error.learning_rate == pytest.approx(rate, rel=0.1)
    assert error.last_good == file
    assert "at step 2 with learning rate" in str(error) and str(file) in str(error)
    assert_good(file, make_state(), phases, state.identity, good)


def test_a_loss_that_turns_nan_names_its_step_and_rate(
    make_state: MakeState, phase: MakePhase, small_data: Data, tmp_path: Path
) -> None:
    class Poisoned(NegativeLogLikelihood):
        def loss(self, state: TrainState, inputs: Tensor, labels: Tensor | None) -> Tensor:
            loss = super().loss(state, inputs, labels)
            return loss * float("nan") if state.step == 6 else loss

    file, phases = tmp_path / "state", [phase(10, rate=2e-3, objective=Poisoned(), schedule=constant)]
    state = make_state()
    error = diverge(state, phases, small_data, file)
    assert (error.step, error.learning_rate) == (7, 2e-3)
    assert "step 7 with learning rate 0.002" in str(error)
    assert_good(file, make_state(), phases, state.identity, 6)
    assert "no state had been saved yet" in str(diverge(make_state(), phases, small_data, None))


@pytest.mark.parametrize("poison", [float("inf"), float("-inf"), float("nan")])
def test_a_loss_that_is_not_finite_stops_the_step_it_happens_in(
    make_state: MakeState, phase: MakePhase, small_data: Data, poison: float
) -> None:
    """In the middle of an epoch, with nothing saved, and where the gradients are fine."""

    class Poisoned(NegativeLogLikelihood):
        def loss(self, state: TrainState, inputs: Tensor, labels: Tensor | None) -> Tensor:
            return super().loss(state, inputs, labels) + (poison if state.step == 6 else 0.0)

    state = make_state()
    assert diverge(state, [phase(10, objective=Poisoned())], small_data, None).step == 7
    assert state.step == 6


class NaNGradient(torch.autograd.Function):
    """The identity with a gradient that is no number."""

    @staticmethod
    def forward(context: Any, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * float("nan")


@pytest.mark.parametrize(("poisoned", "raised"), [(3, 4), (10, 10)])
def test_weights_that_turn_nan_are_never_saved_and_never_returned(
    make_state: MakeState, phase: MakePhase, small_data: Data, tmp_path: Path, poisoned: int, raised: int
) -> None:
    class Poisoned(NegativeLogLikelihood):
        def loss(self, state: TrainState, inputs: Tensor, labels: Tensor | None) -> Tensor:
            loss = super().loss(state, inputs, labels)
            return NaNGradient.apply(loss) if state.step + 1 == poisoned else loss

    file, phases = tmp_path / "state", [phase(10, objective=Poisoned())]
    state = make_state()
    error = diverge(state, phases, small_data, file)
    assert error.step == raised
    assert_good(file, make_state(), phases, state.identity, poisoned - 1)


def test_outputs_that_overflow_in_validation(
    make_state: MakeState, phase: MakePhase, small_data: Data, tmp_path: Path
) -> None:
    file, phases = tmp_path / "state", [phase(1, rate=1e30, schedule=constant)]
    error = diverge(make_state(), phases, small_data, file, batch_size=240)
    assert error.step == 1 and error.learning_rate == 1e30


def test_a_buffer_may_be_infinite(make_state: MakeState, phase: MakePhase, small_data: Data, tmp_path: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 4), nn.ReLU(), nn.Linear(4, 3))
    network.register_buffer("mask", torch.full((2,), float("-inf")))
    checkpointer = Checkpointer(tmp_path / "state", steps=2)
    train(make_state(network), [phase(2)], small_data, batch_size=50, seed=7, checkpointer=checkpointer)
    assert checkpointer.last_saved == tmp_path / "state"

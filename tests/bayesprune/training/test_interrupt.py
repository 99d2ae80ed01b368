"""Ctrl-C waits for the end of a step and saves; impatience does not wait."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from bayesprune.data import Data
from bayesprune.training import Checkpointer, Phase, Progress, TrainState, train
from bayesprune.training.interrupt import Interrupt

MakeState = Callable[..., TrainState]
MakePhase = Callable[..., Phase]


@pytest.fixture(autouse=True)
def _handlers_stay() -> Iterator[None]:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    yield
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def send_at(step: int, number: int = signal.SIGINT, times: int = 1) -> Callable[[Progress], None]:
    def progress(now: Progress) -> None:
        if now.step == step:
            for _ in range(times):
                os.kill(os.getpid(), number)

    return progress


def train_on(state: TrainState, phases: list[Phase], data: Data, **settings: Any) -> TrainState:
    return train(state, phases, data, batch_size=50, seed=7, **settings)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", [1, 5, 7, 10])
def test_a_signal_stops_at_the_end_of_the_step_with_the_state_saved(
    make_state: MakeState, phase: MakePhase, small_data: Data, tmp_path: Path, step: int, number: int
) -> None:
    file = tmp_path / "state"
    state = make_state()
    with pytest.raises(KeyboardInterrupt):
        train_on(
            state, [phase(10, noise=0.3)], small_data, checkpointer=Checkpointer(file), progress=send_at(step, number)
        )
    assert state.step == step and file.exists()
    resumed, whole = make_state(), make_state()
    train_on(resumed, [phase(10, noise=0.3)], small_data, checkpointer=Checkpointer(file))
    train_on(whole, [phase(10, noise=0.3)], small_data)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[name], value)


def test_a_second_ctrl_c_takes_effect_at_once(
    make_state: MakeState, phase: MakePhase, small_data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpointer = Checkpointer(tmp_path / "state")
    saved: list[int] = []
    monkeypatch.setattr(checkpointer, "save", lambda state: saved.append(state.step))
    with pytest.raises(KeyboardInterrupt):
        train_on(make_state(), [phase(10)], small_data, checkpointer=checkpointer, progress=send_at(3, times=2))
    assert saved == [0]


def test_a_second_sigterm_changes_nothing(
    make_state: MakeState, phase: MakePhase, small_data: Data, tmp_path: Path
) -> None:
    file = tmp_path / "state"
    state = make_state()
    with pytest.raises(KeyboardInterrupt):
        train_on(
            state, [phase(10)], small_data, checkpointer=Checkpointer(file),
            progress=send_at(3, signal.SIGTERM, times=3),
        )  # fmt: skip
    fresh = make_state()
    checkpointer = Checkpointer(file)
    fresh.identity = state.identity
    assert checkpointer.restore(fresh, [phase(10)]) and fresh.step == 3


def test_without_a_checkpoint_it_stops_as_well(make_state: MakeState, phase: MakePhase, small_data: Data) -> None:
    state = make_state()
    with pytest.raises(KeyboardInterrupt):
        train_on(state, [phase(10)], small_data, progress=send_at(4))
    assert state.step == 4


def test_a_signal_during_the_last_validation_is_not_lost(
    make_state: MakeState, phase: MakePhase, small_data: Data, tmp_path: Path
) -> None:
    file = tmp_path / "state"

    def describe(state: TrainState) -> dict[str, object]:
        if state.step == 10:
            os.kill(os.getpid(), signal.SIGINT)
        return {}

    with pytest.raises(KeyboardInterrupt):
        train_on(make_state(), [phase(10)], small_data, checkpointer=Checkpointer(file), describe=describe)
    resumed = train_on(make_state(), [phase(10)], small_data, checkpointer=Checkpointer(file))
    assert resumed.step == 10 and len(resumed.history) == 2


def test_a_signal_that_came_before_stops_the_training(
    make_state: MakeState, phase: MakePhase, small_data: Data
) -> None:
    state = make_state()
    with Interrupt():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            train_on(state, [phase(10)], small_data)
    assert state.step == 1


def test_a_signal_that_training_did_not_act_on_is_handed_on() -> None:
    """It came after the last step, when nothing looks any more."""
    with Interrupt() as outer:
        with Interrupt():
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            outer.raise_if_asked()


def test_an_ignored_signal_stays_ignored(make_state: MakeState, phase: MakePhase, small_data: Data) -> None:
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        state = train_on(make_state(), [phase(4)], small_data, progress=send_at(2, times=2))
    finally:
        signal.signal(signal.SIGINT, previous)
    assert state.step == 4


def test_other_threads_train_without_signals(make_state: MakeState, phase: MakePhase, small_data: Data) -> None:
    states: list[TrainState] = []
    work = threading.Thread(target=lambda: states.append(train_on(make_state(), [phase(3)], small_data)))
    work.start()
    work.join()
    assert states[0].step == 3

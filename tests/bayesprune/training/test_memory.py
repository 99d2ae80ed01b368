"""What methods remember: made once, typed, and saved with the state."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bayesprune.data import Data
from bayesprune.errors import StoreError
from bayesprune.training import Checkpointer, Memory, Phase, TrainState, train

MakeState = Callable[..., TrainState]


@dataclass
class Notes(Memory):
    best: Tensor | None = None
    factor: float = 1.0
    rows: list[tuple[int, float]] = field(default_factory=list)
    named: dict[str, Tensor] = field(default_factory=dict)


def noting(state: TrainState) -> None:
    notes = state.memory(Notes)
    notes.rows.append((state.step, 0.5))
    notes.factor *= 2
    notes.named["drawn"] = torch.rand(2)
    if state.step == 3:
        notes.best = torch.arange(3.0)


def test_a_memory_is_made_once_with_its_defaults_and_can_be_dropped(make_state: MakeState) -> None:
    state, other = make_state(), make_state()
    state.memory(Notes).rows.append((1, 2.0))
    assert state.memory(Notes) is state.memory(Notes)
    assert other.memory(Notes).rows == []
    state.forget(Notes)
    state.forget(Notes)
    assert state.memory(Notes) == Notes()


class StopError(Exception):
    """Stands for whatever ends a process."""


@pytest.mark.parametrize("stop", [1, 4, 5])
def test_it_comes_back_from_a_checkpoint_and_goes_on(
    make_state: MakeState, phase: Callable[..., Phase], small_data: Data, tmp_path: Path, stop: int
) -> None:
    phases = [phase(6, updates=[noting])]

    def interrupted(state: TrainState, step: int) -> TrainState:
        def progress(now: object) -> None:
            if state.step == step:
                raise StopError

        return train(
            state, phases, small_data, batch_size=50, seed=1, checkpointer=Checkpointer(tmp_path / "c", steps=1),
            progress=progress,
        )  # fmt: skip

    whole = train(make_state(), phases, small_data, batch_size=50, seed=1).memory(Notes)
    with pytest.raises(StopError):
        interrupted(make_state(), stop + 1)
    notes = interrupted(make_state(), -1).memory(Notes)
    assert notes.rows == whole.rows == [(step, 0.5) for step in range(1, 7)]
    assert notes.factor == whole.factor == 64.0
    assert notes.best is not None and notes.best.tolist() == [0.0, 1.0, 2.0]
    assert torch.equal(notes.named["drawn"], whole.named["drawn"])


@pytest.mark.parametrize(
    "tree", [{"rows": {}}, {"best": 3}, {"factor": "1"}, {"named": []}, {"unknown": 1}, {"rows": None}]
)
def test_a_field_of_another_kind_is_refused(tree: dict[str, object]) -> None:
    with pytest.raises(TypeError):
        Notes.from_tree(tree)


def test_whole_numbers_are_numbers() -> None:
    assert Notes.from_tree({"factor": 2}).factor == 2


def test_a_checkpoint_with_a_memory_that_no_method_has_is_refused_in_one_line(
    make_state: MakeState, phase: Callable[..., Phase], small_data: Data, tmp_path: Path
) -> None:
    state, phases = make_state(), [phase(1)]
    train(state, phases, small_data, batch_size=50, seed=1)
    state.memories = {"Gone": Notes()}
    checkpointer = Checkpointer(tmp_path / "state")
    checkpointer.save(state)
    with pytest.raises(StoreError, match="is not a state of this run"):
        train(make_state(), phases, small_data, batch_size=50, seed=1, checkpointer=checkpointer)

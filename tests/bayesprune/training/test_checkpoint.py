"""The state on disk: resumed from to the same numbers, and refused when it is not this run's."""

import errno
import os
import stat
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from bayesprune.data import Data, from_loaders
from bayesprune.errors import SettingError, StoreError
from bayesprune.models import LeNet300
from bayesprune.store.tree import load_tree, save_tree
from bayesprune.training import Checkpointer, Memory, NegativeLogLikelihood, Phase, TrainState, train

MakeState = Callable[..., TrainState]
MakePhase = Callable[..., Phase]


class StopError(Exception):
    """Stands for whatever ends a process."""


def stop_at(step: int) -> Callable[[Any], None]:
    def progress(now: Any) -> None:
        if now.step == step:
            raise StopError

    return progress


@dataclass
class Drawn(Memory):
    """What a phase of these tests remembers."""

    numbers: Tensor | None = None


@pytest.fixture
def plan(phase: MakePhase) -> Callable[[], list[Phase]]:
    """Two phases with noise; masks, a shrink and a wider step at the start of the second, and a shrink in it."""

    def start(state: TrainState) -> None:
        state.memory(Drawn).numbers = torch.rand(3)
        gates = torch.arange(state.structure.gate_count) % 4 != 1
        state.shrink(gates)
        weight = state.network.get_parameter("fc2.weight")
        state.masks = {"fc2.weight": (torch.rand_like(weight) > 0.3).float()}
        state.apply_masks()

    def shrink(state: TrainState) -> None:
        if state.phase_step == 4:
            state.shrink(torch.arange(state.structure.gate_count) % 3 != 1)

    def make() -> list[Phase]:
        wide: dict[str, Any] = {"batch_size": 80, "objective": NegativeLogLikelihood(0.2, 0.5)}
        second = phase(8, "second", start=start, updates=[shrink], **wide)
        return [phase(12, "first", noise=0.2), second]

    return make


def train_on(state: TrainState, phases: list[Phase], data: Data, **settings: Any) -> TrainState:
    return train(state, phases, data, **{"batch_size": 50, "seed": 7} | settings)


def numbers(state: TrainState) -> dict[str, Any]:
    """All that must not depend on interruptions: everything but seconds."""
    history = [{name: value for name, value in record.items() if name != "seconds"} for record in state.history]
    tensors = {f"network {name}": value for name, value in state.network.state_dict().items()}
    tensors |= {f"mask {name}": value for name, value in state.masks.items()}
    drawn = state.memory(Drawn).numbers
    tensors |= {} if drawn is None else {"drawn": drawn}
    counters = (state.step, state.epoch, state.macs, state.phase)
    return {"history": history, "kept": state.structure.kept(), "counters": counters} | {
        name: value.tolist() for name, value in tensors.items()
    }


@pytest.mark.parametrize("step", [1, 4, 5, 6, 11, 12, 13, 15, 16, 17, 19, 20])
def test_a_resumed_run_ends_with_the_same_numbers(
    make_state: MakeState, plan: Callable[[], list[Phase]], small_data: Data, tmp_path: Path, step: int
) -> None:
    whole = train_on(make_state(), plan(), small_data)
    file = tmp_path / "state"
    with pytest.raises(StopError):
        train_on(make_state(), plan(), small_data, checkpointer=Checkpointer(file, steps=1), progress=stop_at(step))
    # Stopped before the step was saved, so the state is that of the step before.
    resumed = train_on(make_state(), plan(), small_data, checkpointer=Checkpointer(file, steps=1))
    assert numbers(resumed) == numbers(whole)
    assert [record["steps"] for record in whole.history] == [5, 5, 2, 3, 3, 2]


@pytest.mark.parametrize("every", [3, 5, 7, 12])
def test_it_can_be_stopped_again_and_again(
    make_state: MakeState, plan: Callable[[], list[Phase]], small_data: Data, tmp_path: Path, every: int
) -> None:
    whole = train_on(make_state(), plan(), small_data)
    file = tmp_path / "state"
    for step in (2, 8, 12, 13, 14, 19):
        with pytest.raises(StopError):
            train_on(
                make_state(), plan(), small_data, checkpointer=Checkpointer(file, steps=every),
                progress=stop_at(step),
            )  # fmt: skip
    assert numbers(train_on(make_state(), plan(), small_data, checkpointer=Checkpointer(file))) == numbers(whole)


def test_a_finished_state_is_not_trained_on(
    make_state: MakeState, plan: Callable[[], list[Phase]], small_data: Data, tmp_path: Path
) -> None:
    checkpointer = Checkpointer(tmp_path / "state", steps=20)
    whole = train_on(make_state(), plan(), small_data, checkpointer=checkpointer)
    steps: list[int] = []
    again = train_on(
        make_state(), plan(), small_data, checkpointer=checkpointer, progress=lambda now: steps.append(now.step)
    )
    assert steps == [] and numbers(again) == numbers(whole)


def test_saving_changes_nothing(
    make_state: MakeState, plan: Callable[[], list[Phase]], small_data: Data, tmp_path: Path
) -> None:
    saved = train_on(make_state(), plan(), small_data, checkpointer=Checkpointer(tmp_path / "state", steps=1))
    assert numbers(saved) == numbers(train_on(make_state(), plan(), small_data))


def test_a_start_that_is_refused_leaves_nothing_on_disk(
    make_state: MakeState, phase: MakePhase, small_data: Data, tmp_path: Path
) -> None:
    def refuse(state: TrainState) -> None:
        raise SettingError("cannot be")

    with pytest.raises(SettingError, match="cannot be"):
        train_on(make_state(), [phase(3, start=refuse)], small_data, checkpointer=Checkpointer(tmp_path / "state"))
    assert list(tmp_path.iterdir()) == []


def test_resume_can_be_declined(make_state: MakeState, phase: MakePhase, small_data: Data, tmp_path: Path) -> None:
    file = tmp_path / "state"
    with pytest.raises(StopError):
        train_on(make_state(), [phase(9)], small_data, checkpointer=Checkpointer(file, steps=1), progress=stop_at(6))
    steps: list[int] = []
    train_on(
        make_state(), [phase(9)], small_data, checkpointer=Checkpointer(file, resume=False),
        progress=lambda now: steps.append(now.step),
    )  # fmt: skip
    assert steps[0] == 1
    with pytest.raises(SettingError, match="every 0 steps"):
        Checkpointer(file, steps=0)


def test_time_decides_when_no_steps_are_given(make_state: MakeState, tmp_path: Path) -> None:
    state = make_state()
    assert not Checkpointer(tmp_path / "state", seconds=1e6).is_due(state)
    assert Checkpointer(tmp_path / "state", seconds=0.0).is_due(state)


@pytest.mark.parametrize(("cost", "next_save"), [(0.01, 15.0), (0.3, 15.0), (3.0, 150.0)])
def test_the_time_between_saves_grows_with_what_a_save_takes(
    cost: float, next_save: float, make_state: MakeState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A save of 3 seconds, and 2 % of the time for saving: 150 seconds until the next one."""
    clock = [100.0]

    def save_tree(path: Path, tree: object) -> None:
        clock[0] += cost

    monkeypatch.setattr("bayesprune.training.checkpoint.monotonic", lambda: clock[0])
    monkeypatch.setattr("bayesprune.training.checkpoint.save_tree", save_tree)
    checkpointer, state = Checkpointer(tmp_path / "state"), make_state()
    checkpointer.save(state)
    saved = clock[0]
    for seconds, due in ((next_save - 0.1, False), (next_save + 0.1, True)):
        clock[0] = saved + seconds
        assert checkpointer.is_due(state) == due


@pytest.fixture
def saved(make_state: MakeState, phase: MakePhase, small_data: Data, tmp_path: Path) -> Path:
    """The file of a run of ten steps that was stopped at the sixth."""
    file = tmp_path / "state"
    with pytest.raises(StopError):
        train_on(make_state(), [phase(10)], small_data, checkpointer=Checkpointer(file, steps=1), progress=stop_at(6))
    return file


def resume(state: TrainState, phases: list[Phase], data: Data, file: Path, **settings: Any) -> TrainState:
    return train_on(state, phases, data, checkpointer=Checkpointer(file), **settings)


@pytest.mark.parametrize("place", [0, 7, 8, 60, 500, -1])
def test_a_changed_byte_is_refused(
    make_state: MakeState, phase: MakePhase, small_data: Data, saved: Path, place: int
) -> None:
    content = bytearray(saved.read_bytes())
    content[place] ^= 0x01
    saved.write_bytes(content)
    with pytest.raises(StoreError, match="damaged|not a whole|holds no saved state"):
        resume(make_state(), [phase(10)], small_data, saved)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_file_is_refused(
    make_state: MakeState, phase: MakePhase, small_data: Data, saved: Path, share: float
) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(share * len(content))])
    with pytest.raises(StoreError):
        resume(make_state(), [phase(10)], small_data, saved)


def test_no_changed_byte_gets_through(make_state: MakeState, phase: MakePhase, saved: Path, small_data: Data) -> None:
    state = make_state()
    train_on(state, [phase(10)], small_data)
    content, generator = saved.read_bytes(), torch.Generator().manual_seed(0)
    for place in torch.randint(len(content), (40,), generator=generator).tolist():
        for changed in (content[:place], content[:place] + bytes([content[place] ^ 0x40]) + content[place + 1 :]):
            saved.write_bytes(changed)
            fresh = make_state()
            fresh.identity = state.identity
            with pytest.raises(StoreError):
                Checkpointer(saved).restore(fresh, [phase(10)])


def test_a_users_shuffling_loader_is_gone_on_with_where_it_stood(
    make_state: MakeState, phase: MakePhase, small_data: Data, tmp_path: Path
) -> None:
    def loaders() -> Data:
        splits = (small_data.train, small_data.validation, small_data.test)
        first, *others = (TensorDataset(*next(iter(split.batches(len(split))))) for split in splits)
        return from_loaders(DataLoader(first, 50, shuffle=True), *(DataLoader(one, 50) for one in others), classes=3)

    whole, file = train_on(make_state(), [phase(10, noise=0.3)], loaders()), tmp_path / "state"
    with pytest.raises(StopError):
        train_on(
            make_state(), [phase(10, noise=0.3)], loaders(), checkpointer=Checkpointer(file, steps=1),
            progress=stop_at(8),
        )  # fmt: skip
    resumed = train_on(make_state(), [phase(10, noise=0.3)], loaders(), checkpointer=Checkpointer(file))
    assert numbers(resumed) == numbers(whole)


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no tree": lambda tree: [1, 2, 3],
    "no counters": lambda tree: {name: part for name, part in tree.items() if name != "counters"},
    "text as counter": lambda tree: tree | {"counters": tree["counters"] | {"step": "6"}},
    "number as flag": lambda tree: tree | {"counters": tree["counters"] | {"phase_started": 1}},
    "unknown group": lambda tree: tree | {"kept": {"other": [0]}},
    "channels that are not there": lambda tree: tree | {"kept": tree["kept"] | {"fc1": [0, 99]}},
    "an empty group": lambda tree: tree | {"kept": tree["kept"] | {"fc1": []}},
    "kept is no table": lambda tree: tree | {"kept": 5},
    "missing weight": lambda tree: tree | {"network": dict(list(tree["network"].items())[1:])},
    "network is a list": lambda tree: tree | {"network": []},
    "no optimizers": lambda tree: tree | {"optimizers": {}},
    "optimizer of another kind": lambda tree: tree | {"optimizers": {"network": {"state": {}, "param_groups": []}}},
    "random state of another size": lambda tree: tree | {"random": torch.zeros(3, dtype=torch.uint8)},
    "random state of another type": lambda tree: tree | {"random": torch.zeros(5056)},
    "no identity": lambda tree: {name: part for name, part in tree.items() if name != "identity"},
    "identity of another kind": lambda tree: tree | {"identity": 7},
    "phase out of range": lambda tree: tree | {"counters": tree["counters"] | {"phase": -1}},
    "history is a number": lambda tree: tree | {"history": 4},
    "masks are a number": lambda tree: tree | {"masks": 4},
    "memories are a list": lambda tree: tree | {"memories": [4]},
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_with_a_right_checksum_but_wrong_content_is_refused(
    make_state: MakeState, phase: MakePhase, small_data: Data, saved: Path, change: str
) -> None:
    save_tree(saved, CHANGES[change](load_tree(saved)))
    with pytest.raises(StoreError, match="is not a state of this run .*; delete it to start anew"):
        resume(make_state(), [phase(10)], small_data, saved)


def test_the_state_of_another_run_is_refused(
    make_state: MakeState, phase: MakePhase, small_data: Data, saved: Path
) -> None:
    with pytest.raises(StoreError, match="seed of steps is 7, this run's is 8"):
        resume(make_state(), [phase(10)], small_data, saved, seed=8)
    with pytest.raises(StoreError, match="examples a step is 50, this run's is 60"):
        resume(make_state(), [phase(10)], small_data, saved, batch_size=60)
    with pytest.raises(StoreError, match="phases is 'train 10 x 50', this run's is 'train 10 x 50, more 5 x 50'"):
        resume(make_state(), [phase(10), phase(5, "more")], small_data, saved)
    other = make_state()
    other.identity = {"data": "other"}
    with pytest.raises(StoreError, match="data is None, this run's is 'other'"):
        resume(other, [phase(10)], small_data, saved)


def test_the_state_of_another_network_is_refused(
    make_state: MakeState, phase: MakePhase, small_data: Data, saved: Path
) -> None:
    wider = make_state(LeNet300((12, 9), (1, 6, 6), 3))
    with pytest.raises(StoreError, match="groups is 'fc1 12, fc2 8', this run's is 'fc1 12, fc2 9'"):
        resume(wider, [phase(10)], small_data, saved)
    layers = {"fc1": nn.Linear(36, 12), "fc2": nn.Linear(12, 8), "fc3": nn.Linear(8, 4)}
    other = make_state(nn.Sequential(OrderedDict({"flat": nn.Flatten(), **layers})))
    with pytest.raises(StoreError, match="not a state of this run .*size mismatch for fc3.weight"):
        resume(other, [phase(10)], small_data, saved)


def test_a_folder_in_its_place_is_refused(
    make_state: MakeState, phase: MakePhase, small_data: Data, tmp_path: Path
) -> None:
    (tmp_path / "state").mkdir()
    with pytest.raises(StoreError):
        resume(make_state(), [phase(3)], small_data, tmp_path / "state")


def test_a_full_disk_leaves_the_last_good_state(
    make_state: MakeState,
    phase: MakePhase,
    small_data: Data,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "state"
    whole = train_on(make_state(), [phase(10)], small_data)
    writes: list[int] = []
    really = os.fsync

    def fsync(descriptor: int) -> None:
        writes.append(descriptor)
        if len(writes) > 4 and not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.ENOSPC, "No space left on device")
        really(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StoreError, match="No space left on device; free some space"):
        train_on(make_state(), [phase(10)], small_data, checkpointer=Checkpointer(file, steps=2))
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    assert 0 < load_tree(file)["counters"]["step"] < 10
    resumed = resume(make_state(), [phase(10)], small_data, file)
    assert numbers(resumed) == numbers(whole)


def test_removing_the_file_of_a_finished_run(tmp_path: Path) -> None:
    checkpointer = Checkpointer(tmp_path / "state")
    (tmp_path / "state").write_bytes(b"")
    checkpointer.remove()
    checkpointer.remove()
    assert list(tmp_path.iterdir()) == []

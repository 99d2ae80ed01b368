"""Phases with examples of their own, objectives without labels, and what the progress is told of a loss."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bayesprune.data import Data, TensorSplit
from bayesprune.training import Checkpointer, NegativeLogLikelihood, Phase, Progress, TrainState, train

MakeState = Callable[..., TrainState]
MakePhase = Callable[..., Phase]

OWN = TensorSplit(torch.randn(70, 1, 6, 6, generator=torch.Generator().manual_seed(2)), torch.arange(70) % 3)


class Seeing(NegativeLogLikelihood):
    """Remembers its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def loss(self, state: TrainState, inputs: Tensor, labels: Tensor | None) -> Tensor:
        self.seen.append(inputs)
        return super().loss(state, inputs, labels)


class Unlabelled:
    """Minimises the outputs; says what its loss was made of."""

    needs_labels = False

    def __init__(self) -> None:
        self.parts: Mapping[str, float] = {}

    def attach(self, state: TrainState) -> None:
        pass

    def detach(self) -> None:
        pass

    def loss(self, state: TrainState, inputs: Tensor, labels: Tensor | None) -> Tensor:
        assert labels is None
        outputs: Tensor = state.network(inputs).square().mean(0)
        self.parts = {"first": float(outputs[0].detach()), "others": float(outputs[1:].sum().detach())}
        return outputs.sum()

    def kind(self, state: TrainState) -> str:
        return "own"


class Blind:
    """A validation split that nobody may look at."""

    def __len__(self) -> int:
        return 5

    def batches(self, batch_size: int, *, seed: int | None = None, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        raise AssertionError("validation data were asked for")


def run(state: TrainState, phases: list[Phase], data: Data, **given: Any) -> TrainState:
    return train(state, phases, data, batch_size=50, seed=7, **given)


def test_a_phase_may_have_examples_of_its_own(make_state: MakeState, phase: MakePhase, small_data: Data) -> None:
    first, second = Seeing(), Seeing()
    phases = [phase(5, "own", objective=first, train=OWN, batch_size=30), phase(5, "run's", objective=second)]
    state = run(make_state(), phases, small_data)
    # 70 examples in batches of 30, shuffled by seed and epoch; the second epoch ends with the phase.
    assert [len(inputs) for inputs in first.seen] == [30, 30, 10, 30, 30]
    walks = [list(OWN.batches(30, seed=(7 * 1_000_003 + 1 + epoch) % 2**32)) for epoch in (0, 1)]
    expected = [inputs for walk in walks for inputs, _ in walk][:5]
    assert all(torch.equal(one, other) for one, other in zip(first.seen, expected, strict=True))
    walk = small_data.train.batches(50, seed=(7 * 1_000_003 + 1 + 2) % 2**32)
    assert all(torch.equal(one, other) for one, (other, _) in zip(second.seen, walk, strict=True))
    assert [(record["phase"], record["steps"]) for record in state.history] == [("own", 3), ("own", 2), ("run's", 5)]
    step = 2 * 36 * 12 + 3 * (12 * 8 + 8 * 3)  # the first layer needs no gradient of its inputs
    assert [record["macs"] for record in state.history] == [step * count for count in (70, 60, 240)]


@pytest.mark.parametrize("stop", [2, 3, 4, 6])
def test_resuming_amid_own_examples(
    stop: int, make_state: MakeState, phase: MakePhase, small_data: Data, tmp_path: Path
) -> None:
    def progress(now: Progress) -> None:
        if now.step == stop:
            raise InterruptedError

    def phases() -> list[Phase]:
        return [phase(5, "own", train=OWN, batch_size=30), phase(5, "run's")]

    whole = run(make_state(), phases(), small_data)
    with pytest.raises(InterruptedError):
        run(make_state(), phases(), small_data, checkpointer=Checkpointer(tmp_path / "s", steps=1), progress=progress)
    resumed = run(make_state(), phases(), small_data, checkpointer=Checkpointer(tmp_path / "s", steps=1))
    for one, other in zip(resumed.network.parameters(), whole.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_without_labels_there_is_no_validation(make_state: MakeState, phase: MakePhase, small_data: Data) -> None:
    state = run(make_state(), [phase(5, "without", objective=Unlabelled()), phase(5, "with")], small_data)
    without, labelled = state.history
    assert without["validation_accuracy"] is None and without["validation_nll"] is None
    assert 0 <= labelled["validation_accuracy"] <= 1 and labelled["validation_nll"] > 0


def test_validation_data_are_not_even_walked_through(make_state: MakeState, phase: MakePhase, small_data: Data) -> None:
    blind = replace(small_data, validation=Blind())
    run(make_state(), [phase(5, objective=Unlabelled())], blind)
    with pytest.raises(AssertionError, match="asked for"):
        run(make_state(), [phase(5)], blind)


def test_progress_tells_the_parts_of_a_loss(make_state: MakeState, phase: MakePhase, small_data: Data) -> None:
    seen: list[Progress] = []
    run(make_state(), [phase(3, objective=Unlabelled()), phase(2)], small_data, progress=seen.append)
    for now in seen[:3]:
        assert set(now.parts) == {"first", "others"}
        assert sum(now.parts.values()) == pytest.approx(now.loss, rel=1e-5)
    assert len({now.parts["first"] for now in seen[:3]}) == 3
    assert [now.parts for now in seen[3:]] == [{}, {}]

"""What the cost benchmark counts: the dense side's turns, calls, verdicts, and steps that keep the network whole."""

from typing import Any

import pytest
import torch

from bayesprune.data import from_tensors
from bayesprune.inference.objective import guide_of
from bayesprune.models import LeNet300
from bayesprune.run import running
from bayesprune.training import Progress, TrainState
from benchmarks import training_cost
from benchmarks._pairing import paired
from benchmarks.training_cost import BURST, CASES, EVERY, Dense, pruning_step, verdict

DATA = from_tensors(torch.rand(300, 1, 28, 28), torch.arange(300) % 10, classes=10)


def test_dense_steps_take_turns_with_the_run() -> None:
    """After every so many steps of the run a burst, and nothing in between; its epochs are walked one after another."""
    dense = Dense(CASES["lenet300"], DATA)
    for step in range(1, 2 * EVERY + 3):
        dense(Progress("prune", step, 1000, 0.0))
    assert dense.steps == 2 * BURST
    assert dense.seconds > 0
    assert dense.cpu > 0
    assert dense.pruning_cpu > 0


def test_sides_are_called_in_turn() -> None:
    calls: list[str] = []
    times = paired([lambda: calls.append("a"), lambda: calls.append("b")], 3, warm_up=5)
    assert calls == ["a", "b"] * 8  # five steps to warm up
    assert len(times) == 2


def test_a_pruning_step_learns_and_keeps_the_network_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    states: list[TrainState] = []
    original = running.initial_state

    def watch(*arguments: Any) -> TrainState:
        states.append(original(*arguments))
        return states[-1]

    monkeypatch.setattr(running, "initial_state", watch)
    network = LeNet300()
    step = pruning_step(network, DATA, "curvature", *next(iter(DATA.train.batches(20))))
    for _ in range(3):
        step()
    (state,) = states
    trained = state.network.get_parameter("fc1.weight")
    assert trained.shape == (300, 784)
    assert not torch.equal(trained, network.fc1.weight)
    assert bool((guide_of(state).theta == 0.5).all())


@pytest.mark.parametrize(("ratio", "says"), [(0.44, "<= 0.45x: reached"), (0.46, "<= 0.45x: MISSED")])
def test_verdicts(ratio: float, says: str) -> None:
    assert verdict(ratio, 0.45) == says


def test_a_run_and_a_forward_pass_fill_their_tables(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two epochs on 300 images: the row says what is left of 784-300-100 and judges only whole runs."""
    monkeypatch.setattr(training_cost, "EVERY", 2)
    left = training_cost.run_table(CASES["lenet300"], DATA, 2, ["curvature"])
    row = capsys.readouterr().out.splitlines()[-1].split("|")
    assert row[1].strip() == "curvature"
    assert row[8].strip() == "-".join(map(str, left))
    assert 0 <= float(row[9]) <= 100
    assert row[10].strip() == ""

    training_cost.forward_table(CASES["lenet5"], DATA, (4, 10, 110), 2)
    assert ">= 4x: " in capsys.readouterr().out

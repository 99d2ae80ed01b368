"""Adam at a constant rate with its learning curve, and runs that go on where they were stopped."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from bayesprune.data import Data, TensorSplit
from bayesprune.experiments.methods import METHODS
from bayesprune.models import LeNet300
from bayesprune.run.pruned import Pruned
from bayesprune.run.running import run
from bayesprune.run.settings import RunSettings
from bayesprune.store.tree import load_tree
from bayesprune.training import Checkpointer

RunNtt = Callable[..., Pruned]


def accuracy(network: nn.Module, data: Data) -> float:
    assert isinstance(data.test, TensorSplit)
    with torch.no_grad():
        right = network(data.test.inputs).argmax(1) == data.test.labels
    return float(right.double().mean())


def curve_of(pruned: Pruned) -> list[list[float]]:
    return [row for record in pruned.history for row in record.get("test_curve", [])]


def stop_at(step: int) -> Callable[[Any], None]:
    """Breaks off after this step, before its state is saved."""

    def progress(now: Any) -> None:
        if now.step == step:
            raise InterruptedError

    return progress


def test_adam_is_a_plain_loop_and_its_curve_is_what_that_loop_measures(small_data: Data) -> None:
    torch.manual_seed(0)
    network = LeNet300((12, 8), (1, 6, 6), 3)
    chosen = RunSettings("dense", epochs=22, batch_size=24, seed=3, options={"training": "adam"})
    dense = METHODS["dense"]
    pruned = run(dense, network, small_data, chosen)

    assert isinstance(small_data.train, TensorSplit)
    expected, step, measured = deepcopy(network), 0, []
    optimizer = torch.optim.Adam(expected.parameters(), lr=1e-3, weight_decay=2e-8, fused=True)
    for epoch in range(22):
        for inputs, labels in small_data.train.batches(24, seed=(3 * 1_000_003 + 1 + epoch) % 2**32):
            optimizer.zero_grad()
            cross_entropy(expected(inputs), labels).backward()
            optimizer.step()
            step += 1
            if step in (1, 101, 201):
                measured.append([step, accuracy(expected, small_data)])
    for one, other in zip(pruned.network.parameters(), expected.parameters(), strict=True):
        assert torch.equal(one, other)
    assert [row[0] for row in measured] == [row[0] for row in curve_of(pruned)] == [1, 101, 201]
    for row, expected_row in zip(curve_of(pruned), measured, strict=True):
        assert row == pytest.approx(expected_row, abs=1e-6)
    assert len({row[1] for row in measured}) > 1  # it learns
    # Every row stands in the record of its own epoch of ten steps.
    assert [len(record["test_curve"]) for record in pruned.history] == [1] + [0] * 9 + [1] + [0] * 9 + [1, 0]


def test_the_curve_of_a_transferred_network(run_ntt: RunNtt, small_data: Data, tmp_path: Path) -> None:
    given = {"epochs": 11, "training": "adam", "inputs": "none"}
    curve = curve_of(run_ntt(small_data, **given))
    assert [row[0] for row in curve] == [1, 101]
    for step, measured in curve:
        file = tmp_path / f"state {step}"
        interrupted = {"checkpointer": Checkpointer(file, steps=1), "progress": stop_at(8 + int(step) + 1)}
        with pytest.raises(InterruptedError):
            run_ntt(small_data, given=interrupted, **given)
        network = LeNet300((12, 8), (1, 6, 6), 3)
        network.load_state_dict(load_tree(file)["network"])
        assert accuracy(network, small_data) == pytest.approx(measured, abs=1e-6)


def test_a_row_at_the_end_of_an_epoch_stands_there_alone(run_ntt: RunNtt, small_data: Data) -> None:
    history = run_ntt(small_data, training="adam", epochs=3, batch_size=240).history  # one step an epoch
    assert [len(record["test_curve"]) for record in history if record["phase"] == "fixed"] == [1, 0, 0]


def test_the_learning_rate_of_adam_may_be_given(run_ntt: RunNtt, small_data: Data) -> None:
    plain, other, same = (
        run_ntt(small_data, training="adam", **given).network.get_parameter("fc2.weight")
        for given in ({}, {"learning_rate": 1e-2}, {"learning_rate": 1e-3})
    )
    assert torch.equal(plain, same) and not torch.equal(plain, other)


@pytest.mark.parametrize(
    "options",
    [
        {"training": "adam"},
        {"first": "logit-snip", "masks": "global", "control": "shuffle"},
        {"kernel": "projected", "control": "fresh", "masks": "released"},
        {"budget": "macs=40%", "kernel": "projected"},
    ],
)
def test_a_run_that_is_stopped_again_and_again_ends_as_an_undisturbed_one(
    options: dict[str, Any], run_ntt: RunNtt, small_data: Data, tmp_path: Path
) -> None:
    # Eight steps of transfer in epochs of four, with new masks after 2 and 4; then ten of training.
    whole, file = run_ntt(small_data, **options), tmp_path / "state"
    for step in (1, 2, 3, 4, 5, 8, 9, 10, 14, 18):
        with pytest.raises(InterruptedError):
            run_ntt(
                small_data, given={"checkpointer": Checkpointer(file, steps=1), "progress": stop_at(step)}, **options
            )
    resumed = run_ntt(small_data, given={"checkpointer": Checkpointer(file, steps=1)}, **options)
    for (name, one), (same, other) in zip(
        resumed.network.state_dict().items(), whole.network.state_dict().items(), strict=True
    ):
        assert name == same and torch.equal(one, other)
    assert without_seconds(resumed) == without_seconds(whole) and resumed.kept == whole.kept


def without_seconds(pruned: Pruned) -> list[dict[str, Any]]:
    return [{name: value for name, value in record.items() if name != "seconds"} for record in pruned.history]

"""The loop is plain PyTorch training, step for step, with exact book-keeping."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from math import cos, pi
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from bayesprune.data import Data, TensorSplit, from_loaders
from bayesprune.errors import DataError, SettingError
from bayesprune.training import NegativeLogLikelihood, Phase, TrainState, adam, constant, cosine, train
from bayesprune.training.dense import dense_step

STEPS_PER_EPOCH = 5  # 240 examples in batches of 50: the last one holds 40
MakeState = Callable[..., TrainState]
MakePhase = Callable[..., Phase]
Walk = Callable[..., Iterator[tuple[Tensor, Tensor]]]

STEP = 2 * 36 * 12 + 3 * (12 * 8 + 8 * 3)
"""Multiply-accumulates an example: forward, and backward by weights and, but for the first layer, by inputs."""


def run(state: TrainState, phases: list[Phase], data: Data, **settings: Any) -> TrainState:
    return train(state, phases, data, **{"batch_size": 50, "seed": 7} | settings)


def by_hand(network: nn.Module, lengths: list[int], walk: Iterator[tuple[Tensor, Tensor]], rate: float) -> None:
    """Adam on a cosine, anew for each phase."""
    for length in lengths:
        optimizer = torch.optim.Adam(network.parameters(), lr=rate, weight_decay=1e-3, fused=True)
        for step in range(length):
            inputs, labels = next(walk)
            optimizer.param_groups[0]["lr"] = rate * (0.5 * (1 + cos(pi * step / length)))
            optimizer.zero_grad()
            cross_entropy(network(inputs), labels).backward()
            optimizer.step()


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_equals_a_loop_written_by_hand_bit_for_bit(
    make_state: MakeState, phase: MakePhase, batches: Walk, small_data: Data
) -> None:
    state = make_state()
    expected = deepcopy(state.network)
    by_hand(expected, [10, 5], batches(50, 7, 3), 1e-2)
    run(state, [phase(10, "first"), phase(5, "second")], small_data)
    assert same_weights(state.network, expected)


def test_a_phase_that_ends_in_mid_epoch_leaves_the_rest_of_the_epoch_out(
    make_state: MakeState, phase: MakePhase, batches: Walk, small_data: Data
) -> None:
    state = make_state()
    expected = deepcopy(state.network)
    walk = list(batches(50, 7, 3))
    by_hand(expected, [7, 2], iter(walk[:7] + walk[10:12]), 1e-2)
    run(state, [phase(7, "first"), phase(2, "second")], small_data)
    assert same_weights(state.network, expected)
    assert [(r["epoch"], r["phase"], r["steps"], r["step"]) for r in state.history] == [
        (1, "first", 5, 5), (2, "first", 2, 7), (3, "second", 2, 9)
    ]  # fmt: skip


def test_the_last_batch_of_an_epoch_is_a_partial_one(make_state: MakeState, phase: MakePhase, small_data: Data) -> None:
    sizes: list[int] = []

    class Watching(NegativeLogLikelihood):
        def loss(self, state: TrainState, inputs: Tensor, labels: Tensor | None) -> Tensor:
            sizes.append(len(inputs))
            return super().loss(state, inputs, labels)

    state = run(make_state(), [phase(10, objective=Watching())], small_data)
    assert sizes == [50, 50, 50, 50, 40] * 2
    assert [record["macs"] for record in state.history] == [240 * STEP] * 2


class Unlabelled:
    """Minimises the outputs; must never see a label."""

    needs_labels = False

    def __init__(self) -> None:
        self.seen: list[Tensor | None] = []
        self.calls: list[str] = []

    def attach(self, state: TrainState) -> None:
        self.calls.append("attach")

    def detach(self) -> None:
        self.calls.append("detach")

    def loss(self, state: TrainState, inputs: Tensor, labels: Tensor | None) -> Tensor:
        self.seen.append(labels)
        outputs: Tensor = state.network(inputs)
        return outputs.square().mean()

    def kind(self, state: TrainState) -> str:
        return "unlabelled"


def test_an_objective_that_needs_no_labels_is_given_none(
    make_state: MakeState, phase: MakePhase, small_data: Data
) -> None:
    objective = Unlabelled()
    state = run(make_state(), [phase(5, objective=objective)], small_data)
    assert objective.seen == [None] * 5
    assert objective.calls == ["attach", "detach"]
    assert state.history[0]["macs"] == 240 * STEP
    assert state.history[0]["dense_macs"] == 0  # dense training has no such phase


def test_updates_follow_every_step_in_their_order_and_starts_come_once(
    make_state: MakeState, phase: MakePhase, small_data: Data
) -> None:
    calls: list[Any] = []
    first = phase(
        3, "first",
        updates=[lambda state: calls.append(("a", state.phase_step)), lambda state: calls.append("b")],
        start=lambda state: calls.append(("start first", state.step)),
    )  # fmt: skip
    second = phase(1, "second", start=lambda state: calls.append(("start second", state.step)))
    run(make_state(), [first, phase(0, "nothing"), second], small_data)
    assert calls == [("start first", 0), ("a", 1), "b", ("a", 2), "b", ("a", 3), "b", ("start second", 3)]


def test_a_phase_without_steps_still_starts(make_state: MakeState, phase: MakePhase, small_data: Data) -> None:
    calls: list[int] = []
    state = run(make_state(), [phase(2), phase(0, start=lambda state: calls.append(state.step))], small_data)
    assert calls == [2] and len(state.history) == 1


def test_every_phase_has_fresh_optimizers_and_the_last_ones_are_there_when_it_starts(
    make_state: MakeState, phase: MakePhase, small_data: Data
) -> None:
    seen: list[Any] = []
    extra = nn.Parameter(torch.ones(1))

    def gates(state: TrainState) -> dict[str, torch.optim.Optimizer]:
        return {"gates": torch.optim.SGD([extra], lr=0.5)}

    def start(state: TrainState) -> None:
        seen.append(sorted(state.optimizers))

    def update(state: TrainState) -> None:
        memory = state.optimizers["network"].state
        seen.append({int(entry["step"]) for entry in memory.values()})

    phases = [phase(2, extra_optimizers=gates, updates=[update]), phase(1, start=start, updates=[update])]
    state = run(make_state(), phases, small_data)
    assert seen == [{1}, {2}, ["gates", "network"], {1}]
    assert list(state.optimizers) == ["network"]


def test_extra_optimizers_step_after_the_weights(make_state: MakeState, phase: MakePhase, small_data: Data) -> None:
    scale = nn.Parameter(torch.ones(()))

    class Scaled(Unlabelled):
        def loss(self, state: TrainState, inputs: Tensor, labels: Tensor | None) -> Tensor:
            return scale * super().loss(state, inputs, labels)

    def gates(state: TrainState) -> dict[str, torch.optim.Optimizer]:
        return {"gates": torch.optim.SGD([scale], lr=0.5)}

    state = make_state()
    inputs = next(iter(small_data.train.batches(50, seed=(7 * 1_000_003 + 1) % 2**32)))[0]
    gradient = state.network(inputs).square().mean().item()
    run(state, [phase(1, objective=Scaled(), extra_optimizers=gates)], small_data)
    assert scale.item() == pytest.approx(1 - 0.5 * gradient, rel=1e-6)


def test_masked_weights_stay_at_zero(make_state: MakeState, phase: MakePhase, small_data: Data) -> None:
    mask = (torch.arange(12 * 36) % 3 == 0).float().view(12, 36)
    zeros: list[bool] = []

    def start(state: TrainState) -> None:
        state.masks = {"fc1.weight": mask}
        state.apply_masks()

    def update(state: TrainState) -> None:
        weight = state.network.get_parameter("fc1.weight")
        zeros.append(bool((weight[mask == 0] == 0).all()) and bool((weight[mask == 1] != 0).all()))

    state = run(make_state(), [phase(4), phase(6, start=start, updates=[update])], small_data)
    assert zeros == [True] * 6
    assert bool((state.network.get_parameter("fc2.weight") != 0).all())


def test_history_adds_up(make_state: MakeState, phase: MakePhase, small_data: Data) -> None:
    losses: list[float] = []
    state = make_state()
    dense = dense_step(state, NegativeLogLikelihood(), torch.zeros(1, dtype=torch.int64))
    run(state, [phase(10), phase(5, "fixed")], small_data, progress=lambda p: losses.append(p.loss), dense=dense)
    macs = 36 * 12 + 12 * 8 + 8 * 3
    assert [record["epoch"] for record in state.history] == [1, 2, 3]
    assert [record["phase"] for record in state.history] == ["train", "train", "fixed"]
    assert [record["step"] for record in state.history] == [5, 10, 15]
    assert [record["steps"] for record in state.history] == [5, 5, 5]
    assert all(record["macs"] == record["dense_macs"] == 240 * STEP for record in state.history)
    assert state.macs == state.dense_macs == 3 * 240 * STEP and state.macs_ratio() == 1
    assert all(record["seconds"] >= 0 for record in state.history)
    assert state.seconds == sum(record["seconds"] for record in state.history)
    for number, record in enumerate(state.history):
        assert record["loss"] == pytest.approx(sum(losses[5 * number : 5 * number + 5]) / 5)
        assert record["network_macs"] == macs and record["params"] == macs + 12 + 8 + 3
        assert record["alive"] == {"fc1": 12, "fc2": 8} and record["undecided"] == 0
        assert 0 <= record["validation_accuracy"] <= 1 and record["validation_nll"] > 0
    assert state.history[-1]["loss"] < state.history[0]["loss"]


def test_a_method_may_add_to_the_record_of_an_epoch(make_state: MakeState, phase: MakePhase, small_data: Data) -> None:
    state = run(make_state(), [phase(10)], small_data, describe=lambda state: {"undecided": state.step})
    assert [record["undecided"] for record in state.history] == [5, 10]


def test_progress_counts_all_phases(make_state: MakeState, phase: MakePhase, small_data: Data) -> None:
    seen: list[tuple[str, int, int]] = []
    run(
        make_state(), [phase(2, "a"), phase(2, "b")], small_data,
        progress=lambda p: seen.append((p.phase, p.step, p.total)),
    )  # fmt: skip
    assert seen == [("a", 1, 4), ("a", 2, 4), ("b", 3, 4), ("b", 4, 4)]


def test_the_callers_random_numbers_are_left_alone_and_do_not_matter(
    make_state: MakeState, phase: MakePhase, small_data: Data
) -> None:
    results = []
    for outside in (1, 2):
        torch.manual_seed(outside)
        before = torch.get_rng_state()
        results.append(run(make_state(), [phase(5, noise=0.3)], small_data).network)
        assert torch.equal(torch.get_rng_state(), before)
    assert same_weights(*results)
    assert not same_weights(results[0], run(make_state(), [phase(5, noise=0.3)], small_data, seed=8).network)


def test_no_stream_of_random_numbers_is_the_one_the_weights_were_made_from(
    make_state: MakeState, phase: MakePhase, small_data: Data
) -> None:
    seed = 3
    drawn: list[Tensor] = []
    start: Callable[[TrainState], None] = lambda state: drawn.append(torch.rand(12, 36))  # noqa: E731
    state = make_state(seed=seed)
    initial = state.network.get_parameter("fc1.weight").detach().clone()
    run(state, [phase(1, start=start)], small_data, seed=seed)
    together = torch.stack([drawn[0].flatten(), initial.flatten()])
    assert abs(float(torch.corrcoef(together)[0, 1])) < 0.2


def test_validation_changes_no_number(make_state: MakeState, phase: MakePhase, small_data: Data) -> None:
    def network() -> nn.Module:
        torch.manual_seed(0)
        layers = [nn.Flatten(), nn.Linear(36, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3)]
        return nn.Sequential(*layers)

    results = []
    for validate in (True, False):
        with torch.random.fork_rng(devices=[]):
            state = make_state(network())
        results.append(run(state, [phase(10)], small_data, validate=validate))
    assert same_weights(results[0].network, results[1].network)
    assert results[0].network.training
    assert results[1].history[0]["validation_accuracy"] is None
    assert results[1].history[0]["validation_nll"] is None


def test_a_users_loaders_are_walked_epoch_by_epoch(make_state: MakeState, phase: MakePhase, small_data: Data) -> None:
    def loaders() -> Data:
        parts = []
        for split in (small_data.train, small_data.validation, small_data.test):
            (whole,) = split.batches(len(split))
            parts.append(TensorDataset(*whole))
        train_loader = DataLoader(parts[0], batch_size=100, shuffle=True)
        return from_loaders(train_loader, DataLoader(parts[1], 50), DataLoader(parts[2], 50), classes=3)

    one, other = (run(make_state(), [phase(6)], loaders()) for _ in range(2))
    assert same_weights(one.network, other.network)
    assert [record["steps"] for record in one.history] == [3, 3]
    assert one.history[0]["macs"] == 240 * STEP


class Empty:
    """A split that promises examples and gives none."""

    def __len__(self) -> int:
        return 10

    def batches(self, *arguments: Any, **settings: Any) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(())


def test_a_split_without_batches_is_refused(make_state: MakeState, phase: MakePhase, small_data: Data) -> None:
    data = Data(
        "empty",
        Empty(),
        small_data.validation,
        small_data.test,
        small_data.inputs,
        small_data.task,
        small_data.normalisation,
        "0",
    )
    with pytest.raises(DataError, match="gave no batches"):
        run(make_state(), [phase(1)], data)


def test_hooks_come_off_when_training_fails(make_state: MakeState, phase: MakePhase, small_data: Data) -> None:
    def fail(progress: object) -> None:
        raise RuntimeError("the user's own")

    state = make_state()
    with pytest.raises(RuntimeError, match="the user's own"):
        run(state, [phase(5, noise=0.3)], small_data, progress=fail)
    assert not any(module._forward_pre_hooks for module in state.network.modules())


@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_extreme_seeds_work(make_state: MakeState, phase: MakePhase, small_data: Data, seed: int) -> None:
    assert run(make_state(), [phase(2)], small_data, seed=seed).step == 2


def test_phases_and_optimizers_refuse_what_cannot_be(phase: MakePhase) -> None:
    with pytest.raises(SettingError, match="'train' cannot take -1 steps"):
        phase(-1)
    for rate in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(SettingError, match="learning rate"):
            adam(rate)


def test_schedules() -> None:
    assert [constant(0.0), constant(0.7)] == [1.0, 1.0]
    assert cosine(0.0) == 1.0 and cosine(0.5) == pytest.approx(0.5) and cosine(1.0) == 0.0
    assert cosine(1.5) == 0.0


def test_a_phase_may_take_another_number_of_examples_a_step(
    make_state: MakeState, phase: MakePhase, small_data: Data
) -> None:
    """One epoch in steps of 50, one in steps of 80: the order of an epoch depends on seed and epoch alone."""
    seen: list[Tensor] = []

    class Watching(NegativeLogLikelihood):
        def loss(self, state: TrainState, inputs: Tensor, labels: Tensor | None) -> Tensor:
            seen.append(inputs)
            return super().loss(state, inputs, labels)

    phases = [phase(5, objective=Watching()), phase(3, "wide", objective=Watching(), batch_size=80)]
    state = run(make_state(), phases, small_data)
    assert [len(inputs) for inputs in seen] == [50, 50, 50, 50, 40, 80, 80, 80]
    split = small_data.train
    assert isinstance(split, TensorSplit)
    for epoch, first in ((0, 0), (1, 5)):
        order = torch.randperm(240, generator=torch.Generator().manual_seed((7 * 1_000_003 + 1 + epoch) % 2**32))
        together = torch.cat(seen[first : first + (5 if epoch == 0 else 3)])
        torch.testing.assert_close(together, split.inputs[order])
    assert [record["steps"] for record in state.history] == [5, 3]

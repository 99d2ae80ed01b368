"""The transfer: it comes nearer to the teacher without any label, and hands over what was asked for."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bayesprune.data import Data, TensorSplit
from bayesprune.models import Conv4
from bayesprune.run.method import Plan
from bayesprune.run.pruned import Pruned
from bayesprune.structure import weights_of
from bayesprune.tangent.kernels import contracted_kernel
from bayesprune.tangent.objective import Student
from bayesprune.training import TrainState

RunNtt = Callable[..., Pruned]
Planned = Callable[..., tuple[TrainState, Plan]]


class Unlabelled:
    """A split without labels: whoever reads one fails."""

    def __init__(self, split: TensorSplit) -> None:
        self.split = split

    def __len__(self) -> int:
        return len(self.split)

    def batches(self, batch_size: int, *, seed: int | None = None, start: int = 0) -> Iterator[tuple[Tensor, Any]]:
        for inputs, _ in self.split.batches(batch_size, seed=seed, start=start):
            yield inputs, None


def with_labels(data: Data, label: int) -> Data:
    """All training and validation labels are this number."""
    splits: dict[str, Any] = {}
    for name in ("train", "validation"):
        split = getattr(data, name)
        assert isinstance(split, TensorSplit)
        splits[name] = TensorSplit(split.inputs, torch.full_like(split.labels, label))
    return replace(data, **splits)


def weights(state: TrainState) -> list[Tensor]:
    return [value.clone() for value in state.network.state_dict().values()]


def same(one: TrainState, other: TrainState) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


def start(state: TrainState, plan: Plan, phase: int = 1) -> None:
    """Begin the transfer, or hand the student over to the supervised phase."""
    torch.manual_seed(11)
    begin = plan.phases[phase].start
    assert begin is not None
    begin(state)


def test_the_student_comes_nearer_to_its_teacher(run_ntt: RunNtt, small_data: Data) -> None:
    for options in ({}, {"kernel": "projected"}, {"masks": "released"}, {"first": "logit-snip"}):
        history = run_ntt(small_data, steps=60, every=10, kernel_weight=1.0, transfer_rate=1e-2, **options).history
        records = [record for record in history if record["phase"] == "transfer"]
        first, last = records[0], records[-1]
        assert last["kernel_distance"] < (0.9 if options else 0.7) * first["kernel_distance_at_start"]
        assert options or last["target_distance"] < 0.7 * first["target_distance_at_start"]
        assert last["loss"] < first["loss"]
        assert len({record["kernel_distance_at_start"] for record in records}) == 1
        assert not any("kernel_distance" in record for record in history if record["phase"] != "transfer")


@pytest.mark.parametrize(("size", "groups"), [(193, 3), (320, 4)])  # one input alone is no group; a fifth is left
def test_distances_are_means_over_groups_of_64_validation_inputs(
    planned: Planned, small_data: Data, size: int, groups: int
) -> None:
    inputs = torch.randn(size, 1, 6, 6, generator=torch.Generator().manual_seed(5))
    validation = TensorSplit(inputs, torch.zeros(size, dtype=torch.int64))
    state, plan = planned(replace(small_data, validation=validation))
    start(state, plan, phase=0)
    masks, kernels, outputs = state.memory(Student).masks, 0.0, 0.0
    student = deepcopy(state.network)
    student.load_state_dict({name: value * masks.get(name, 1) for name, value in state.network.state_dict().items()})
    for one in inputs[: 64 * groups].split(64):
        apart = contracted_kernel(student, one[:32], one[32:]) - contracted_kernel(state.network, one[:32], one[32:])
        kernels += float(apart.detach().square().mean()) / groups
        outputs += float((student(one) - state.network(one)).detach().square().mean()) / groups
    assert plan.describe is not None
    found = plan.describe(state)
    assert found["kernel_distance_at_start"] == pytest.approx(kernels, rel=1e-4)
    assert found["target_distance_at_start"] == pytest.approx(outputs, rel=1e-4)


def test_labels_are_not_read(transferred: Planned, small_data: Data) -> None:
    for options in ({}, {"kernel": "projected"}, {"masks": "global"}, {"budget": "macs=40%"}):
        plain, _ = transferred(small_data, **options)
        assert isinstance(small_data.train, TensorSplit) and isinstance(small_data.validation, TensorSplit)
        splits: dict[str, Any] = {
            "train": Unlabelled(small_data.train),
            "validation": Unlabelled(small_data.validation),
        }
        other, _ = transferred(replace(small_data, **splits), **options)
        assert same(plain, other)
    for label in (-7, 10**9):  # the slopes of the logits take examples as pairs, and look at none of the labels
        one, other = (transferred(data, first="logit-snip")[0] for data in (small_data, with_labels(small_data, label)))
        assert same(one, other)


def test_nothing_is_measured_with_labels_meanwhile(run_ntt: RunNtt, small_data: Data) -> None:
    history = run_ntt(small_data).history
    assert [record["phase"] for record in history] == ["transfer", "transfer", "fixed"]
    assert [record["steps"] for record in history] == [4, 4, 10]  # batches of 64 and of 24
    assert [record["validation_accuracy"] is None for record in history] == [True, True, False]
    assert [record["validation_nll"] is None for record in history] == [True, True, False]


def test_the_teacher_is_what_the_student_began_as(transferred: Planned, small_data: Data) -> None:
    state, plan = transferred(small_data, initial="own")
    begin, _ = transferred(small_data, initial="own", steps=1)
    teacher = state.memory(Student).teacher
    assert teacher.keys() == dict(state.network.named_parameters()).keys()
    assert all(torch.equal(value, begin.memory(Student).teacher[name]) for name, value in teacher.items())
    assert not same(state, begin)
    start(state, plan)
    assert "Student" not in state.memories


def test_first_weights_are_glorots_or_the_networks_own(planned: Planned, small_data: Data) -> None:
    for initial, deviation in (("glorot", (2 / (36 + 12)) ** 0.5), ("own", 1 / (3 * 36) ** 0.5)):
        state, plan = planned(small_data, initial=initial)
        before = weights(state)
        torch.manual_seed(0)
        begin = plan.phases[0].start
        assert begin is not None
        begin(state)
        assert all(torch.equal(a, b) for a, b in zip(before, weights(state), strict=True)) is (initial == "own")
        spread = float(state.network.get_parameter("fc1.weight").detach().std())
        assert spread == pytest.approx(deviation, rel=0.1)


@pytest.mark.parametrize("masks", ["layerwise", "global", "released"])
@pytest.mark.parametrize("control", [None, "shuffle", "shuffle-inputs", "fresh"])
def test_density_is_exact(masks: str, control: str | None, run_ntt: RunNtt, small_data: Data) -> None:
    pruned = run_ntt(small_data, masks=masks, control=control)
    left = {key: int(value.count_nonzero()) for key, value in weights_of(pruned.network).items()}
    sizes = {"fc1.weight": 432, "fc2.weight": 96, "fc3.weight": 24}
    if masks == "released":  # n - floor(0.7 n) - 1 of each
        assert left == {"fc1.weight": 129, "fc2.weight": 28, "fc3.weight": 7}
    else:
        assert sum(left.values()) == pruned.result()["nonzero_weights"] == round(0.3 * 552)
    if masks == "layerwise":
        assert all(abs(left[key] - 0.3 * size) <= 1 for key, size in sizes.items())
    assert pruned.result()["macs"] == 552


def test_the_handed_over_weights_are_those_of_the_student(transferred: Planned, small_data: Data) -> None:
    state, plan = transferred(small_data)
    expected = {
        name: value.detach() * state.memory(Student).masks.get(name, torch.ones(()))
        for name, value in state.network.named_parameters()
    }
    masks = dict(state.memory(Student).masks)
    start(state, plan)
    assert all(torch.equal(value, expected[name]) for name, value in state.network.named_parameters())
    assert state.masks.keys() == masks.keys() == {"fc1.weight", "fc2.weight", "fc3.weight"}
    assert all(torch.equal(state.masks[name], mask) for name, mask in masks.items())


def handed_over(transferred: Planned, data: Data, network: nn.Module | None, control: str | None) -> TrainState:
    state, plan = transferred(data, network, control=control, steps=2)
    start(state, plan)
    return state


def convolutional() -> nn.Module:
    torch.manual_seed(0)
    return Conv4((4, 4, 5, 5, 7, 6), (1, 6, 6), 3)


@pytest.mark.parametrize("make", [lambda: None, convolutional])
def test_controls(make: Callable[[], nn.Module | None], transferred: Planned, small_data: Data) -> None:
    plain, shuffled, inputs, fresh = (
        handed_over(transferred, small_data, make(), control)
        for control in (None, "shuffle", "shuffle-inputs", "fresh")
    )
    for name, mask in plain.masks.items():
        assert int(shuffled.masks[name].sum()) == int(mask.sum()) == int(inputs.masks[name].sum())
        # Linear layers: as many inputs of every unit. Convolutions: as many of every column of every kernel.
        axis = 1 if mask.dim() == 2 else 2
        assert torch.equal(inputs.masks[name].sum(axis), mask.sum(axis))
        assert torch.equal(fresh.masks[name], mask)
        for state in (plain, shuffled, inputs, fresh):
            weight = state.network.get_parameter(name).detach()
            assert torch.equal(weight != 0, state.masks[name] == 1)
    largest = max(plain.masks, key=lambda name: plain.masks[name].numel())
    mask = plain.masks[largest]
    assert not torch.equal(shuffled.masks[largest], mask) and not torch.equal(inputs.masks[largest], mask)
    assert not torch.equal(shuffled.masks[largest].sum(1), mask.sum(1))
    # Fresh weights are Glorot's: other ones than the student's, of the variance of the whole layer.
    weight = fresh.network.get_parameter(largest).detach()
    assert not torch.equal(weight, plain.network.get_parameter(largest).detach())
    fans = nn.init._calculate_fan_in_and_fan_out(weight)
    kept = weight[mask == 1]
    assert float(kept.square().mean()) == pytest.approx(2 / sum(fans), rel=0.25)
    assert float(kept.abs().max()) <= 2 * (2 / sum(fans)) ** 0.5 / 0.8796 * (1 + 1e-5)
    bias = torch.cat([value.detach() for key, value in fresh.network.named_parameters() if key.endswith("bias")])
    assert float(bias.std()) == pytest.approx(0.01, rel=0.5)


@pytest.mark.parametrize("budget", ["macs=40%", "params=200", "macs=150"])
@pytest.mark.parametrize("kernel", ["released", "projected"])
def test_a_budget_removes_whole_channels(budget: str, kernel: str, run_ntt: RunNtt, small_data: Data) -> None:
    pruned = run_ntt(small_data, budget=budget, kernel=kernel, inputs="none")
    result = pruned.result()
    limit = {"macs=40%": 0.4 * 552, "params=200": 200, "macs=150": 150}[budget]
    spent = result[budget.partition("=")[0]]
    assert limit / 3 < spent <= limit
    shapes = {name: tuple(weight.shape) for name, weight in weights_of(pruned.network).items()}
    assert sum(rows * columns for rows, columns in shapes.values()) == result["macs"] < 552
    assert shapes["fc1.weight"][0] == shapes["fc2.weight"][1] == len(pruned.kept["fc1"]) < 12
    assert pruned.network(torch.zeros(2, 1, 6, 6)).shape == (2, 3)


@pytest.mark.parametrize("make", [lambda: None, convolutional])
def test_removed_channels_were_masked_away(
    make: Callable[[], nn.Module | None], transferred: Planned, small_data: Data
) -> None:
    # The network that is handed over says the same as the masked one did.
    state, plan = transferred(small_data, make(), budget="macs=40%")
    masks, network = state.memory(Student).masks, state.network.eval()
    inputs = next(iter(small_data.test.batches(30)))[0]
    own = {name: value.detach().clone() for name, value in network.named_parameters()}
    masked = {name: value * masks[name] if name in masks else value for name, value in own.items()}
    expected = torch.func.functional_call(network, masked, (inputs,))
    size = state.network_macs()
    start(state, plan)
    assert state.network_macs() <= 0.4 * size and not state.masks
    torch.testing.assert_close(state.network.eval()(inputs), expected, rtol=1e-4, atol=1e-5)

"""Parameters change shape between two steps, with everything that is shaped like them."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bayesprune.data import Data
from bayesprune.models import LeNet300
from bayesprune.structure import find
from bayesprune.structure.selectors import Selected
from bayesprune.training import NegativeLogLikelihood, Phase, TrainState, constant, train
from bayesprune.training.dense import dense_step

MakeState = Callable[..., TrainState]
MakePhase = Callable[..., Phase]
Walk = Callable[..., Iterator[tuple[Tensor, Tensor]]]

FC1 = torch.tensor([0, 2, 3, 7, 11])
FC2 = torch.tensor([1, 4, 5])


def hidden_gates(structure: Any) -> Tensor:
    """Gates that leave FC1 and FC2 of the hidden layers, and every input."""
    gates = torch.ones(structure.gate_count, dtype=torch.bool)
    for name, kept in (("fc1", FC1), ("fc2", FC2)):
        place = structure.slices()[name]
        gates[place] = False
        gates[place.start + kept] = True
    return gates


def shrink_at(step: int, choose: Callable[[Any], Tensor] = hidden_gates) -> Callable[[TrainState], None]:
    def update(state: TrainState) -> None:
        if state.phase_step == step:
            state.shrink(choose(state.structure))

    return update


def sliced_by_hand(network: nn.Module, memory: Any) -> tuple[LeNet300, dict[str, Any]]:
    """The smaller network, and Adam's memory of its parameters, cut with plain indexing."""
    cuts: dict[str, Callable[[Tensor], Tensor]] = {
        "fc1.weight": lambda t: t[FC1], "fc1.bias": lambda t: t[FC1],
        "fc2.weight": lambda t: t[FC2][:, FC1], "fc2.bias": lambda t: t[FC2],
        "fc3.weight": lambda t: t[:, FC2], "fc3.bias": lambda t: t,
    }  # fmt: skip
    small = LeNet300((5, 3), (1, 6, 6), 3)
    small.load_state_dict({name: cuts[name](value) for name, value in network.state_dict().items()})
    moments = {
        name: {key: cuts[name](value) if value.dim() else value for key, value in memory[parameter].items()}
        for name, parameter in network.named_parameters()
    }
    return small, moments


def test_training_goes_on_as_that_of_a_network_cut_by_hand(
    make_state: MakeState, phase: MakePhase, batches: Walk, small_data: Data
) -> None:
    state = make_state()
    expected, walk = deepcopy(state.network), batches(50, 7, 2)

    def steps(network: nn.Module, optimizer: torch.optim.Optimizer, count: int) -> None:
        for _ in range(count):
            inputs, labels = next(walk)
            optimizer.zero_grad()
            cross_entropy(network(inputs), labels).backward()
            optimizer.step()

    optimizer = torch.optim.Adam(expected.parameters(), lr=1e-2, weight_decay=1e-3, fused=True)
    steps(expected, optimizer, 4)
    small, moments = sliced_by_hand(expected, optimizer.state)
    optimizer = torch.optim.Adam(small.parameters(), lr=1e-2, weight_decay=1e-3, fused=True)
    for name, parameter in small.named_parameters():
        optimizer.state[parameter] = moments[name]
    steps(small, optimizer, 5)

    train(state, [phase(9, schedule=constant, updates=[shrink_at(4)])], small_data, batch_size=50, seed=7)
    for (name, value), (_, wanted) in zip(state.network.named_parameters(), small.named_parameters(), strict=True):
        torch.testing.assert_close(value, wanted, rtol=0, atol=1e-6, msg=name)
    for name, parameter in state.network.named_parameters():
        memory = state.optimizers["network"].state[parameter]
        wanted = optimizer.state[small.get_parameter(name)]
        torch.testing.assert_close(memory["exp_avg"], wanted["exp_avg"], rtol=1e-4, atol=1e-7)
        torch.testing.assert_close(memory["exp_avg_sq"], wanted["exp_avg_sq"], rtol=1e-4, atol=1e-9)
        assert memory["step"] == 9


def test_costs_follow_the_shrinking_network(make_state: MakeState, phase: MakePhase, small_data: Data) -> None:
    state = make_state()
    dense = dense_step(state, NegativeLogLikelihood(), torch.zeros(1, dtype=torch.int64))
    train(state, [phase(10, updates=[shrink_at(7)])], small_data, batch_size=50, seed=7, dense=dense)
    large, small = 36 * 12 + 12 * 8 + 8 * 3, 36 * 5 + 5 * 3 + 3 * 3
    first, second = state.history
    large_step, small_step = 3 * large - 36 * 12, 3 * small - 36 * 5  # the first layer needs no gradient of its inputs
    assert first["macs"] == first["dense_macs"] == second["dense_macs"] == 240 * large_step
    assert second["macs"] == 100 * large_step + 140 * small_step
    assert (first["network_macs"], second["network_macs"]) == (large, small)
    assert (first["params"], second["params"]) == (large + 12 + 8 + 3, small + 5 + 3 + 3)
    assert second["alive"] == {"fc1": 5, "fc2": 3}
    assert (state.initial_macs, state.initial_params, state.initial_weights) == (large, large + 23, large)


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_a_graph_of_an_older_step_does_not_break_the_next_one(
    make_state: MakeState, phase: MakePhase, small_data: Data, noise: float
) -> None:
    state = make_state(inputs="auto")
    kept_alive: list[Tensor] = []
    inputs, labels = next(iter(small_data.train.batches(20)))

    def half(structure: Any) -> Tensor:
        return torch.arange(structure.gate_count) % 2 == 0

    def hold_a_graph(state: TrainState) -> None:
        loss = cross_entropy(state.network(inputs), labels)
        loss.backward(retain_graph=True)
        kept_alive.append(loss)

    updates = [hold_a_graph, shrink_at(2, half), shrink_at(4, half)]
    train(state, [phase(8, noise=noise, updates=updates)], small_data, batch_size=50, seed=7)
    assert state.step == 8 and len(kept_alive) == 8
    assert state.network.get_parameter("fc1.layer.weight").shape == (3, 9)
    assert all(bool(torch.isfinite(parameter).all()) for parameter in state.network.parameters())


def test_moments_have_the_shape_of_their_parameters_after_every_step(
    make_state: MakeState, phase: MakePhase, small_data: Data
) -> None:
    def check(state: TrainState) -> None:
        for parameter, memory in state.optimizers["network"].state.items():
            assert memory["exp_avg"].shape == memory["exp_avg_sq"].shape == parameter.shape

    state = make_state(inputs="auto")
    choose: Callable[[Any], Tensor] = lambda s: torch.arange(s.gate_count) % 3 != 1  # noqa: E731
    train(
        state, [phase(6, updates=[check, shrink_at(2, choose), check, shrink_at(3, choose), check])],
        small_data, batch_size=50, seed=7,
    )  # fmt: skip
    assert state.shape_version == 2


def test_masks_are_cut_along_also_behind_a_selector(make_state: MakeState, phase: MakePhase, small_data: Data) -> None:
    state = make_state(inputs="auto")
    mask = (torch.arange(12 * 36).view(12, 36) % 5 != 0).float()
    state.masks = {"fc1.weight": mask.clone()}
    kept_inputs = torch.arange(36) % 4 != 0

    def choose(structure: Any) -> Tensor:
        gates = hidden_gates(structure)
        gates[structure.slices()["inputs"]] = kept_inputs
        return gates

    train(state, [phase(6, updates=[shrink_at(3, choose)])], small_data, batch_size=50, seed=7)
    assert isinstance(state.network.get_submodule("fc1"), Selected)
    (left,) = state.masks.values()
    assert torch.equal(left, mask[FC1][:, kept_inputs])
    weight = state.network.get_parameter("fc1.layer.weight")
    assert bool((weight[left == 0] == 0).all()) and bool((weight[left == 1] != 0).all())


class Gates(nn.Module):
    """Something with one number a gate, as a guide has."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.arange(count, dtype=torch.float32))

    def gate_parameters(self) -> list[nn.Parameter]:
        return [self.theta]


def test_gate_shaped_parameters_and_their_optimizers_are_cut_along(make_state: MakeState) -> None:
    state = make_state()
    gates = Gates(20)
    state.modules["guide"] = gates
    optimizer = torch.optim.SGD([gates.theta], lr=0.5, momentum=0.9)
    state.optimizers["gates"] = optimizer
    alive = gates.theta.square().sum()
    alive.backward(retain_graph=True)
    optimizer.step()
    momentum = optimizer.state[gates.theta]["momentum_buffer"].clone()
    theta = gates.theta.detach().clone()
    positions = state.shrink(hidden_gates(state.structure))
    assert positions.tolist() == [*FC1.tolist(), *(12 + FC2).tolist()]
    assert torch.equal(gates.theta, theta[positions])
    assert torch.equal(optimizer.state[gates.theta]["momentum_buffer"], momentum[positions])
    assert state.structure.kept() == {"fc1": FC1.tolist(), "fc2": FC2.tolist()}
    gates.theta.square().sum().backward()  # the accumulator that `alive` holds has the former shape
    optimizer.step()


class Flattening(nn.Module):
    """A convolution whose maps a linear layer reads flattened."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 3, 3), nn.Linear(3 * 4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        maps = nn.functional.max_pool2d(self.conv(inputs), 2).relu()
        outputs: Tensor = self.fc(maps.flatten(1))
        return outputs


@pytest.mark.parametrize("order", ["channel first", "features first", "together"])
def test_flattened_features_of_a_removed_channel_go_with_it(small_data: Data, order: str) -> None:
    network, example = Flattening(), next(iter(small_data.test.batches(2)))[0]
    state = TrainState(network, find(network, example, flatten_inputs=True), example)
    channel, features = torch.ones(15, dtype=torch.bool), torch.ones(15, dtype=torch.bool)
    channel[1] = False  # the second channel, whose features are gates 3 + 4 .. 3 + 7
    features[torch.tensor([3, 3 + 14 - 4])] = False  # features 0 and 10
    if order == "together":
        state.shrink(channel & features)
    else:
        first, second = (channel, features) if order == "channel first" else (features, channel)
        stayed = state.shrink(first)
        state.shrink(second[stayed])
    left = [1, 2, 3, 8, 9, 11]
    assert state.structure.kept() == {"conv": [0, 2], "fc.inputs": left}
    assert state.network.get_parameter("fc.layer.weight").shape == (3, 6)
    assert state.network.get_buffer("fc.select.kept").tolist() == [1, 2, 3, 4, 5, 7]
    assert state.network(example).shape == (2, 3)

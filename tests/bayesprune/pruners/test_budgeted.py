"""Channels by L1 norm, removed until a budget is met by less than one of them."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bayesprune.data import from_tensors
from bayesprune.errors import BudgetError
from bayesprune.models import LeNet5, LeNet300
from bayesprune.pruners.allocation import class_uniform
from bayesprune.pruners.budgeted import open_within, removable
from bayesprune.pruners.problem import Problem
from bayesprune.pruners.scores import l1_norms, random_units
from bayesprune.pruners.units import unit_preferences
from bayesprune.run.budget import Budget
from bayesprune.structure import compact, find, layer_costs
from bayesprune.training import TrainState


class Residual(nn.Module):
    """Two residual blocks of two widths, with batch normalisation and a shortcut by convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.first, self.second = nn.Conv2d(6, 5, 3, padding=1), nn.Conv2d(5, 6, 3, padding=1)
        self.third, self.fourth = nn.Conv2d(6, 7, 3, padding=1, stride=2), nn.Conv2d(7, 8, 3, padding=1)
        self.shortcut, self.last = nn.Conv2d(6, 8, 1, stride=2), nn.Linear(8, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        maps = self.norm(self.stem(inputs)).relu()
        maps = (maps + self.second(self.first(maps).relu())).relu()
        maps = (self.shortcut(maps) + self.fourth(self.third(maps).relu())).relu()
        outputs: Tensor = self.last(maps.mean((2, 3)))
        return outputs


class Concatenating(nn.Module):
    """A layer that reads a part of what another one reads: the parts must not be emptied."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(1, 4, 3), nn.Conv2d(1, 5, 3)
        self.both, self.last = nn.Conv2d(9, 6, 1), nn.Linear(6 + 4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        left, right = self.left(inputs).relu(), self.right(inputs).relu()
        both = self.both(torch.cat([left, right], 1)).relu()
        outputs: Tensor = self.last(torch.cat([both.mean((2, 3)), left.mean((2, 3))], 1))
        return outputs


class Flattened(nn.Module):
    """A convolution whose maps are read flattened."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 4, 7), nn.Linear(4 * 4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.fc(self.conv(inputs).relu().flatten(1))
        return outputs


def state_of(network: nn.Module, size: int, **settings: Any) -> TrainState:
    example = torch.randn(2, 1, size, size, generator=torch.Generator().manual_seed(0))
    return TrainState(network, find(network, example, **settings), example)


def cost_of(state: TrainState, open_gates: Tensor, kind: str) -> int:
    """What a compacted copy really costs."""
    network = deepcopy(state.network)
    compact(network, state.structure, state.structure.consistent(open_gates))
    if kind == "params":
        return sum(parameter.numel() for parameter in network.parameters())
    return sum(layer.macs for layer in layer_costs(network, state.example))


NETWORKS: dict[str, Callable[[], TrainState]] = {
    "lenet300": lambda: state_of(LeNet300(), 28),
    "lenet5": lambda: state_of(LeNet5(), 28),
    "residual": lambda: state_of(Residual(), 8),
    "concatenating": lambda: state_of(Concatenating(), 8),
    "flattened": lambda: state_of(Flattened(), 8, flatten_inputs=True, inputs="all"),
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def problem_of(state: TrainState) -> Problem:
    """A problem whose scores need no data."""
    return Problem.of(state, from_tensors(torch.randn(20, *state.example.shape[1:]), torch.arange(20) % 2))


def l1_ranks(state: TrainState) -> Tensor:
    """What the method of L1 norms closes first is lowest."""
    return unit_preferences(state.structure, l1_norms(problem_of(state)), class_uniform)


@pytest.mark.parametrize("kind", ["macs", "params"])
@pytest.mark.parametrize("share", [0.5, 0.12])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_budget_is_met_by_less_than_one_channel(name: str, share: float, kind: str) -> None:
    state = NETWORKS[name]()
    share = max(share, 0.3) if name in ("concatenating", "flattened") else share
    budget = Budget(kind, share, relative=True)
    whole = state.network_macs() if kind == "macs" else state.params()
    for scores in (l1_ranks(state), random_units(problem_of(state))):
        open_gates = open_within(state, scores, budget)
        assert cost_of(state, open_gates, kind) <= share * whole
        # The one that was closed last is the one with the highest score among those in the order of removal.
        order = removable(state.structure, scores)
        closed = [gate for gate in order.tolist() if not open_gates[gate]]
        before = torch.ones_like(open_gates)
        before[closed[:-1]] = False
        if not torch.equal(state.structure.consistent(before), open_gates):
            assert cost_of(state, before, kind) > share * whole
        for place in state.structure.slices().values():
            assert open_gates[place].any()


def test_the_lowest_scores_go_first() -> None:
    state = NETWORKS["lenet300"]()
    scores = l1_ranks(state)
    open_gates = open_within(state, scores, Budget("macs", 0.1, relative=True))
    highest_closed, lowest_open = scores[~open_gates].max(), scores[open_gates].min()
    assert highest_closed <= lowest_open
    # Ranks remove the same share of every group.
    shares = [float(open_gates[place].float().mean()) for place in state.structure.slices().values()]
    assert max(shares) - min(shares) < 0.02


def test_a_budget_that_is_met_already_removes_nothing() -> None:
    state = NETWORKS["residual"]()
    scores = l1_ranks(state)
    for budget in (Budget("macs", 1.0, relative=True), Budget("params", 1e9, relative=False)):
        assert bool(open_within(state, scores, budget).all())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_smallest_network_is_the_limit(name: str) -> None:
    state = NETWORKS[name]()
    scores = l1_ranks(state)
    least = torch.ones(state.structure.gate_count, dtype=torch.bool)
    least[removable(state.structure, scores)] = False
    smallest = cost_of(state, least, "macs")
    open_gates = open_within(state, scores, Budget("macs", smallest, relative=False))
    assert cost_of(state, open_gates, "macs") == smallest
    with pytest.raises(BudgetError, match=f"meets macs <= {smallest - 1:,}: with as few channels .* {smallest:,}"):
        open_within(state, scores, Budget("macs", smallest - 1, relative=False))


def test_a_part_that_a_layer_needs_is_never_emptied() -> None:
    # All scores of the left part are lowest, and yet one of its channels stays, since `last` reads only these.
    state = NETWORKS["concatenating"]()
    scores = torch.arange(state.structure.gate_count, dtype=torch.float32)
    order = removable(state.structure, scores)
    closed = torch.ones(state.structure.gate_count, dtype=torch.bool)
    closed[order] = False
    assert torch.equal(state.structure.protect(closed, scores), closed)
    state.shrink(closed)
    assert state.network.get_parameter("left.weight").shape[0] == 1
    assert state.network(state.example).shape == (2, 3)


def test_l1_norms_are_those_of_incoming_weights() -> None:
    state = NETWORKS["lenet5"]()
    weights = dict(state.network.named_parameters())
    norms = l1_norms(problem_of(state))
    places = state.structure.slices()
    for name in ("conv1", "conv2", "fc1"):
        expected = torch.tensor([float(channel.abs().sum()) for channel in weights[f"{name}.weight"].detach()])
        torch.testing.assert_close(norms[places[name]], expected, rtol=1e-5, atol=0)


def test_l1_norms_of_inputs_are_those_of_the_weights_that_read_them() -> None:
    state = NETWORKS["lenet300"]()
    norms = l1_norms(problem_of(state))[state.structure.slices()["inputs"]]
    columns = state.network.get_parameter("fc1.weight").detach().abs()
    expected = torch.tensor([float(columns[:, pixel].sum()) for pixel in range(784)])
    torch.testing.assert_close(norms, expected, rtol=1e-5, atol=0)


def test_channels_that_are_added_up_add_their_norms() -> None:
    state = NETWORKS["residual"]()
    weights = dict(state.network.named_parameters())
    norms = l1_norms(problem_of(state))
    places = state.structure.slices()
    tied = {"stem": ("stem", "second"), "first": ("first",), "third": ("third",)}
    tied |= {next(name for name in places if name in ("fourth", "shortcut")): ("fourth", "shortcut")}
    assert set(places) == set(tied)
    for name, layers in tied.items():
        expected = sum(weights[f"{layer}.weight"].abs().sum((1, 2, 3)) for layer in layers)
        torch.testing.assert_close(norms[places[name]], expected, rtol=1e-5, atol=0)


def test_scores_are_ranks_within_the_group() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    rows = torch.tensor([[1.0, -1.0, 1.0, 0.0], [0.5, 0.0, 0.0, 0.0], [0.0, 2.0, 2.0, -2.0]])
    network[1].weight.data = rows
    example = torch.randn(2, 1, 2, 2)
    structure = find(network, example)
    scores = l1_ranks(TrainState(network, structure, example))
    places = structure.slices()
    # Norms of the units 3, 0.5, 6; of the inputs 1.5, 3, 3, 2, where the first of two equals stays longer.
    assert scores[places["1"]].tolist() == pytest.approx([-1.5 / 3, -2.5 / 3, -0.5 / 3])
    assert scores[places["inputs"]].tolist() == pytest.approx([-3.5 / 4, -0.5 / 4, -1.5 / 4, -2.5 / 4])


def test_random_scores_come_from_the_global_generator() -> None:
    state = NETWORKS["residual"]()
    torch.manual_seed(1)
    one = random_units(problem_of(state))
    torch.manual_seed(1)
    assert torch.equal(one, random_units(problem_of(state)))
    assert not torch.equal(one, random_units(problem_of(state)))

"""Counts of channels in multiples: by hand, and never over the budget."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bayesprune.errors import BudgetError
from bayesprune.models import LeNet5, LeNet300
from bayesprune.pruners.budgeted import open_within, removable
from bayesprune.pruners.rounding import open_counts, rounded_counts, rounded_gates
from bayesprune.run.budget import Budget
from bayesprune.structure import compact, find
from bayesprune.training import TrainState


def state_of(network: nn.Module, size: int, **settings: bool) -> TrainState:
    example = torch.randn(2, 1, size, size, generator=torch.Generator().manual_seed(0))
    return TrainState(network, find(network, example, **settings), example)  # type: ignore[arg-type]  # settings by name


@pytest.mark.parametrize(
    ("count", "size", "down", "up"),
    [
        (1, 20, 8, 8), (7, 20, 8, 8), (8, 20, 8, 8), (9, 20, 8, 16), (15, 20, 8, 16), (16, 20, 16, 16),
        (19, 20, 16, 20), (20, 20, 20, 20), (20, 21, 16, 21), (3, 5, 5, 5), (5, 5, 5, 5), (784, 784, 784, 784),
        (777, 784, 776, 784),
    ],
)  # fmt: skip
def test_counts_by_hand(count: int, size: int, down: int, up: int) -> None:
    assert rounded_counts({"a": count}, {"a": size}, 8) == {"a": down}
    assert rounded_counts({"a": count}, {"a": size}, 8, up=True) == {"a": up}
    assert rounded_counts({"a": count}, {"a": size}, 1) == {"a": count}


def test_the_channels_closed_first_are_those_that_go() -> None:
    state = state_of(LeNet300((12, 9), (1, 6, 6), 3), 6)
    structure = state.structure
    scores = torch.arange(structure.gate_count).float()
    order, open_gates = removable(structure, scores), torch.ones(structure.gate_count, dtype=torch.bool)
    open_gates[structure.slices()["fc1"]] = torch.arange(12) % 2 == 0  # 6 of 12: rounded up to 8
    found = rounded_gates(structure, open_gates, order, 8)
    kept = {name: found[place].nonzero().flatten().tolist() for name, place in structure.slices().items()}
    assert kept == {"inputs": list(range(36)), "fc1": list(range(4, 12)), "fc2": list(range(9))}
    found = open_counts(structure, open_gates, order, {"fc2": 4})
    kept = {name: found[place].nonzero().flatten().tolist() for name, place in structure.slices().items()}
    assert kept == {"inputs": list(range(36)), "fc1": [0, 2, 4, 6, 8, 10], "fc2": [5, 6, 7, 8]}


def test_flattened_features_follow_their_channels() -> None:
    """They are not rounded themselves, and a channel that is to stay gets its features back."""
    state = state_of(LeNet5(), 28, flatten_inputs=True)
    structure, places = state.structure, state.structure.slices()
    order = removable(structure, torch.arange(structure.gate_count).float())
    features, channels = places["fc1.inputs"], places["conv2"]
    open_gates = torch.ones(structure.gate_count, dtype=torch.bool)
    open_gates[features.start] = False  # 799 of 800
    assert torch.equal(rounded_gates(structure, open_gates, order, 8), open_gates)
    open_gates[features] = torch.arange(800) >= 16  # those of the first of 50 channels are closed
    assert not bool(structure.consistent(open_gates)[channels.start])
    fed = open_counts(structure, open_gates, order, {"conv2": 50})
    assert bool(fed[channels].all()) and bool(fed[features].all())
    open_gates[channels.start + 1] = False
    fewer = open_counts(structure, open_gates, order, {"conv1": 16})
    assert fewer[channels].nonzero().flatten().tolist() == [0, *range(2, 50)]
    assert fewer[features].nonzero().flatten().tolist() == [*range(16), *range(32, 800)]


class Concatenating(nn.Module):
    """Two layers write parts of what one reads."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.fc = nn.Linear(36, 12), nn.Linear(36, 12), nn.Linear(24, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        flat = inputs.flatten(1)
        outputs: Tensor = self.fc(torch.cat([self.left(flat), self.right(flat)], 1).relu())
        return outputs


NETWORKS: dict[str, Callable[[], TrainState]] = {
    "lenet300": lambda: state_of(LeNet300(), 28),
    "lenet5": lambda: state_of(LeNet5(), 28),
    "flattened": lambda: state_of(LeNet5(), 28, flatten_inputs=True),
    "concatenating": lambda: state_of(Concatenating(), 6),
}


@pytest.mark.parametrize("kind", ["macs", "params"])
@pytest.mark.parametrize("share", [0.9, 0.5, 0.3])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_budget_is_met_with_counts_in_multiples(name: str, share: float, kind: str) -> None:
    torch.manual_seed(0)
    state = NETWORKS[name]()
    budget, structure = Budget(kind, share, relative=True), state.structure
    scores = torch.rand(structure.gate_count)
    smaller = compact(state.network, structure, open_within(state, scores, budget, 8))
    state.structure, state.shape_version = smaller, 1
    spent = state.network_macs() if kind == "macs" else state.params()
    assert spent <= share * (state.initial_macs if kind == "macs" else state.initial_params)
    for group in smaller.groups:
        assert group.kind == "flatten" or len(group.kept) % 8 == 0 or len(group.kept) == group.size
        assert len(group.kept) >= min(8, group.size) or group.kind == "flatten"


def test_a_budget_that_no_network_of_such_counts_meets_is_refused() -> None:
    state = state_of(LeNet300((12, 9), (1, 6, 6), 3), 6)
    scores = torch.ones(state.structure.gate_count)
    least = 8 * 8 + 8 * 8 + 8 * 3
    assert int(open_within(state, scores, Budget("macs", least, relative=False), 8).sum()) == 24
    with pytest.raises(BudgetError, match=f"macs <= {least - 1}: .*round_to=8.* {least}"):
        open_within(state, scores, Budget("macs", least - 1, relative=False), 8)

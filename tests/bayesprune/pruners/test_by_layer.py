"""Shares layer by layer: how many channels or weights each keeps, by hand."""

import pytest
import torch
from torch import nn

from bayesprune.errors import BudgetError, UnknownNameError
from bayesprune.models import LeNet300
from bayesprune.pruners.by_layer import channel_goals, cut_each, on_the_way, weight_goals
from bayesprune.structure import find


class Residual(nn.Module):
    """Two layers write one group."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(36, 10), nn.Linear(10, 10), nn.Linear(10, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        first = self.fc1(inputs.flatten(1)).relu()
        outputs: torch.Tensor = self.fc3(first + self.fc2(first))
        return outputs


def test_channels_are_rounded_down_and_one_is_left() -> None:
    structure = find(LeNet300((12, 8), (1, 6, 6), 3), torch.zeros(2, 1, 6, 6))
    goals = channel_goals(structure, {"fc1": 0.5, "fc2": 0.3, "inputs": 0.01})
    assert goals == {"fc1": 6, "fc2": 2, "inputs": 1}
    assert channel_goals(structure, {"fc1": 0.25 * 3, "fc2": 1.0}) == {"fc1": 9, "fc2": 8}
    with pytest.raises(UnknownNameError, match="or layer with channels to remove, .fc9.: .*fc1, fc2, inputs"):
        channel_goals(structure, {"fc9": 0.5})
    with pytest.raises(BudgetError, match="'fc3' keeps all its channels .*outputs of the network.*leave it out"):
        channel_goals(structure, {"fc3": 0.5})


def test_layers_of_one_group_have_one_share() -> None:
    structure = find(Residual(), torch.zeros(2, 1, 6, 6))
    assert channel_goals(structure, {"fc2": 0.5}) == channel_goals(structure, {"fc1": 0.5, "fc2": 0.5}) == {"fc1": 5}
    with pytest.raises(BudgetError, match="layers fc1, fc2 lose their channels together: give them one share"):
        channel_goals(structure, {"fc1": 0.5, "fc2": 0.4})


def test_weights_are_rounded_to_the_nearest() -> None:
    sizes = {"fc1.weight": 12 * 36, "fc3.weight": 3 * 8}
    assert weight_goals(sizes, {"fc1": 0.1, "fc3.weight": 0.23}) == {"fc1.weight": 43, "fc3.weight": 6}
    with pytest.raises(BudgetError, match="layer 'fc3': density 0.01 of 24 weights keeps none"):
        weight_goals(sizes, {"fc3": 0.01})
    with pytest.raises(UnknownNameError, match="unknown layer with weights 'fc2'"):
        weight_goals(sizes, {"fc2": 0.5})


def test_layers_go_down_together() -> None:
    sizes, goals = {"a": 100, "b": 10, "c": 7}, {"a": 20, "b": 5}
    assert on_the_way(sizes, goals, 110) == {"a": 100, "b": 10}
    assert on_the_way(sizes, goals, 68) == {"a": 61, "b": 8}  # 42 of 85 are gone
    assert on_the_way(sizes, goals, 25) == goals
    assert on_the_way({"a": 3}, {"a": 3}, 3) == {"a": 3}


def test_each_layer_is_cut_by_itself_and_others_keep_what_is_alive() -> None:
    scores = {"a": torch.tensor([1.0, 4.0, 3.0]), "b": torch.tensor([9.0, float("-inf"), 8.0])}
    masks = cut_each(scores, {"a": 2})
    assert masks["a"].tolist() == [0, 1, 1] and masks["b"].tolist() == [1, 0, 1]
    with pytest.raises(BudgetError, match="3 weights cannot be kept: 2 of 3 are left"):
        cut_each(scores, {"b": 3})

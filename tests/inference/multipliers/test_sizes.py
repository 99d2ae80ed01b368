"""How many weights L0 regularisation prices for each gate, counted by hand, and prices by group."""

import pytest
import torch
from torch import nn

import bayesprune as bp
from bayesprune.data import Data
from bayesprune.errors import SettingError
from bayesprune.inference.multipliers.sizes import by_group, carried_weights
from bayesprune.models import LeNet5, LeNet300
from bayesprune.structure import find
from bayesprune.training import TrainState


def sizes(network: nn.Module, shape: tuple[int, ...], **options: object) -> dict[str, list[float]]:
    example = torch.randn(2, *shape)
    state = TrainState(network, find(network, example, **options), example)  # type: ignore[arg-type]  # options of find
    carried = carried_weights(state)
    return {name: carried[place].unique().tolist() for name, place in state.structure.slices().items()}


def test_gates_of_a_perceptron_carry_the_weights_that_read_them() -> None:
    """As in the public code: 300 of a pixel, 100 and 10 of a hidden unit of 784-300-100-10."""
    assert sizes(LeNet300((300, 100), (1, 28, 28), 10), (1, 28, 28)) == {"inputs": [300], "fc1": [100], "fc2": [10]}


def test_filters_carry_the_weights_that_make_them_and_flattened_features_those_that_read_them() -> None:
    """25 and 20 x 25 of the filters of LeNet-5, 500 of a flattened feature, 10 of a unit."""
    found = sizes(LeNet5((20, 50, 500), (1, 28, 28)), (1, 28, 28), flatten_inputs=True)
    assert found == {"conv1": [25], "conv2": [500], "fc1.inputs": [500], "fc1": [10]}


def test_a_weight_for_each_group_goes_to_its_gates() -> None:
    structure = find(LeNet300((6, 4), (1, 5, 5), 3), torch.randn(2, 1, 5, 5))
    found = by_group("weight", {"fc2": 3.0, "inputs": 0.5, "fc1": 2.0}, structure)
    assert found.tolist() == [0.5] * 25 + [2.0] * 6 + [3.0] * 4
    assert by_group("weight", 0.1, structure).tolist() == torch.full((35,), 0.1).tolist()


@pytest.mark.parametrize("method", ["l0", "vib"])
def test_a_table_of_equal_weights_is_the_one_weight(method: str, small_data: Data) -> None:
    """And another one for a group changes what the run ends with."""

    def ended(weight: object) -> list[object]:
        options = {"weight": weight, "gate_learning_rate": 0.3, "quiet_steps": 3, "shrink_every": 2}
        pruned = bp.prune("lenet300", small_data, method, widths=(12, 8), epochs=4, options=options, progress=False)
        return [value.tolist() for value in pruned.network.state_dict().values()]

    one = ended(1.0)
    assert ended({"inputs": 1.0, "fc1": 1.0, "fc2": 1.0}) == one
    assert ended({"inputs": 1.0, "fc1": 50.0, "fc2": 1.0}) != one


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ({"fc1": 1.0}, r"weight must name every group, and no other: it differs in \['fc2', 'inputs'\]"),
        ({"inputs": 1.0, "fc1": 1.0, "fc2": 0.0}, "weight of 'fc2' must be a finite number > 0, not 0"),
        ({"inputs": 1.0, "fc1": "many", "fc2": 1.0}, "weight of 'fc1' must be a number, not 'many'"),
        ("inputs=1", "weight must be a number, or a table with one for each group, not 'inputs=1'"),
    ],
)
def test_weights_that_fit_no_group_are_refused(weight: object, message: str, small_data: Data) -> None:
    with pytest.raises(SettingError, match=message):
        bp.prune("lenet300", small_data, "l0", widths=(12, 8), epochs=1, options={"weight": weight}, progress=False)

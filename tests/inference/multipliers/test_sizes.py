"""How many weights L0 regularisation prices for each gate, counted by hand."""

import torch
from torch import nn

from bayesprune.inference.multipliers.sizes import carried_weights
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

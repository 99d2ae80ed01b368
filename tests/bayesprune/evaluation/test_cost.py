"""Parameters, weights and multiply-accumulates against hand counts, published architectures and torch's counter."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bayesprune.evaluation.cost import cost
from bayesprune.models.networks import Conv4, LeNet5, LeNet300
from bayesprune.structure import Structure, compact, find, layer_costs

MNIST = torch.zeros(1, 1, 28, 28)


def test_lenet300_by_hand() -> None:
    counted = cost(LeNet300(), MNIST)
    assert (counted.params, counted.weights, counted.macs) == (266_610, 266_200, 266_200)
    assert [(layer.name, layer.kind, layer.inputs, layer.outputs) for layer in counted.layers] == [
        ("fc1", "Linear", 784, 300), ("fc2", "Linear", 300, 100), ("fc3", "Linear", 100, 10),
    ]  # fmt: skip
    assert [layer.params for layer in counted.layers] == [784 * 300 + 300, 300 * 100 + 100, 1010]
    assert [(layer.macs, layer.positions) for layer in counted.layers] == [(235_200, 1), (30_000, 1), (1000, 1)]


def test_lenet5_by_hand() -> None:
    counted = cost(LeNet5(), MNIST)
    assert (counted.params, counted.weights, counted.macs) == (431_080, 430_500, 2_293_000)
    assert [(layer.macs, layer.positions) for layer in counted.layers] == [
        (25 * 20 * 576, 576), (25 * 20 * 50 * 64, 64), (400_000, 1), (5000, 1),
    ]  # fmt: skip
    assert [(layer.inputs, layer.outputs) for layer in counted.layers] == [(1, 20), (20, 50), (800, 500), (500, 10)]


def keep_first(structure: Structure, sizes: dict[str, int]) -> Tensor:
    kept = {group.name: list(range(sizes.get(group.name, group.size))) for group in structure.groups}
    return structure.open_from_kept(kept)


# methods note, section 8.2: inputs, first and second hidden layer, MACs, parameters
MULTILAYER = [
    (245, 160, 55, 48_550, 48_775),
    (266, 88, 33, 26_642, 26_773),
    (97, 71, 33, 9_560, 9_674),
    (278, 98, 13, 28_648, 28_769),
    (311, 86, 14, 28_090, 28_200),
    (219, 214, 100, 69_266, 69_590),
    (512, 114, 72, 67_296, 67_492),
]


@pytest.mark.parametrize(("inputs", "first", "second", "macs", "params"), MULTILAYER)
def test_published_multilayer_perceptrons(inputs: int, first: int, second: int, macs: int, params: int) -> None:
    network = LeNet300()
    structure = find(network, MNIST, check=False)
    compact(network, structure, keep_first(structure, {"inputs": inputs, "fc1": first, "fc2": second}))
    counted = cost(network, MNIST)
    assert (counted.macs, counted.params, counted.weights) == (macs, params, macs)


# the same section: filters, filters, features read by the linear layer, its units, MACs, parameters
CONVOLUTIONAL = [
    (7, 13, 208, 16, 249_888, 5_984),
    (3, 18, 284, 283, 212_802, 84_941),
    (8, 13, 88, 13, 282_874, 4_118),
    (5, 10, 76, 16, 153_376, 2_792),
    (20, 25, 45, 462, 1_113_410, 38_927),
    (9, 18, 65, 25, 390_675, 6_212),
]


@pytest.mark.parametrize(("conv1", "conv2", "features", "units", "macs", "params"), CONVOLUTIONAL)
def test_published_convolutional_networks(
    conv1: int, conv2: int, features: int, units: int, macs: int, params: int
) -> None:
    network = LeNet5()
    structure = find(network, MNIST, flatten_inputs=True, check=False)
    sizes = {"conv1": conv1, "conv2": conv2, "fc1": units, "fc1.inputs": features}
    smaller = compact(network, structure, keep_first(structure, sizes))
    assert {name: len(kept) for name, kept in smaller.kept().items()} == sizes
    counted = cost(network, MNIST)
    assert (counted.macs, counted.params) == (macs, params)


class _Separable(nn.Sequential):
    """Padded, strided, depthwise, grouped, dilated and transposed convolutions."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 12, 1, stride=2), nn.Conv2d(12, 6, 3, groups=3),
            nn.ConvTranspose2d(6, 4, 3, stride=2), nn.Conv2d(4, 5, 3, dilation=2), nn.AdaptiveAvgPool2d(1),
            nn.Flatten(), nn.Linear(5, 7),
        )  # fmt: skip


COUNTED: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "lenet5": (LeNet5, (1, 28, 28)),
    "conv4": (Conv4, (3, 32, 32)),
    "lenet300": (LeNet300, (1, 28, 28)),
    "separable": (_Separable, (3, 32, 32)),
    "tokens": (lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)), (9, 6)),
    "series": (lambda: nn.Sequential(nn.Conv1d(2, 4, 5, stride=3), nn.ReLU(), nn.Conv1d(4, 3, 2)), (2, 40)),
}


@pytest.mark.parametrize("name", COUNTED)
@pytest.mark.parametrize("batch", [1, 3])
def test_against_torchs_counter(name: str, batch: int) -> None:
    """It counts two operations a multiply-accumulate, over the whole batch."""
    make, shape = COUNTED[name]
    network, inputs = make().eval(), torch.randn(batch, *shape)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(inputs)
    assert cost(network, inputs).macs * 2 * batch == counter.get_total_flops()


def test_against_torchs_counter_after_compaction() -> None:
    network, inputs = LeNet5().eval(), torch.randn(1, 1, 28, 28)
    structure = find(network, inputs, flatten_inputs=True, check=False)
    random = torch.rand(structure.gate_count, generator=torch.Generator().manual_seed(0))
    compact(network, structure, structure.protect(random < 0.3, random))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(inputs)
    assert cost(network, inputs).macs * 2 == counter.get_total_flops()


def test_nonzero_weights_after_masking() -> None:
    torch.manual_seed(0)
    network = LeNet5()
    for parameter in network.parameters():
        parameter.data.uniform_(1, 2)
    network.conv2.weight.data[:, :5] = 0
    network.fc1.weight.data[::2] = 0
    network.fc2.bias.data.zero_()  # a bias is no weight
    counted = cost(network, MNIST)
    assert counted.nonzero_weights == 430_500 - 25 * 5 * 50 - 400_000 // 2
    assert (counted.weights, counted.params, counted.macs) == (430_500, 431_080, 2_293_000)


def test_a_layer_used_twice_costs_twice_and_is_stored_once() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.unused = nn.Linear(6, 6), nn.Linear(3, 3)

        def forward(self, inputs: Tensor) -> Tensor:
            outputs: Tensor = self.fc(self.fc(inputs).relu())
            return outputs

    counted = cost(Twice(), torch.zeros(2, 6))
    assert (counted.macs, counted.params, counted.weights) == (72, 42 + 12, 36)
    assert [(layer.name, layer.positions, layer.params) for layer in counted.layers] == [("fc", 2, 42)]


def test_counting_changes_nothing() -> None:
    network: Any = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout()).train()
    network[1].eval()
    mean, random = network[1].running_mean.clone(), torch.get_rng_state()
    layer_costs(network, torch.randn(2, 1, 5, 5, generator=torch.Generator().manual_seed(0)))
    assert [module.training for module in network.modules()] == [True, True, False, True]
    assert torch.equal(network[1].running_mean, mean) and torch.equal(torch.get_rng_state(), random)
    assert not any(module._forward_hooks for module in network.modules())
    with pytest.raises(RuntimeError):
        layer_costs(network, torch.randn(2, 3, 5, 5))
    assert network.training and not any(module._forward_hooks for module in network.modules())

"""Shapes, sizes and limits of the networks."""

import inspect
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from bayesprune.errors import InputShapeError, SettingError
from bayesprune.models.networks import MLP, VGG16, Conv4, LeNet5, LeNet300, ResNet20, ResNet32, ResNet56
from bayesprune.models.networks.resnet import Block
from bayesprune.run.networks import NetworkSpec, name_of
from bayesprune.structure import layer_costs


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("factory", "arguments", "count"),
    [
        (LeNet300, {}, 266_610),
        (LeNet5, {}, 431_080),
        (LeNet5, {"widths": (20, 50, 800, 500)}, 1_071_880),
        (LeNet5, {"widths": (6, 16, 120, 84), "input_shape": (1, 32, 32)}, 61_706),
        # Conv-4 on 32x32x3 in the lottery ticket paper (arXiv 1803.03635, figure 2): 2.4 M
        (Conv4, {}, 2_425_930),
        (LeNet300, {"widths": (5, 4), "input_shape": (3, 2, 2), "classes": 7}, 12 * 5 + 5 + 5 * 4 + 4 + 4 * 7 + 7),
        (LeNet5, {"widths": (2, 3, 4), "input_shape": (3, 32, 32), "classes": 7},
         75 * 2 + 2 + 50 * 3 + 3 + 3 * 25 * 4 + 4 + 4 * 7 + 7),
        (MLP, {}, 79_400 + 110),
        (MLP, {"widths": (5, 4, 3), "input_shape": (12,), "classes": 2}, 60 + 5 + 20 + 4 + 12 + 3 + 6 + 2),
        (Conv4, {"widths": (1, 1, 1, 1, 1, 1), "input_shape": (1, 4, 4), "classes": 2}, 4 * 10 + 2 + 2 + 4),
        (VGG16, {"widths": (1,) * 14, "input_shape": (1, 16, 16), "classes": 2}, 13 * (9 + 2) + 1 + 2 + 2 + 2),
        (ResNet20, {"widths": (1, 1, 1), "input_shape": (1, 4, 4), "classes": 2}, 19 * (9 + 2) + 2 * (1 + 2) + 2 + 2),
    ],
)  # fmt: skip
def test_number_of_parameters(factory: Any, arguments: dict[str, Any], count: int) -> None:
    assert parameters(factory(**arguments)) == count


@pytest.mark.parametrize(
    ("factory", "shapes"),
    [
        (LeNet300, [(1, 28, 28), (3, 5, 7), (20,)]),
        (MLP, [(1, 28, 28), (20,)]),
        (LeNet5, [(1, 28, 28), (3, 32, 32), (1, 16, 16), (2, 17, 23), (1, 29, 16)]),
        (Conv4, [(3, 32, 32), (1, 28, 28), (1, 4, 4), (2, 5, 11)]),
        (partial(VGG16, (4,) * 14), [(3, 32, 32), (1, 16, 16), (2, 17, 35)]),
        (partial(VGG16, (4,) * 13), [(3, 32, 32)]),
        (partial(ResNet20, (2, 3, 4)), [(3, 32, 32), (1, 4, 4), (2, 5, 11)]),
    ],
)
def test_logits_for_every_input_shape(factory: Any, shapes: list[tuple[int, ...]]) -> None:
    for shape in shapes:
        network = factory(input_shape=shape, classes=6)
        for batch in (2, 3):
            logits = network(torch.randn(batch, *shape))
            assert logits.shape == (batch, 6)
        logits.sum().backward()
        assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize(
    ("factory", "shape"),
    [
        (LeNet5, (1, 15, 28)),
        (LeNet5, (1, 28, 15)),
        (LeNet5, (28, 28)),
        (LeNet5, (0, 28, 28)),
        (Conv4, (3, 3, 32)),
        (Conv4, (3, 32)),
        (Conv4, (1, 3, 32, 32)),
        (VGG16, (3, 32, 15)),
        (ResNet56, (3, 3, 32)),
    ],
)
def test_images_it_cannot_take(factory: Any, shape: tuple[int, ...]) -> None:
    least = r"\(1, 16, 16\)" if factory in (LeNet5, VGG16) else r"\(1, 4, 4\)"
    with pytest.raises(InputShapeError, match=f"needs at least {least}") as caught:
        factory(input_shape=shape)
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize(
    ("factory", "arguments"),
    [
        (LeNet300, {"widths": (300,)}),
        (LeNet300, {"widths": (300, 0)}),
        (LeNet300, {"classes": 0}),
        (LeNet5, {"widths": (20, 50)}),
        (Conv4, {"widths": (64, 64, 128, 128)}),
        (Conv4, {"classes": -1}),
        (VGG16, {"widths": (4,) * 12}),
        (ResNet20, {"widths": (16, 32)}),
        (ResNet32, {"classes": 0}),
    ],
)
def test_widths_it_cannot_have(factory: Any, arguments: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=r"takes \d+( or more)? widths >= 1 and classes >= 1"):
        factory(**arguments)


@pytest.mark.parametrize("name", ["lenet300", "lenet5", "conv4", "mlp", "vgg16", "resnet20"])
def test_a_network_remembers_how_it_was_built(name: str) -> None:
    shape = [1, 20, 20]
    network = NetworkSpec(name, {"input_shape": shape, "classes": 4}).build()
    spec = name_of(network)
    assert spec is not None and spec.factory == name
    assert spec.arguments["input_shape"] == shape and spec.arguments["classes"] == 4
    again = spec.build()
    assert type(again) is type(network)
    assert [p.shape for p in again.parameters()] == [p.shape for p in network.parameters()]


@pytest.mark.parametrize("factory", [LeNet300, LeNet5, Conv4, MLP, VGG16, ResNet20, ResNet32, ResNet56])
def test_constructors_take_widths_input_shape_and_classes(factory: Any) -> None:
    assert list(inspect.signature(factory).parameters) == ["widths", "input_shape", "classes"]


def test_a_perceptron_with_two_hidden_layers_is_lenet300() -> None:
    torch.manual_seed(0)
    deep, images = MLP((30, 20), (1, 5, 5), 4), torch.randn(3, 1, 5, 5)
    torch.manual_seed(0)
    lenet = LeNet300((30, 20), (1, 5, 5), 4)
    assert list(deep.state_dict()) == list(lenet.state_dict())
    assert torch.equal(deep(images), lenet(images))
    for widths in ((), (3, 0)):
        with pytest.raises(SettingError, match="mlp takes one or more widths >= 1"):
            MLP(widths)


def test_lenet5_by_hand() -> None:
    """Convolution, pooling, rectifier, twice; then two linear layers."""
    torch.manual_seed(0)
    network, images = LeNet5((2, 3, 4), (1, 16, 16), 5), torch.randn(2, 1, 16, 16)
    stages = nn.Sequential(
        network.conv1, nn.MaxPool2d(2), nn.ReLU(), network.conv2, nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(),
        network.fc1, nn.ReLU(), network.fc2,
    )  # fmt: skip
    torch.testing.assert_close(network(images), stages(images))


def test_conv4_by_hand() -> None:
    torch.manual_seed(0)
    network, images = Conv4((2, 3, 4, 5, 6, 7), (3, 9, 8), 5), torch.randn(2, 3, 9, 8)
    stages = nn.Sequential(
        network.conv1, nn.ReLU(), network.conv2, nn.ReLU(), nn.MaxPool2d(2), network.conv3, nn.ReLU(), network.conv4,
        nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), network.fc1, nn.ReLU(), network.fc2, nn.ReLU(), network.fc3,
    )  # fmt: skip
    torch.testing.assert_close(network(images), stages(images))


OPTION_B = 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64
"""Parameters of the two shortcuts that are convolutions; He et al. fill up with zeros."""


@pytest.mark.parametrize(
    ("factory", "millions", "count"), [(ResNet20, 0.27, 269_722), (ResNet32, 0.46, 464_154), (ResNet56, 0.85, 853_018)]
)
def test_residual_networks_have_the_published_size(factory: Any, millions: float, count: int) -> None:
    """He et al., arXiv 1512.03385, Table 6: 0.27 M, 0.46 M and 0.85 M parameters, with shortcuts that have none."""
    assert parameters(factory()) - OPTION_B == count
    assert round(count / 1e6, 2) == millions


def test_vgg16_has_the_published_size() -> None:
    """HRank (arXiv 2002.10179) and those after it count 14.98 M: the weights of convolutions and linear layers.

    Thirteen convolutions of the published widths by hand, and 512-512-10 behind them; MACs are each weight times the
    places of its map, 313.46 M.
    """
    plan = [(64, 32), (64, 32), (128, 16), (128, 16), *[(256, 8)] * 3, *[(512, 4)] * 3, *[(512, 2)] * 3]
    weights, macs, reads = 512 * 512 + 512 * 10, 512 * 512 + 512 * 10, 3
    for writes, side in plan:
        weights, macs, reads = weights + 9 * reads * writes, macs + 9 * reads * writes * side**2, writes
    network = VGG16()
    assert sum(p.numel() for p in network.parameters() if p.dim() > 1) == weights == 14_977_728
    assert sum(layer.macs for layer in layer_costs(network, torch.zeros(2, 3, 32, 32))) == macs == 313_463_808
    assert parameters(network) == weights + 2 * sum(writes for writes, _ in plan) + 2 * 512 + 10


def test_a_residual_block_by_hand() -> None:
    torch.manual_seed(0)
    network, images = ResNet20((2, 3, 4), (1, 6, 6), 5).eval(), torch.randn(2, 1, 6, 6)
    maps = network.norm(network.conv(images)).relu()
    for stage in (network.stage1, network.stage2, network.stage3):
        for block in stage:
            assert isinstance(block, Block)
            first = block.norm1(block.conv1(maps)).relu()
            through = maps
            if isinstance(block.shortcut, nn.Sequential):
                convolution, norm = block.shortcut
                through = norm(convolution(maps))
            maps = (block.norm2(block.conv2(first)) + through).relu()
    torch.testing.assert_close(network(images), network.fc(maps.mean((2, 3))))

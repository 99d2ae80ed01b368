"""LeNet-300-100 and LeNet-5 in the Caffe variant, as in the pruning literature."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from bayesprune.errors import SettingError
from bayesprune.run.networks import register, require_size


def check_widths(name: str, widths: Sequence[int], count: int, classes: int, *, more: bool = False) -> None:
    """Refuse a wrong number of layers or an empty one; with `more` there may be more than `count`."""
    fits = len(widths) >= count if more else len(widths) == count
    if not fits or any(width < 1 for width in (*widths, classes)):
        wanted = f"{count} or more" if more else count
        raise SettingError(f"{name} takes {wanted} widths >= 1 and classes >= 1, not {tuple(widths)} and {classes}")


@register("lenet300")
class LeNet300(nn.Module):
    """A multilayer perceptron 784-300-100-10 with rectifiers (266,610 parameters, 266,200 multiply-accumulates).

    Args:
        widths: units of the two hidden layers.
        input_shape: shape of one input, flattened before the first layer.
        classes: outputs.
    """

    def __init__(
        self, widths: Sequence[int] = (300, 100), input_shape: Sequence[int] = (1, 28, 28), classes: int = 10
    ) -> None:
        super().__init__()
        check_widths("lenet300", widths, 2, classes)
        self.spec_arguments = {
            "widths": list(widths), "input_shape": list(input_shape), "classes": classes
        }  # fmt: skip
        self.fc1 = nn.Linear(prod(input_shape), widths[0])
        self.fc2 = nn.Linear(widths[0], widths[1])
        self.fc3 = nn.Linear(widths[1], classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits [B, classes] of inputs [B, *input_shape]."""
        hidden = self.fc1(inputs.flatten(1)).relu()
        logits: Tensor = self.fc3(self.fc2(hidden).relu())
        return logits


@register("lenet5")
class LeNet5(nn.Module):
    """The Caffe variant of LeNet-5, 20-50-500 (431,080 parameters, 2,293,000 multiply-accumulates on 28x28).

    Two 5x5 convolutions without padding, each followed by 2x2 max pooling and a rectifier, then linear layers: fc1, fc2
    and so on. Widths 6-16-120-84 make it the original of 1998, on images without a border.

    Args:
        widths: filters of the two convolutions and units of the hidden layers, one or more.
        input_shape: channels, height and width; at least 16x16.
        classes: outputs.
    """

    fc1: nn.Linear
    fc2: nn.Linear

    def __init__(
        self, widths: Sequence[int] = (20, 50, 500), input_shape: Sequence[int] = (1, 28, 28), classes: int = 10
    ) -> None:
        super().__init__()
        check_widths("lenet5", widths, 3, classes, more=True)
        require_size("lenet5", tuple(input_shape), (1, 16, 16))
        self.spec_arguments = {
            "widths": list(widths), "input_shape": list(input_shape), "classes": classes
        }  # fmt: skip
        channels, height, width = input_shape
        self.conv1 = nn.Conv2d(channels, widths[0], 5)
        self.conv2 = nn.Conv2d(widths[0], widths[1], 5)
        sizes = (widths[1] * _after_pools(height) * _after_pools(width), *widths[2:], classes)
        self.linear_names = [f"fc{number}" for number in range(1, len(sizes))]
        for name, (reads, writes) in zip(self.linear_names, pairwise(sizes), strict=True):
            self.add_module(name, nn.Linear(reads, writes))

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits [B, classes] of images [B, C, H, W]."""
        maps = max_pool2d(self.conv1(inputs), 2).relu()
        maps = max_pool2d(self.conv2(maps), 2).relu()
        features = maps.flatten(1)
        *hidden, last = (self.get_submodule(name) for name in self.linear_names)
        for layer in hidden:
            features = layer(features).relu()
        logits: Tensor = last(features)
        return logits


def _after_pools(size: int) -> int:
    """What two 5-convolutions, each halved by pooling, leave of a side."""
    return ((size - 4) // 2 - 4) // 2

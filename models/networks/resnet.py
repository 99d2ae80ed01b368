"""Residual networks for small images (He et al., arXiv 1512.03385, section 4.2)."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from bayesprune.models.networks.lenet import check_widths
from bayesprune.run.networks import register, require_size


class Block(nn.Module):
    """Two 3x3 convolutions, each normalised, beside a shortcut; the sum is rectified.

    Where width or size changes the shortcut is a normalised 1x1 convolution, else the identity.

    Args:
        reads: channels that come in.
        writes: channels of both convolutions.
        stride: of the first convolution and of the shortcut.
    """

    def __init__(self, reads: int, writes: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(reads, writes, 3, stride, 1, bias=False), nn.BatchNorm2d(writes)
        self.conv2, self.norm2 = nn.Conv2d(writes, writes, 3, 1, 1, bias=False), nn.BatchNorm2d(writes)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or reads != writes:
            self.shortcut = nn.Sequential(nn.Conv2d(reads, writes, 1, stride, bias=False), nn.BatchNorm2d(writes))

    def forward(self, maps: Tensor) -> Tensor:
        """[B, C, H, W]."""
        hidden = self.norm1(self.conv1(maps)).relu()
        summed: Tensor = self.norm2(self.conv2(hidden)) + self.shortcut(maps)
        return summed.relu()


class SmallResNet(nn.Module):
    """A convolution, three stages of as many blocks, an average over places and a linear layer.

    Shortcuts that change the width are convolutions (option B of the paper), so that the widths of the stages stay
    independent; the paper's networks for CIFAR-10 fill up with zeros (option A), and have 2,752 parameters fewer at
    the usual widths.

    Args:
        widths: channels of the three stages.
        input_shape: channels, height and width; at least 4x4.
        classes: outputs.
    """

    blocks: ClassVar[int]
    """In each stage."""

    def __init__(
        self,
        widths: Sequence[int] = (16, 32, 64),
        input_shape: Sequence[int] = (3, 32, 32),
        classes: int = 10,
    ) -> None:
        super().__init__()
        name = type(self).__name__.lower()
        check_widths(name, widths, 3, classes)
        require_size(name, tuple(input_shape), (1, 4, 4))
        self.spec_arguments = {
            "widths": list(widths), "input_shape": list(input_shape), "classes": classes
        }  # fmt: skip
        self.conv, self.norm = nn.Conv2d(input_shape[0], widths[0], 3, padding=1, bias=False), nn.BatchNorm2d(widths[0])
        self.stage1 = self._stage(widths[0], widths[0], 1)
        self.stage2 = self._stage(widths[0], widths[1], 2)
        self.stage3 = self._stage(widths[1], widths[2], 2)
        self.fc = nn.Linear(widths[2], classes)

    def _stage(self, reads: int, writes: int, stride: int) -> nn.Sequential:
        return nn.Sequential(Block(reads, writes, stride), *(Block(writes, writes, 1) for _ in range(self.blocks - 1)))

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits [B, classes] of images [B, C, H, W]."""
        maps = self.norm(self.conv(inputs)).relu()
        maps = self.stage3(self.stage2(self.stage1(maps)))
        logits: Tensor = self.fc(maps.mean((2, 3)))
        return logits


@register("resnet20")
class ResNet20(SmallResNet):
    """Three stages of three blocks (272,474 parameters, 40.8 M multiply-accumulates); see `SmallResNet`."""

    blocks = 3


@register("resnet32")
class ResNet32(SmallResNet):
    """Three stages of five blocks (466,906 parameters); see `SmallResNet`."""

    blocks = 5


@register("resnet56")
class ResNet56(SmallResNet):
    """Three stages of nine blocks (855,770 parameters, 125.7 M multiply-accumulates); see `SmallResNet`."""

    blocks = 9

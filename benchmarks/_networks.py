"""Networks for CIFAR-10 that benchmarks prune: VGG-16 with batch normalisation, and ResNet-20."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

VGG16 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
"""Channels of the convolutions; 0 is a pooling."""


class VGG(nn.Module):
    """Convolutions with batch normalisation and one linear layer (Simonyan and Zisserman, for 32 x 32 pixels)."""

    def __init__(self, widths: Sequence[int] = VGG16, classes: int = 10) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width in widths:
            if width == 0:
                layers.append(nn.MaxPool2d(2))
                continue
            layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        self.features, self.head = nn.Sequential(*layers), nn.Linear(channels, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits [B, K] of pixels [B, 3, 32, 32]."""
        outputs: Tensor = self.head(self.features(inputs).mean((2, 3)))
        return outputs


class Block(nn.Module):
    """Two convolutions beside a shortcut, which is a convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
        changes = stride != 1 or inputs != outputs
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if changes else nn.Identity()

    def forward(self, inputs: Tensor) -> Tensor:
        """[B, C, H, W]."""
        hidden = torch.relu(self.norm1(self.conv1(inputs)))
        return torch.relu(self.norm2(self.conv2(hidden)) + self.shortcut(inputs))


class ResNet(nn.Module):
    """ResNet-20 for CIFAR-10 (He et al., arXiv 1512.03385, section 4.2): three stages of three blocks."""

    def __init__(self, width: int = 16, blocks: int = 3, classes: int = 10) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        layers, channels = [], width
        for stage in range(3):
            for number in range(blocks):
                outputs = width * 2**stage
                layers.append(Block(channels, outputs, 2 if stage and not number else 1))
                channels = outputs
        self.blocks, self.head = nn.Sequential(*layers), nn.Linear(channels, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits [B, K] of pixels [B, 3, 32, 32]."""
        outputs: Tensor = self.head(self.blocks(torch.relu(self.norm(self.conv(inputs)))).mean((2, 3)))
        return outputs

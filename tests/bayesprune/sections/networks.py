"""Small networks with sections."""

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """A residual perceptron of the user's own: its sums stand in the network's own forward."""

    def __init__(self, width: int = 6, depth: int = 3, hidden: int = 5, features: int = 36, classes: int = 3) -> None:
        super().__init__()
        self.stem = nn.Linear(features, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width)) for _ in range(depth)
        )
        self.head = nn.Linear(width, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.stem(inputs.flatten(1)).relu()
        for block in self.blocks:
            hidden = hidden + block(hidden)
        outputs: Tensor = self.head(hidden)
        return outputs


class Block(nn.Module):
    """As torchvision's BasicBlock: summed in place, a projection where width or stride change."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )  # fmt: skip

    def forward(self, inputs: Tensor) -> Tensor:
        identity = inputs
        branch = self.relu(self.bn1(self.conv1(inputs)))
        branch = self.bn2(self.conv2(branch))
        if self.downsample is not None:
            identity = self.downsample(inputs)
        branch += identity
        outputs: Tensor = self.relu(branch)
        return outputs


class SmallResNet(nn.Module):
    """Three blocks; the second one changes width and stride."""

    def __init__(self, width: int = 4, classes: int = 3) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.blocks = nn.Sequential(Block(width, width), Block(width, width + 2, 2), Block(width + 2, width + 2))
        self.fc = nn.Linear(width + 2, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        maps = self.blocks(self.bn(self.conv(inputs)).relu())
        outputs: Tensor = self.fc(maps.mean((2, 3)))
        return outputs


class Nested(nn.Module):
    """A residual perceptron whose middle is one section itself."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner, self.head = nn.Linear(36, 6), Inner(), nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.stem(inputs.flatten(1))
        outputs: Tensor = self.head(hidden + 0.5 * self.inner(hidden))
        return outputs


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Sequential(nn.Linear(6, 4), nn.GELU(), nn.Linear(4, 6))

    def forward(self, hidden: Tensor) -> Tensor:
        hidden = self.first(hidden).tanh()
        outputs: Tensor = hidden + self.second(hidden)
        return outputs


class Scaled(nn.Module):
    """Layer scale, LayerNorm and attention, as in transformers; the branch reads a parameter of the module's own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.head = nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 3)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.scale = nn.Parameter(torch.full((8,), 0.5))
        self.mlp = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 12), nn.GELU(), nn.Linear(12, 8))

    def forward(self, inputs: Tensor) -> Tensor:
        tokens = self.stem(inputs.flatten(1, 2))
        normed = self.norm(tokens)
        tokens = tokens + self.attention(normed, normed, normed, need_weights=False)[0]
        tokens = tokens + self.scale * self.mlp(tokens)
        outputs: Tensor = self.head(tokens.mean(1))
        return outputs


def stirred(network: nn.Module, seed: int = 0) -> nn.Module:
    """The network with statistics of batch normalisation that are not those of the start, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.weight.data, module.bias.data):
                assert tensor is not None
                tensor.copy_(torch.randn(tensor.shape, generator=generator))
            assert module.running_var is not None
            module.running_var.uniform_(0.5, 2.0, generator=generator)
    return network.eval()

"""Shapes by how layers are wired: sums, concatenations, splits, several inputs and outputs, layers called twice."""

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from benchmarks._zoo.shape import shape


def conv(reads: int, writes: int, size: int = 3, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution that keeps the size of maps at stride 1."""
    return nn.Conv2d(reads, writes, size, stride, size // 2, groups=groups)


class Head(nn.Sequential):
    """Average over places and a linear layer to three outputs, whose channels stay."""

    def __init__(self, reads: int) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(reads, 3))


@shape(8 + 6 + 5, (3, 8, 8))
class Chain(nn.Module):
    """Two convolutions, flatten, two linear layers: 8 + 6 filters and 5 units."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv(3, 8), conv(8, 6)
        self.fc1, self.fc2 = nn.Linear(6 * 16, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        x = max_pool2d(self.conv2(self.conv1(x).relu()).relu(), 2)
        return torch.as_tensor(self.fc2(self.fc1(x.flatten(1)).relu()))


@shape(8 + 6 + 8, (3, 8, 8))
class Residual(nn.Module):
    """A stream of 8 from the stem and one block, the block's inner 6, and 8 behind a widening shortcut of 8."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = conv(3, 8), nn.BatchNorm2d(8)
        self.conv1, self.norm1 = conv(8, 6), nn.BatchNorm2d(6)
        self.conv2, self.norm2 = conv(6, 8), nn.BatchNorm2d(8)
        self.wide, self.short, self.head = conv(8, 8, 3, 2), conv(8, 8, 1, 2), Head(8)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        x = self.norm(self.stem(x)).relu()
        x = (x + self.norm2(self.conv2(self.norm1(self.conv1(x)).relu()))).relu()
        return torch.as_tensor(self.head((self.wide(x) + self.short(x)).relu()))


@shape(4 + 6 + 5, (3, 8, 8))
class Concatenation(nn.Module):
    """Branches of 4 and 6, concatenated in two orders and read by a convolution of 5."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = conv(3, 4), conv(3, 6, 1)
        self.after, self.head = conv(20, 5), Head(5)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        left, right = self.left(x).relu(), self.right(x)
        both = torch.cat([left, right, right, left], 1)
        return torch.as_tensor(self.head(self.after(both).relu()))


@shape(8 + 5, (3, 8, 8))
class Chunk(nn.Module):
    """8 channels in two chunks, each read by itself: 8; the readers' outputs are summed: 5."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.left, self.right, self.head = conv(3, 8), conv(4, 5), conv(4, 5, 1), Head(5)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        left, right = self.stem(x).relu().chunk(2, 1)
        return torch.as_tensor(self.head((self.left(left) + self.right(right)).relu()))


@shape(9 + 3 + 4, (3, 8, 8))
class Split(nn.Module):
    """9 channels split 2, 3 and 4; two parts go on through convolutions of 3 and 4, and all are concatenated."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.mid, self.right, self.head = conv(3, 9), conv(3, 3), conv(4, 4), Head(9)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        left, mid, right = torch.split(self.stem(x).relu(), [2, 3, 4], 1)
        return torch.as_tensor(self.head(torch.cat([left, self.mid(mid), self.right(right)], 1)))


@shape(4 + 5, (3, 8, 8))
class ChunkedSum(nn.Module):
    """Two chunks of 4 are added, so that their channels go in pairs: 4; then 5."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.after, self.head = conv(3, 8), conv(4, 5), Head(5)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        left, right = self.stem(x).chunk(2, dim=1)
        return torch.as_tensor(self.head(self.after(left.relu() + right).relu()))


@shape(6 + 4, (3, 8, 8), (2, 4))
class TwoInputs(nn.Module):
    """Maps through 6 filters and a table through 4 units, averaged and concatenated."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc, self.head = conv(3, 6), nn.Linear(8, 4), nn.Linear(10, 3)

    def forward(self, maps: Tensor, table: Tensor) -> Tensor:
        """[B, 3]."""
        both = torch.cat([self.conv(maps).relu().mean((2, 3)), self.fc(table.flatten(1)).relu()], 1)
        return torch.as_tensor(self.head(both))


@shape(7 + 4, (3, 8, 8))
class ManyOutputs(nn.Module):
    """A trunk of 7, a branch of 4; three outputs as a dict of a tensor, a tuple and a list."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.branch, self.a, self.b = conv(3, 7), conv(7, 4), Head(7), Head(4)

    def forward(self, x: Tensor) -> dict[str, object]:
        """Outputs by name."""
        x = self.trunk(x).relu()
        small = self.branch(x).relu()
        return {"a": self.a(x), "both": (self.b(small), [self.a(x).softmax(1)])}


@shape(6 + 5, (3, 8, 8))
class TrainingHead(nn.Module):
    """6 + 5 filters; in training an auxiliary head reads the first 6 and is another output."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.head, self.aux = conv(3, 6), conv(6, 5), Head(5), Head(6)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """[B, 3], and the same again in training."""
        first = self.conv1(x).relu()
        said: Tensor = self.head(self.conv2(first).relu())
        return (said, self.aux(first)) if self.training else said


@shape(6 + 4, (3, 8, 8), (3, 8, 8))
class Siamese(nn.Module):
    """One trunk of 6 + 4 called for two inputs, whose features are subtracted."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.head = nn.Sequential(conv(3, 6), nn.ReLU(), conv(6, 4), nn.ReLU()), Head(4)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """[B, 3]."""
        return torch.as_tensor(self.head((self.trunk(one) - self.trunk(other)).abs()))


@shape(6, (3, 8, 8))
class CalledTwice(nn.Module):
    """One convolution of 6 called twice in a row, which ties its inputs to its outputs and the stem's."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.shared, self.head = conv(3, 6), conv(6, 6), Head(6)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        x = self.stem(x)
        for _ in range(2):
            x = self.shared(x).relu()
        return torch.as_tensor(self.head(x))


@shape(6 + 6, (4, 6))
class HyperConnections(nn.Module):
    """Two copies of a stream of 6, mixed by learnt numbers around a layer of 6 (arXiv 2409.19606)."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.inner, self.outer = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.mix, self.give = nn.Parameter(torch.rand(2, 2)), nn.Parameter(torch.rand(2))
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        streams = torch.stack([self.embed(x)] * 2, dim=1)
        read = (streams * self.give[:, None, None]).sum(1)
        said = self.outer(self.inner(read).relu())
        streams = torch.einsum("bsef,st->btef", streams, self.mix) + said.unsqueeze(1)
        return torch.as_tensor(self.head(streams.sum(1).mean(1)))


@shape(6 + 5 + 4, (3, 8, 8))
class NestedContainers(nn.Module):
    """Layers in lists and dicts, called by name and number: 6 + 5 + 4."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = nn.ModuleList([nn.ModuleDict({"conv": conv(3, 6), "norm": nn.BatchNorm2d(6)}), conv(6, 5)])
        self.last = nn.Sequential(nn.Sequential(conv(5, 4), nn.Hardswish()), nn.Dropout(0.5), Head(4))

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        first = self.steps[0]
        assert isinstance(first, nn.ModuleDict)
        return torch.as_tensor(self.last(self.steps[1](first["norm"](first["conv"](x)).relu())))

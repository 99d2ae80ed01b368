"""Blocks of convolutional networks: as U-Nets, DenseNets, Inception, ConvNeXt and the like have them."""

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, interpolate, max_pool2d, relu, silu

from benchmarks._zoo.shape import shape
from benchmarks._zoo.wiring import Head, conv


@shape(4 + 6 + 5 + 4, (3, 8, 8))
class UNet(nn.Module):
    """Down by 4 and 6, up by 5 beside the 4 that were kept, 4 behind them, and an output of 2."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.down, self.up = conv(3, 4), conv(4, 6), nn.ConvTranspose2d(6, 5, 2, 2)
        self.merge, self.out = conv(9, 4), conv(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 2, H, W]."""
        first = self.enter(x).relu()
        low = self.down(max_pool2d(first, 2)).relu()
        return torch.as_tensor(self.out(self.merge(torch.cat([self.up(low), first], 1)).relu()))


@shape(4 + 3 + 3 + 3, (3, 8, 8))
class Dense(nn.Module):
    """Three layers of 3, each of which reads all before it: 4 of the stem and 3 of each."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 4)
        self.norms = nn.ModuleList(nn.BatchNorm2d(4 + 3 * n) for n in range(4))
        self.convs = nn.ModuleList(conv(4 + 3 * n, 3) for n in range(3))
        self.head = Head(13)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        x = self.stem(x)
        for norm, layer in zip(self.norms, self.convs, strict=False):
            x = torch.cat([x, layer(norm(x).relu())], 1)
        return torch.as_tensor(self.head(self.norms[3](x).relu()))


@shape(6 + 3, (3, 8, 8))
class SqueezeExcitation(nn.Module):
    """6 maps times what a bottleneck of 3 says of them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.squeeze, self.excite, self.head = conv(3, 6), conv(6, 3, 1), conv(3, 6, 1), Head(6)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        x = self.stem(x).relu()
        scale = self.excite(self.squeeze(x.mean((2, 3), keepdim=True)).relu()).sigmoid()
        return torch.as_tensor(self.head(x * scale))


@shape(8 + 4 + 4, (3, 8, 8))
class ShuffleUnit(nn.Module):
    """Two halves of 8 channels, one passed on and one through inner layers of 4, then shuffled and read.

    The stem's 8, the inner 4 around the depthwise layer, and the last layer's 4.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.enter, self.depth, self.leave = conv(3, 8), conv(4, 4, 1), conv(4, 4, groups=4), conv(4, 4, 1)
        self.head = Head(8)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        left, right = self.stem(x).relu().chunk(2, 1)
        right = self.leave(self.depth(self.enter(right).relu())).relu()
        both = torch.cat([left, right], 1)
        batch, _, height, width = both.shape
        mixed = both.view(batch, 2, 4, height, width).transpose(1, 2).reshape(batch, 8, height, width)
        return torch.as_tensor(self.head(mixed))


@shape(4 + 8, (3, 8, 8))
class InvertedResidual(nn.Module):
    """A stream of 4, widened to 8, through a depthwise layer, and back."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.widen, self.depth, self.narrow = conv(3, 4), conv(4, 8, 1), conv(8, 8, groups=8), conv(8, 4, 1)
        self.norm1, self.norm2, self.norm3 = nn.BatchNorm2d(8), nn.BatchNorm2d(8), nn.BatchNorm2d(4)
        self.act, self.head = nn.ReLU6(inplace=True), Head(4)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        x = self.stem(x)
        inner = self.act(self.norm2(self.depth(self.act(self.norm1(self.widen(x))))))
        return torch.as_tensor(self.head(x + self.norm3(self.narrow(inner))))


@shape(6 + 12, (3, 8, 8))
class ConvNeXtBlock(nn.Module):
    """A stream of 6 through a depthwise layer, LayerNorm over channels, 12 units, and a learnt layer scale."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.depth, self.norm = conv(3, 6), conv(6, 6, 5, groups=6), nn.LayerNorm(6)
        self.wide, self.narrow, self.scale = nn.Linear(6, 12), nn.Linear(12, 6), nn.Parameter(torch.rand(6))
        self.head = Head(6)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        x = self.stem(x)
        inner = self.norm(self.depth(x).permute(0, 2, 3, 1))
        inner = self.scale * self.narrow(gelu(self.wide(inner)))
        return torch.as_tensor(self.head(x + inner.permute(0, 3, 1, 2)))


@shape(4 + 5, (3, 8, 8))
class Ghost(nn.Module):
    """4 filters, 4 more maps from a depthwise layer over them, concatenated; their gates may be tied; then 5."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.cheap, self.after, self.head = conv(3, 4), conv(4, 4, groups=4), conv(8, 5), Head(5)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        first = self.first(x).relu()
        mixed = torch.cat([first, self.cheap(first)], 1)
        return torch.as_tensor(self.head(self.after(mixed).relu()))


@shape(3 + 4 + 3 + 2, (3, 8, 8))
class Inception(nn.Module):
    """Branches of 3 through 4, of 3 and, behind a pooling, of 2, concatenated."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three, self.four = conv(3, 3, 1), conv(3, 4, 1), conv(4, 3), conv(3, 2, 1)
        self.pool, self.head = nn.MaxPool2d(3, 1, 1), Head(8)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        parts = [self.one(x), self.three(self.two(x).relu()), self.four(self.pool(x))]
        return torch.as_tensor(self.head(torch.cat(parts, dim=1).relu()))


@shape(8 + 4 + 5, (3, 8, 8))
class CrossStage(nn.Module):
    """A C2f block: 8 channels chunked, one half through a bottleneck of 4 whose output is added to it; then 5."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner, self.outer = conv(3, 8), conv(4, 4), conv(4, 4)
        self.after, self.head = conv(12, 5, 1), Head(5)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        parts = list(silu(self.stem(x)).chunk(2, 1))
        parts.append(parts[-1] + self.outer(silu(self.inner(parts[-1]))))
        return torch.as_tensor(self.head(self.after(torch.cat(parts, 1)).relu()))


@shape(6 + 4 + 4 + 4, (3, 16, 16))
class Pyramid(nn.Module):
    """A trunk of 6 and 4, a lateral layer of 4 at each size, the small one brought up and added: 6, 4, 4; then 4."""

    def __init__(self) -> None:
        super().__init__()
        self.large, self.small = conv(3, 6, 3, 2), conv(6, 4, 3, 2)
        self.from_large, self.from_small, self.out, self.last = conv(6, 4, 1), conv(4, 4, 1), conv(4, 4), conv(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 2, H, W]."""
        large = self.large(x).relu()
        small = self.small(large).relu()
        up = interpolate(self.from_small(small), size=large.shape[-2:], mode="nearest")
        return torch.as_tensor(self.last(relu(self.out(self.from_large(large) + up))))


@shape(6 + 4 + 4 + 4 + 5, (3, 8, 8))
class AtrousPooling(nn.Module):
    """An ASPP module: branches of 4 at two dilations, and of 4 from the average, upsampled; then 5, output 2."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 6)
        self.near, self.far = nn.Conv2d(6, 4, 3, padding=1), nn.Conv2d(6, 4, 3, padding=2, dilation=2)
        self.whole, self.project, self.out = conv(6, 4, 1), conv(12, 5, 1), conv(5, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 2, H, W]."""
        x = self.stem(x).relu()
        mean = interpolate(self.whole(x.mean((2, 3), keepdim=True)), x.shape[-2:], mode="bilinear", align_corners=False)
        return torch.as_tensor(self.out(self.project(torch.cat([self.near(x), self.far(x), mean], 1)).relu()))


@shape(4 + 6, (3, 8, 8))
class SpatialAttention(nn.Module):
    """6 maps times one map of their mean and largest over channels, through a convolution; then 4 and 6.

    Mean and maximum over channels count on how many there are, so that at least the 4 and 6 behind can go.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.look = conv(3, 6), conv(2, 1)
        self.after, self.last, self.head = conv(6, 4), conv(4, 6), Head(6)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        x = self.stem(x).relu()
        seen = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return torch.as_tensor(self.head(self.last(self.after(x * self.look(seen).sigmoid()).relu()).relu()))

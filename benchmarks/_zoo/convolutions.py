"""Shapes by kind of convolution, of normalisation and of what acts on maps."""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, pixel_unshuffle

from benchmarks._zoo.shape import shape
from benchmarks._zoo.wiring import Head, conv


@shape(6 + 8, (3, 8, 8))
class Depthwise(nn.Module):
    """A depthwise convolution goes with the 6 that it gets; then 8."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.depthwise, self.point = conv(3, 6), conv(6, 6, groups=6), conv(6, 8, 1)
        self.head = Head(8)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        return torch.as_tensor(self.head(self.point(self.depthwise(self.stem(x).relu()).relu()).relu()))


@shape(4 + 5, (3, 8, 8))
class DepthMultiplier(nn.Module):
    """Each of 4 channels makes two in a grouped convolution of 8: at least 4 pairs; then 5."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.grouped, self.after, self.head = conv(3, 4), conv(4, 8, groups=4), conv(8, 5), Head(5)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        return torch.as_tensor(self.head(self.after(self.grouped(self.stem(x).relu()).relu()).relu()))


@shape(2 + 5, (3, 8, 8))
class Grouped(nn.Module):
    """Two groups of 4 in and 4 out: at least what is at the same place in every group, or 2 whole groups; then 5."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.grouped, self.after, self.head = conv(3, 8), conv(8, 8, groups=2), conv(8, 5), Head(5)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        return torch.as_tensor(self.head(self.after(self.grouped(self.stem(x).relu()).relu()).relu()))


@shape(8 + 4, (3, 8, 8))
class GroupedBlock(nn.Module):
    """A ResNeXt block: a stream of 8, and an inner grouped convolution of at least 4 whole groups."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv1, self.conv2, self.conv3 = conv(3, 8), conv(8, 8, 1), conv(8, 8, groups=4), conv(8, 8, 1)
        self.norm1, self.norm2, self.norm3 = (nn.BatchNorm2d(8) for _ in range(3))
        self.head = Head(8)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        x = self.stem(x)
        inner = self.norm2(self.conv2(self.norm1(self.conv1(x)).relu())).relu()
        return torch.as_tensor(self.head((x + self.norm3(self.conv3(inner))).relu()))


@shape(6 + 5, (3, 8, 8))
class TransposedConvolution(nn.Module):
    """Down by 6 filters, up by 5 of a transposed convolution, and an output of 2."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up, self.out = conv(3, 6, 3, 2), nn.ConvTranspose2d(6, 5, 2, 2), conv(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 2, H, W]."""
        return torch.as_tensor(self.out(self.up(self.down(x).relu()).relu()))


@shape(6 + 5, (3, 8, 8))
class TransposedDepthwise(nn.Module):
    """A depthwise transposed convolution goes with the 6 that it gets; then 5."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = conv(3, 6, 3, 2), nn.ConvTranspose2d(6, 6, 2, 2, groups=6)
        self.after, self.head = conv(6, 5), Head(5)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        return torch.as_tensor(self.head(self.after(self.up(self.down(x).relu())).relu()))


@shape(4 + 5, (2, 5, 6, 6))
class Volumes(nn.Module):
    """Three-dimensional convolutions of 4 and 5."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm = nn.Conv3d(2, 4, 3, padding=1), nn.BatchNorm3d(4)
        self.conv2, self.head = nn.Conv3d(4, 5, 3, (1, 2, 2)), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        x = self.conv2(self.norm(self.conv1(x)).relu()).relu()
        return torch.as_tensor(self.head(nn.functional.adaptive_avg_pool3d(x, 1).flatten(1)))


@shape(6 + 5 + 4, (2, 20))
class SeriesSlices(nn.Module):
    """Three convolutions over time whose overhang is cut off by slices: 6 + 5 + 4."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv1d(2, 6, 3, padding=2), nn.Conv1d(6, 5, 3, padding=4, dilation=2)
        self.conv3, self.head = nn.Conv1d(5, 4, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        x = self.conv1(x)[:, :, :-2].relu()
        x = self.conv2(x)[:, :, :-4].relu()
        return torch.as_tensor(self.head(self.conv3(x)[..., -1]))


@shape(6 + 6, (2, 20))
class CausalResidual(nn.Module):
    """A causal convolution over time with a slice inside a residual block: a stream of 6, and 6 inside."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner = nn.Conv1d(2, 6, 1), nn.Conv1d(6, 6, 3, padding=2)
        self.outer, self.head = nn.Conv1d(6, 6, 1), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        x = self.stem(x)
        inner = self.inner(x)[..., : x.shape[-1]].relu()
        return torch.as_tensor(self.head((x + self.outer(inner))[:, :, -1]))


@shape(4 + 5, (3, 8, 8))
class PixelShuffle(nn.Module):
    """16 channels become 4 maps of twice the size: 4 fours; then 5."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.shuffle, self.after, self.head = conv(3, 16), nn.PixelShuffle(2), conv(4, 5), Head(5)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        return torch.as_tensor(self.head(self.after(self.shuffle(self.stem(x)).relu()).relu()))


@shape(4 + 5, (3, 8, 8))
class PixelUnshuffle(nn.Module):
    """4 maps become 16 of half the size; then 5."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.after, self.head = conv(3, 4), conv(16, 5), Head(5)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        return torch.as_tensor(self.head(self.after(pixel_unshuffle(self.stem(x).relu(), 2)).relu()))


@shape(4 + 5, (3, 8, 8))
class GroupNormalised(nn.Module):
    """8 channels in 4 groups of a GroupNorm: whole groups, 4; then 5."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.after, self.head = conv(3, 8), nn.GroupNorm(4, 8), conv(8, 5), Head(5)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        return torch.as_tensor(self.head(self.after(self.norm(self.stem(x)).relu()).relu()))


@shape(6 + 5, (3, 8, 8))
class OneGroupNormalised(nn.Module):
    """A GroupNorm of one group is a LayerNorm over channels and places: 6 by masked statistics; then 5."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.after, self.head = conv(3, 6), nn.GroupNorm(1, 6), conv(6, 5), Head(5)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        return torch.as_tensor(self.head(self.after(self.norm(self.stem(x)).relu()).relu()))


@shape(6 + 5, (3, 8, 8))
class InstanceNormalised(nn.Module):
    """An instance normalisation looks at each channel by itself: 6 + 5."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = conv(3, 6), nn.InstanceNorm2d(6, affine=True)
        self.after, self.head = conv(6, 5), Head(5)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        return torch.as_tensor(self.head(self.after(self.norm(self.stem(x)).relu()).relu()))


@shape(6 + 5, (3, 8, 8))
class FrozenNorm(nn.Module):
    """A batch normalisation of buffers alone, as detection networks freeze it: 6 + 5."""

    weight: Tensor
    bias: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.after, self.head = conv(3, 6), conv(6, 5), Head(5)
        self.register_buffer("weight", torch.rand(6) + 0.5)
        self.register_buffer("bias", torch.randn(6))

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        x = self.stem(x) * self.weight.reshape(1, -1, 1, 1) + self.bias.reshape(1, -1, 1, 1)
        return torch.as_tensor(self.head(self.after(x.relu()).relu()))


@shape(5 + 4, (3, 8, 8))
class SpatialSlices(nn.Module):
    """A focus layer: four slices of the image by places, concatenated, for 5 filters; padding, narrow; then 4."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.head = conv(12, 5), nn.Conv2d(5, 4, 3), Head(4)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        parts = [x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]]
        x = pad(self.conv1(torch.cat(parts, 1)).relu(), (1, 1, 1, 1), mode="reflect").narrow(2, 0, 5)
        return torch.as_tensor(self.head(self.conv2(x).relu()))


@shape(6 + 4, (3, 8, 8))
class Maxout(nn.Module):
    """The larger of two branches of 6, and the smaller of it and a constant; then 4."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.after, self.head = conv(3, 6), conv(3, 6), conv(6, 4), Head(4)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        x = torch.maximum(self.left(x), self.right(x)).clamp(max=3.0)
        return torch.as_tensor(self.head(self.after(x).relu()))


@shape(5, (3, 8, 8))
class ChannelPadded(nn.Module):
    """A stream of 4 filled up with 2 channels of zeros (a parameter-free shortcut) beside 6: at least the inner 5.

    The 6 of the wide layers can go as well; of these the first 4 are tied to the stem's.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv1, self.conv2, self.head = conv(3, 4), conv(4, 5, 3, 2), conv(5, 6), Head(6)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        x = self.stem(x).relu()
        short = pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 1, 1))
        return torch.as_tensor(self.head((short + self.conv2(self.conv1(x).relu())).relu()))

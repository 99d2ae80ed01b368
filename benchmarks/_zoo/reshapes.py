"""Shapes by what stands between layers: reshapes, repeats, slices, products with plain parameters, shared weights."""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear

from benchmarks._zoo.shape import shape
from benchmarks._zoo.wiring import Head, conv


@shape(6 + 5, (3, 8, 8))
class Unflatten(nn.Module):
    """A linear layer whose 6 x 4 units become 6 maps of 2 x 2, a unit each or 6 by the map; then 5."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.conv, self.head = nn.Linear(3 * 64, 24), conv(6, 5), Head(5)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        maps = self.fc(x.flatten(1)).relu().view(-1, 6, 2, 2)
        return torch.as_tensor(self.head(self.conv(maps).relu()))


@shape(6 + 4, (3, 8, 8))
class SqueezeSelect(nn.Module):
    """6 filters over one row of places, squeezed, one column selected; then 4 units."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, (8, 3), padding=(0, 1))
        self.fc1, self.fc2 = nn.Linear(12, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        series = self.conv(x).squeeze(2).relu()
        both = torch.cat([series.select(2, 0), series[:, :, -1]], 1)
        return torch.as_tensor(self.fc2(self.fc1(both).relu()))


@shape(6 + 5, (3, 8, 8))
class UnsqueezeExpand(nn.Module):
    """6 features of a linear layer are unsqueezed and expanded over places, and scale 6 maps; then 5."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc, self.after, self.head = conv(3, 6), nn.Linear(3, 6), conv(6, 5), Head(5)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        maps = self.conv(x).relu()
        scale = self.fc(x.mean((2, 3))).sigmoid().unsqueeze(-1).unsqueeze(-1).expand_as(maps)
        return torch.as_tensor(self.head(self.after(maps * scale).relu()))


@shape(4 + 6, (3, 8, 8))
class RepeatInterleave(nn.Module):
    """4 channels, each repeated three times for 12 inputs of a convolution of 6."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.after, self.head = conv(3, 4), conv(12, 6), Head(6)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        return torch.as_tensor(self.head(self.after(self.stem(x).relu().repeat_interleave(3, 1)).relu()))


@shape(4 + 6, (3, 8, 8))
class RepeatTile(nn.Module):
    """4 channels, all of them repeated twice for 8 inputs of a convolution of 6."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.after, self.head = conv(3, 4), conv(8, 6), Head(6)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        return torch.as_tensor(self.head(self.after(self.stem(x).relu().repeat(1, 2, 1, 1)).relu()))


@shape(6 + 5, (4, 6))
class Einsum(nn.Module):
    """6 units of tokens [B, T, F], a plain sum over tokens with weights of a second layer of 1; then 5."""

    def __init__(self) -> None:
        super().__init__()
        self.value, self.score = nn.Linear(6, 6), nn.Linear(6, 1)
        self.fc1, self.fc2 = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        share = self.score(x).squeeze(-1).softmax(1)
        return torch.as_tensor(self.fc2(self.fc1(torch.einsum("btf,bt->bf", self.value(x), share)).relu()))


@shape(6, (3, 8, 8))
class FunctionalWeights(nn.Module):
    """A convolution whose weight is a plain parameter, between two layers: the stem's 6 can go, at least."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = conv(3, 6), Head(5)
        self.weight = nn.Parameter(torch.randn(5, 6, 3, 3) * 0.2)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        return torch.as_tensor(self.head(conv2d(self.stem(x).relu(), self.weight, padding=1).relu()))


@shape(5, (6,))
class TiedWeights(nn.Module):
    """An autoencoder 6-5-6 whose decoder is the encoder's weight transposed: 5 units, tied."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.bias = nn.Linear(6, 5), nn.Parameter(torch.randn(6))

    def forward(self, x: Tensor) -> Tensor:
        """[B, 6]."""
        return linear(self.encoder(x).relu(), self.encoder.weight.t(), self.bias)


@shape(6 + 5, (8,))
class TiedLayers(nn.Module):
    """Two linear layers 6-5 that share one weight: the 6 that both read and the 5 that both write, each tied."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.other = nn.Linear(8, 6), nn.Linear(6, 5), nn.Linear(6, 5)
        self.other.weight = self.one.weight
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        x = self.stem(x).relu()
        return torch.as_tensor(self.head(self.one(x).relu() + self.other(-x).sigmoid()))


@shape(6 + 4, (3, 8, 8))
class LearntScale(nn.Module):
    """6 maps scaled and shifted by parameters of the network itself; then 4."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.after, self.head = conv(3, 6), conv(6, 4), Head(4)
        self.scale, self.shift = nn.Parameter(torch.rand(6, 1, 1)), nn.Parameter(torch.randn(1, 6, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        return torch.as_tensor(self.head(self.after((self.stem(x) * self.scale + self.shift).relu()).relu()))


@shape(8, (3, 8, 8))
class PermutedChannels(nn.Module):
    """8 channels moved to the last axis for a linear layer of 8 whose output is added: one stream of 8."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.mix, self.head = conv(3, 8), nn.Linear(8, 8), Head(8)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        x = self.stem(x)
        mixed = self.mix(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return torch.as_tensor(self.head(x + mixed.relu()))


@shape(6 + 6 + 5, (3, 8, 8))
class Stacked(nn.Module):
    """Two branches of 6 stacked along a new axis and flattened, so that each keeps its own channels; then 5."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.fc, self.head = conv(3, 6), conv(3, 6), nn.Linear(12, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        both = torch.stack([self.left(x).relu().mean((2, 3)), self.right(x).relu().mean((2, 3))], dim=1)
        return torch.as_tensor(self.head(self.fc(both.flatten(1)).relu()))


@shape(6 + 4, (3, 8, 8))
class ChannelSlice(nn.Module):
    """The last 4 of 6 channels go on, 4 more filters; the first 2 are an output."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.after, self.head, self.other = conv(3, 6), conv(4, 4), Head(4), Head(2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Twice [B, 3]."""
        x = self.stem(x).relu()
        return self.head(self.after(x[:, 2:]).relu()), self.other(x[:, :2])

"""Shapes with attention: heads as modules, fused, by hand, over channels, in windows, and whole blocks around them."""

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, normalize, scaled_dot_product_attention

from benchmarks._zoo.shape import shape
from benchmarks._zoo.wiring import conv


class FeedForward(nn.Module):
    """Hidden units between two linear layers."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """[..., width]."""
        return torch.as_tensor(self.down(gelu(self.up(x))))


@shape(8 + 2, (5, 6))
class AttentionModule(nn.Module):
    """nn.MultiheadAttention of 2 heads in a residual stream of 8: the stream, and whole heads."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.attention = nn.Linear(6, 8), nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        x = self.embed(x)
        said, _ = self.attention(x, x, x, need_weights=False)
        return torch.as_tensor(self.head((x + said).mean(1)))


@shape(8 + 2, (5, 6))
class FusedAttention(nn.Module):
    """One linear layer makes queries, keys and values of 2 heads; a stream of 8, and whole heads."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.qkv, self.project, self.head = nn.Linear(6, 8), nn.Linear(8, 24), nn.Linear(8, 8), Mean(8)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        x = self.embed(x)
        batch, length, _ = x.shape
        query, key, value = self.qkv(x).reshape(batch, length, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        weights = (query @ key.transpose(-2, -1) * 0.5).softmax(-1)
        said = (weights @ value).transpose(1, 2).reshape(batch, length, 8)
        return torch.as_tensor(self.head(x + self.project(said)))


class Mean(nn.Module):
    """Mean over tokens and a linear layer to three outputs."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3] of [B, T, width]."""
        return torch.as_tensor(self.out(x.mean(1)))


@shape(8 + 2, (5, 6))
class SeparateAttention(nn.Module):
    """Queries, keys and values by layers of their own, torch's attention; a stream of 8, and whole heads."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Linear(6, 8), Mean(8)
        self.query, self.key, self.value, self.project = (nn.Linear(8, 8) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        x = self.embed(x)
        query, key, value = (
            layer(x).view(x.shape[0], x.shape[1], 2, 4).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        said = scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        return torch.as_tensor(self.head(x + self.project(said)))


@shape(8 + 12, (5, 8))
class OneHead(nn.Module):
    """Attention with one head by hand: 8 of values, which go as they are, and 12 of queries and keys together."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(8, 12), nn.Linear(8, 12)
        self.value, self.project, self.head = nn.Linear(8, 8), nn.Linear(8, 8), Mean(8)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        weights = (torch.bmm(self.query(x), self.key(x).transpose(1, 2)) / 3).softmax(-1)
        return torch.as_tensor(self.head(x + self.project(torch.bmm(weights, self.value(x)))))


@shape(8 + 6, (5, 8), (7, 8))
class CrossAttention(nn.Module):
    """Tokens look at those of another input; 8 between layers of the queries' side, 6 units on the other's."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(8, 8), nn.Linear(8, 6)
        self.attention = nn.MultiheadAttention(8, 2, kdim=6, vdim=6, batch_first=True)
        self.head = Mean(8)

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        """[B, 3]."""
        x, other = self.left(x).relu(), self.right(other).relu()
        return torch.as_tensor(self.head(x + self.attention(x, other, other)[0]))


@shape(8 + 16 + 2, (5, 6))
class PreNormBlock(nn.Module):
    """A transformer block by hand: a stream of 8 through LayerNorms, 2 heads, 16 hidden units."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(6, 8)
        self.norm1, self.norm2, self.last = (nn.LayerNorm(8) for _ in range(3))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.feed, self.head = FeedForward(8, 16), Mean(8)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        x = self.embed(x)
        normal = self.norm1(x)
        x = x + self.attention(normal, normal, normal, need_weights=False)[0]
        return torch.as_tensor(self.head(self.last(x + self.feed(self.norm2(x)))))


@shape(16, (5, 8))
class EncoderLayer(nn.Module):
    """torch's encoder layer on inputs of 8, which are an input's: its 16 hidden units."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)
        self.head = Mean(8)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        return torch.as_tensor(self.head(self.layer(x)))


@shape(8 + 12 + 2, (3, 8, 8))
class VisionTransformer(nn.Module):
    """Patches by a convolution, a class token, learnt positions, one block: a stream of 8, 12 units, 2 heads."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.token = nn.Conv2d(3, 8, 4, 4), nn.Parameter(torch.randn(1, 1, 8))
        self.place = nn.Parameter(torch.randn(1, 5, 8))
        self.norm1, self.norm2, self.last = (nn.LayerNorm(8) for _ in range(3))
        self.attention, self.feed = nn.MultiheadAttention(8, 2, batch_first=True), FeedForward(8, 12)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1) + self.place
        normal = self.norm1(x)
        x = x + self.attention(normal, normal, normal)[0]
        x = x + self.feed(self.norm2(x))
        return torch.as_tensor(self.head(self.last(x)[:, 0]))


@shape(8 + 12, (8, 8, 6))
class ShiftedWindows(nn.Module):
    """Maps [B, H, W, C] rolled, cut into windows, attention in each, and put together: a stream of 8, 12 units.

    The 2 heads of the fused layer may go as well.
    """

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm1, self.norm2 = nn.Linear(6, 8), nn.LayerNorm(8), nn.LayerNorm(8)
        self.qkv, self.project, self.feed, self.out = nn.Linear(8, 24), nn.Linear(8, 8), FeedForward(8, 12), Mean(8)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        x = self.embed(x)
        batch, height, width, channels = x.shape
        rolled = torch.roll(self.norm1(x), shifts=(-2, -2), dims=(1, 2))
        windows = rolled.view(batch, height // 4, 4, width // 4, 4, channels).permute(0, 1, 3, 2, 4, 5)
        windows = windows.reshape(-1, 16, channels)
        query, key, value = self.qkv(windows).reshape(-1, 16, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        said = scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        said = self.project(said).view(batch, height // 4, width // 4, 4, 4, channels).permute(0, 1, 3, 2, 4, 5)
        x = x + torch.roll(said.reshape(batch, height, width, channels), shifts=(2, 2), dims=(1, 2))
        return torch.as_tensor(self.out((x + self.feed(self.norm2(x))).flatten(1, 2)))


@shape(8, (3, 8, 8))
class ChannelAttention(nn.Module):
    """Restormer's attention: channels attend to channels, after depthwise layers; a stream of 8.

    Queries, keys and values of 2 heads may go as whole heads.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.qkv, self.depth = conv(3, 8), conv(8, 24, 1), conv(24, 24, groups=24)
        self.project, self.out, self.heat = conv(8, 8, 1), conv(8, 3), nn.Parameter(torch.rand(2, 1, 1) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, H, W]."""
        x = self.stem(x)
        batch, _, height, width = x.shape
        query, key, value = (
            part.reshape(batch, 2, 4, height * width) for part in self.depth(self.qkv(x)).chunk(3, dim=1)
        )
        weights = (normalize(query, dim=-1) @ normalize(key, dim=-1).transpose(-2, -1) * self.heat).softmax(-1)
        return torch.as_tensor(self.out(x + self.project((weights @ value).reshape(batch, 8, height, width))))


@shape(8 + 12, (5, 6))
class PostNormBlock(nn.Module):
    """Sums are normalised afterwards, and the attention has one head by hand: a stream of 8, 12 units."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.value, self.norm1, self.norm2 = nn.Linear(6, 8), nn.Linear(8, 8), nn.LayerNorm(8), RMSNorm(8)
        self.score, self.feed, self.head = nn.Linear(8, 5), FeedForward(8, 12), Mean(8)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        x = self.embed(x)
        x = self.norm1(x + self.score(x).softmax(-1) @ self.value(x))
        return torch.as_tensor(self.head(self.norm2(x + self.feed(x))))


class RMSNorm(nn.Module):
    """Root mean square over the last axis, by hand."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(width) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """[..., width]."""
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * self.weight

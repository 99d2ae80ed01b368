"""Transformers and cells as people write them out: widths kept in attributes, norms of their own, sums at indices."""

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention, silu, softplus

from benchmarks._zoo.attention import Mean
from benchmarks._zoo.shape import shape


@shape(8 + 12 + 2, (3, 8, 8))
class CountedPatches(nn.Module):
    """Patches reshaped by an attribute that holds the stream's width of 8; 12 units, 2 heads."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden_dim = 8
        self.patch, self.token = nn.Conv2d(3, 8, 4, 4), nn.Parameter(torch.randn(1, 1, 8))
        self.block = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, norm_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        x = self.patch(x).reshape(len(x), self.hidden_dim, 4).permute(0, 2, 1)
        x = self.block(torch.cat([self.token.expand(len(x), -1, -1), x], 1))
        return torch.as_tensor(self.head(x[:, 0]))


@shape(8 + 20 + 2, (6,), tokens=13)
class WrittenOutTransformer(nn.Module):
    """A stream of 8 whose own width cuts queries, keys and values apart; 2 heads, 20 units, learnt positions."""

    def __init__(self) -> None:
        super().__init__()
        self.heads, self.width = 2, 8
        self.tokens, self.places = nn.Embedding(13, 8), nn.Embedding(10, 8)
        self.norm1, self.norm2, self.last = (nn.LayerNorm(8) for _ in range(3))
        self.inner, self.back = nn.Linear(8, 24), nn.Linear(8, 8)
        self.up, self.down, self.head = nn.Linear(8, 20), nn.Linear(20, 8), nn.Linear(8, 13, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, T, 13]."""
        batch, length = tokens.shape
        x = self.tokens(tokens) + self.places(torch.arange(length))
        width = x.shape[-1]
        parts = self.inner(self.norm1(x)).split(self.width, dim=2)
        q, k, v = (part.view(batch, length, self.heads, width // self.heads).transpose(1, 2) for part in parts)
        said = scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).contiguous()
        x = x + self.back(said.view(batch, length, width))
        x = x + self.down(gelu(self.up(self.norm2(x))))
        return torch.as_tensor(self.head(self.last(x)))


class OwnNorm(nn.Module):
    """Root mean square normalisation of one's own class, whose weight is counted from 1."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width, self.variance_epsilon, self.weight = width, 1e-6, nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """As x, whose last axis must be as wide as expected."""
        if x.shape[-1] != self.width:
            raise ValueError(f"{x.shape[-1]} features instead of {self.width}")
        normal = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.variance_epsilon)
        return normal * (1 + self.weight)


@shape(16 + 20 + 2, (6,), tokens=13)
class GroupedQueries(nn.Module):
    """4 heads of queries share 2 of keys and values, turned by place; a stream of 16, 20 gated units; tied ends."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.head = nn.Embedding(13, 16), nn.Linear(16, 13, bias=False)
        self.head.weight = self.tokens.weight
        self.norm1, self.norm2, self.last = (OwnNorm(16) for _ in range(3))
        self.query, self.back = nn.Linear(16, 16, bias=False), nn.Linear(16, 16, bias=False)
        self.key, self.value = nn.Linear(16, 8, bias=False), nn.Linear(16, 8, bias=False)
        self.gate, self.up, self.down = nn.Linear(16, 20), nn.Linear(16, 20), nn.Linear(20, 16)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, T, 13]."""
        x = self.tokens(tokens)
        y = self.norm1(x)
        q = _turned(self.query(y).unflatten(-1, (4, 4)).transpose(1, 2))
        k, v = (layer(y).unflatten(-1, (2, 4)).transpose(1, 2) for layer in (self.key, self.value))
        k, v = _turned(k).repeat_interleave(2, 1), v.repeat_interleave(2, 1)
        x = x + self.back(scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        y = self.norm2(x)
        x = x + self.down(silu(self.gate(y)) * self.up(y))
        return torch.as_tensor(self.head(self.last(x)))


def _turned(x: Tensor) -> Tensor:
    """Rotary places of features [B, H, T, D]."""
    angle = torch.arange(x.shape[2])[:, None] * torch.tensor([1.0, 0.1]).repeat(2)
    one, other = x.chunk(2, -1)
    return x * angle.cos() + torch.cat([-other, one], -1) * angle.sin()


@shape(12 + 2, (6, 8))
class RelativePlaces(nn.Module):
    """2 heads with a learnt bias for each distance, in a stream of 12."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.inner, self.back = nn.Linear(8, 12), nn.Linear(12, 36), nn.Linear(12, 12)
        self.table, self.norm, self.head = nn.Embedding(11, 2), nn.LayerNorm(12), Mean(12)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        x = self.first(x)
        q, k, v = self.inner(self.norm(x)).reshape(*x.shape[:2], 3, 2, -1).permute(2, 0, 3, 1, 4)
        place = torch.arange(x.shape[1])
        bias = self.table(place - place[:, None] + 5).permute(2, 0, 1)
        weights = (q @ k.transpose(-1, -2) / 2 + bias).softmax(-1)
        return torch.as_tensor(self.head(x + self.back((weights @ v).transpose(1, 2).flatten(2))))


@shape(5, (3, 6, 6))
class ConvolutionalCell(nn.Module):
    """A convolutional LSTM of 5 hidden channels, an attribute's number of which begin as zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.gates, self.head = 5, nn.Conv2d(8, 20, 3, padding=1), nn.Conv2d(5, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 2, H, W]."""
        state = cell = torch.zeros(len(x), self.hidden, *x.shape[2:])
        for _ in range(2):
            i, f, o, g = self.gates(torch.cat([x, state], 1)).split(self.hidden, 1)
            cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
            state = o.sigmoid() * cell.tanh()
        return torch.as_tensor(self.head(state))


@shape(6, (7, 4))
class ZeroStates(nn.Module):
    """Two layers of an LSTM of 6 hidden units whose first states are zeros, as many as an attribute says."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.lstm, self.head = 6, nn.LSTM(4, 6, 2, batch_first=True), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        zeros = torch.zeros(2, len(x), self.hidden)
        return torch.as_tensor(self.head(self.lstm(x, (zeros, zeros))[0][:, -1]))


@shape(6 + 3, (8, 4))
class StateSpace(nn.Module):
    """A selective state space of 6 channels and 2 states, scanned step by step; 3 of its step sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.mix = nn.Linear(4, 12), nn.Conv1d(6, 6, 3, padding=2, groups=6)
        self.parts, self.step, self.head = nn.Linear(6, 7), nn.Linear(3, 6), nn.Linear(6, 3)
        self.decay, self.through = nn.Parameter(torch.rand(6, 2)), nn.Parameter(torch.rand(6))

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, 3]."""
        inner, gate = self.first(x).chunk(2, -1)
        inner = silu(self.mix(inner.transpose(1, 2))[..., : x.shape[1]]).transpose(1, 2)
        step, reads, says = self.parts(inner).split([3, 2, 2], -1)
        step, state, found = softplus(self.step(step))[..., None], torch.zeros(()), []
        for t in range(x.shape[1]):
            moved = step[:, t] * reads[:, t, None] * inner[:, t, :, None]
            state = torch.exp(-step[:, t] * self.decay.exp()) * state + moved
            found.append((state * says[:, t, None]).sum(-1))
        return torch.as_tensor(self.head((torch.stack(found, 1) + inner * self.through) * silu(gate)))

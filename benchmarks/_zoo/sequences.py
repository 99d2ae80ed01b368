"""Shapes over tokens and time without attention: recurrent layers, embeddings, gated units, mixers, normalisations."""

import torch
from torch import Tensor, nn
from torch.nn.functional import glu, silu

from benchmarks._zoo.attention import FeedForward, Mean, RMSNorm
from benchmarks._zoo.shape import shape


@shape(6 + 5, (7, 4))
class LongShortTerm(nn.Module):
    """An LSTM of 6 hidden units behind 5 units."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.lstm, self.head = nn.Linear(4, 5), nn.LSTM(5, 6, batch_first=True), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        return torch.as_tensor(self.head(self.lstm(self.embed(x).relu())[0][:, -1]))


@shape(6 + 5, (7, 4))
class GatedRecurrent(nn.Module):
    """A GRU of 6 hidden units whose last state is read, then 5."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.fc, self.head = nn.GRU(4, 6, batch_first=True), nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        _, last = self.gru(x)
        return torch.as_tensor(self.head(self.fc(last[-1]).relu()))


@shape(6 + 5, (7, 4))
class TwoRecurrentLayers(nn.Module):
    """Two LSTMs, one after the other: 6 and 5 hidden units."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.LSTM(4, 6, batch_first=True), nn.LSTM(6, 5, batch_first=True)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        return torch.as_tensor(self.head(self.two(self.one(x)[0])[0].mean(1)))


@shape(6, (7,), tokens=11)
class TokenEmbedding(nn.Module):
    """An embedding of 6 columns, summed over tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(11, 6), nn.Linear(6, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, 3]."""
        return torch.as_tensor(self.head(self.embed(tokens).sum(1)))


@shape(8 + 12, (7,), tokens=11)
class TiedEmbedding(nn.Module):
    """A language model whose output layer shares the embedding's weight: a stream of 8, 12 units."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(11, 8), nn.Embedding(7, 8)
        self.feed, self.norm, self.out = FeedForward(8, 12), RMSNorm(8), nn.Linear(8, 11, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, T, 11]."""
        x = self.embed(tokens) + self.place(torch.arange(tokens.shape[1], device=tokens.device))
        return torch.as_tensor(self.out(self.norm(x + self.feed(x))))


@shape(6 + 5, (6,))
class GatedLinear(nn.Module):
    """12 units of which 6 gate the other 6: they go in pairs; then 5."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.head = nn.Linear(6, 12), nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        return torch.as_tensor(self.head(self.fc2(glu(self.fc1(x), dim=-1)).relu()))


@shape(8 + 10, (5, 6))
class SwiGLU(nn.Module):
    """A stream of 8, and 10 units from two layers that are multiplied."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.gate, self.up, self.down = (
            nn.Linear(6, 8),
            *(nn.Linear(8, 10) for _ in range(2)),
            nn.Linear(10, 8),
        )
        self.head = Mean(8)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        x = self.embed(x)
        return torch.as_tensor(self.head(x + self.down(silu(self.gate(x)) * self.up(x))))


@shape(8 + 10 + 12, (5, 6))
class MixerBlock(nn.Module):
    """An MLP-mixer block: a stream of 8, 10 units over the 5 tokens, 12 over channels; LayerNorms between."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm1, self.norm2 = nn.Linear(6, 8), nn.LayerNorm(8), nn.LayerNorm(8)
        self.tokens, self.channels, self.head = FeedForward(5, 10), FeedForward(8, 12), Mean(8)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        x = self.embed(x)
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return torch.as_tensor(self.head(x + self.channels(self.norm2(x))))


@shape(8 + 6, (5, 6))
class LayerNormalised(nn.Module):
    """LayerNorms over 8 units and over 6: by masked statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.norm1, self.fc2, self.norm2 = nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 6), nn.LayerNorm(6)
        self.head = Mean(6)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        return torch.as_tensor(self.head(self.norm2(self.fc2(self.norm1(self.fc1(x)).relu())).relu()))


@shape(8 + 6, (5, 6))
class RootMeanSquare(nn.Module):
    """torch's RMSNorm over 8 units, then 6."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.norm, self.fc2, self.head = nn.Linear(6, 8), nn.RMSNorm(8, eps=1e-6), nn.Linear(8, 6), Mean(6)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        return torch.as_tensor(self.head(self.fc2(self.norm(self.fc1(x)).relu()).relu()))


@shape(8 + 12, (5, 6))
class LayerScale(nn.Module):
    """A stream of 8 to which 12 units add, times a learnt scale."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.feed, self.head = nn.Linear(6, 8), FeedForward(8, 12), Mean(8)
        self.scale = nn.Parameter(torch.rand(8))

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        x = self.embed(x)
        return torch.as_tensor(self.head(x + self.scale * self.feed(x)))


@shape(6 + 5 + 4, (5, 6))
class PReLUAndBatchNorm(nn.Module):
    """A slope for each of 6 units, batch normalisation of 5 over tokens, then 4."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.slope, self.fc2, self.norm = nn.Linear(6, 6), nn.PReLU(6), nn.Linear(6, 5), nn.BatchNorm1d(5)
        self.fc3, self.head = nn.Linear(5, 4), Mean(4)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        x = self.slope(self.fc1(x).transpose(1, 2)).transpose(1, 2)
        x = self.norm(self.fc2(x).transpose(1, 2)).transpose(1, 2)
        return torch.as_tensor(self.head(self.fc3(x).relu()))


@shape(8 + 6, (4, 6))
class FlattenedTokens(nn.Module):
    """4 tokens of 8 features, flattened for 6 units."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.fc, self.head = nn.Linear(6, 8), nn.Linear(32, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        return torch.as_tensor(self.head(self.fc(self.embed(x).relu().flatten(1)).relu()))


@shape(8 + 6, (4, 6))
class MaskedTokens(nn.Module):
    """Tokens by a buffer of places, picked, masked and turned round: 8 features, then 6."""

    places: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.fc, self.head = nn.Linear(6, 8), nn.Linear(8, 6), Mean(6)
        self.register_buffer("places", torch.tensor([2, 0, 3]))

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        x = self.embed(x).index_select(1, self.places)
        x = x.masked_fill(x < -1, 0.0).flip(1)
        return torch.as_tensor(self.head(self.fc(torch.where(x > 0, x.clamp(min=0).sqrt(), x.sin())).relu()))

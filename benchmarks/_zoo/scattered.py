"""Shapes in which values are looked up and added at indices, packed, or expanded in functions of their own."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from benchmarks._zoo.shape import shape


@shape(8 + 7 + 6, (6, 3))
class MessagePassing(nn.Module):
    """Messages of 7 along the edges of a graph, added where they arrive; nodes of 8, then 6."""

    edges: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.node, self.message, self.update = nn.Linear(3, 8), nn.Linear(16, 7), nn.Linear(7, 6)
        self.head = nn.Linear(6, 2)
        self.register_buffer("edges", torch.tensor([[0, 1, 2, 3, 4, 5, 0], [1, 2, 3, 4, 5, 0, 3]]))

    def forward(self, x: Tensor) -> Tensor:
        """[B, 2]."""
        nodes = self.node(x).relu()
        start, end = self.edges
        messages = self.message(torch.cat([nodes[:, start], nodes[:, end]], -1)).relu()
        arrived = messages.new_zeros(len(x), 6, messages.shape[-1]).index_add(1, end, messages)
        return torch.as_tensor(self.head(self.update(arrived).relu().mean(1)))


@shape(8 + 6, (6, 3))
class ScatteredPools(nn.Module):
    """Nodes of 8 summed in three pools, then 6 units."""

    pool: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.node, self.update, self.head = nn.Linear(3, 8), nn.Linear(8, 6), nn.Linear(6, 2)
        self.register_buffer("pool", torch.tensor([1, 2, 0, 0, 1, 2]))

    def forward(self, x: Tensor) -> Tensor:
        """[B, 2]."""
        nodes = self.node(x).relu()
        places = self.pool[None, :, None].expand_as(nodes)
        pools = torch.zeros_like(nodes[:, :3]).scatter_add(1, places, nodes)
        return torch.as_tensor(self.head(self.update(pools).relu().mean(1)))


@shape(8 + 5 + 5, (6,), batch=12)
class RoutedExperts(nn.Module):
    """Each example goes through one of two experts of 5 units, in a stream of 8."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.router, self.head = nn.Linear(6, 8), nn.Linear(6, 2), nn.Linear(8, 3)
        self.experts = nn.ModuleList([nn.Sequential(nn.Linear(8, 5), nn.GELU(), nn.Linear(5, 8)) for _ in range(2)])

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        share, chosen = self.router(x).softmax(-1).max(-1)
        x = self.first(x).relu()
        said = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            rows = (chosen == number).nonzero().flatten()
            said = said.index_add(0, rows, share[rows, None] * expert(x[rows]))
        return torch.as_tensor(self.head(x + said))


@shape(6 + 8, (6, 5))
class PackedSequences(nn.Module):
    """Sequences of three lengths behind 6 units, in a GRU of 8 hidden units in both directions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(5, 6), nn.Linear(16, 3)
        self.gru = nn.GRU(6, 8, bidirectional=True, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, 3]."""
        packed = pack_padded_sequence(self.first(x).relu(), torch.tensor([6, 3, 5]), True, enforce_sorted=False)
        said, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True, total_length=6)
        return torch.as_tensor(self.head(said))


@shape(7 + 6, (5,))
class Splines(nn.Module):
    """Every feature expanded in 4 functions, of which linear layers of 7 and 6 units are sums."""

    grid: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = nn.Linear(20, 7), nn.Linear(28, 6), nn.Linear(6, 2)
        self.register_buffer("grid", torch.linspace(-1, 1, 4))

    def expanded(self, x: Tensor) -> Tensor:
        """[B, 4 F]."""
        return (-(x.unsqueeze(-1) - self.grid).square()).exp().view(len(x), -1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 2]."""
        return torch.as_tensor(self.head(self.two(self.expanded(self.one(self.expanded(x))))))


@shape(6 + 4, (8,))
class TiedStack(nn.Module):
    """An autoencoder 8-6-4-6-8 whose decoder is the encoder's weights, transposed: 6 and 4 units."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(8, 6), nn.Linear(6, 4)
        self.inner, self.outer = nn.Parameter(torch.randn(6)), nn.Parameter(torch.randn(8))

    def forward(self, x: Tensor) -> Tensor:
        """[B, 8]."""
        code = self.two(self.one(x).relu())
        inner = nn.functional.linear(code, self.two.weight.t(), self.inner).relu()
        return nn.functional.linear(inner, self.one.weight.t(), self.outer)


@shape(7, (6,))
class ScaledByAWeight(nn.Module):
    """8 units, one of whose weights scales the outputs as well and stays."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3]."""
        return torch.as_tensor(self.head(self.first(x).relu()) * self.first.weight[0, 0])

"""Structures written down by hand, for networks with attention, recurrent layers, normalisations and spread writers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from bayesprune.structure import Group, Reader, Structure
from bayesprune.structure.layers import units_inside
from bayesprune.structure.members import Axis, Normaliser


class ByHand:
    """Collects groups, axes, readers and normalisations."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.groups: list[Group] = []
        self.axes: list[Axis] = []
        self.readers: list[Reader] = []
        self.norms: list[Normaliser] = []
        self.spread: set[str] = set()

    def group(self, name: str, size: int) -> Tensor:
        start = sum(group.size for group in self.groups)
        self.groups.append(Group(name, size, torch.arange(size), (name,), ()))
        return torch.arange(start, start + size)

    def writes(self, layer: str, gates: Tensor, axis: int = 0, *, spread: bool = False) -> None:
        names = [name for name, _ in self.network.get_submodule(layer).named_parameters(recurse=False)]
        self.axes += [Axis(layer, name, axis if name == "weight" else 0, gates) for name in names]
        self.spread |= {layer} if spread else set()

    def reads(self, layer: str, gates: Tensor, feature_axis: int = -1, **named: Any) -> None:
        self.readers.append(Reader(layer, 1, feature_axis, gates, torch.arange(len(gates)), None, **named))

    def norm(self, layer: str, gates: Tensor) -> None:
        self.norms.append(Normaliser(layer, gates))
        self.writes(layer, gates)

    def inside(self, layer: str, **gates: Tensor) -> None:
        inside = units_inside(self.network.get_submodule(layer))
        assert inside is not None
        axes, readers = inside.entries(layer, gates)
        self.axes += axes
        self.readers += readers

    def build(self) -> Structure:
        parts = (tuple(self.groups), tuple(self.axes), tuple(self.readers))
        return Structure(*parts, norms=tuple(self.norms), spread=frozenset(self.spread))


class Block(nn.Module):
    """A transformer block with the norm in front, or behind."""

    def __init__(self, width: int, heads: int, hidden: int, norm: Callable[[int], nn.Module], **options: Any) -> None:
        super().__init__()
        self.first, self.second = norm(width), norm(width)
        self.attention = nn.MultiheadAttention(width, heads, **options)
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        seen = self.first(tokens)
        tokens = tokens + self.attention(seen, seen, seen, need_weights=False)[0]
        changed: Tensor = tokens + self.down(nn.functional.gelu(self.up(self.second(tokens))))
        return changed


class SmallViT(nn.Module):
    """Patches, two blocks, a last norm and the mean over tokens."""

    def __init__(self, norm: Callable[[int], nn.Module] = nn.LayerNorm) -> None:
        super().__init__()
        self.patches = nn.Linear(5, 12)
        self.blocks = nn.Sequential(*(Block(12, 4, 10, norm, batch_first=True) for _ in range(2)))
        self.norm, self.head = norm(12), nn.Linear(12, 3)

    def forward(self, images: Tensor) -> Tensor:
        said: Tensor = self.head(self.norm(self.blocks(self.patches(images))).mean(1))
        return said


def vit(norm: Callable[[int], nn.Module] = nn.LayerNorm) -> tuple[nn.Module, Structure, Tensor]:
    network = SmallViT(norm)
    hand = ByHand(network)
    width = hand.group("patches", 12)
    hand.writes("patches", width)
    for number in range(2):
        block = f"blocks.{number}"
        heads, hidden = hand.group(f"{block}.attention", 4), hand.group(f"{block}.up", 10)
        hand.norm(f"{block}.first", width)
        hand.norm(f"{block}.second", width)
        hand.inside(f"{block}.attention", heads=heads, query=width, output=width)
        hand.reads(f"{block}.up", width)
        hand.writes(f"{block}.up", hidden)
        hand.reads(f"{block}.down", hidden)
        hand.writes(f"{block}.down", width)
    hand.norm("norm", width)
    hand.reads("head", width)
    return network, hand.build(), torch.randn(3, 6, 5)


def encoder(*, batch_first: bool = True, norm_first: bool = False) -> tuple[nn.Module, Structure, Tensor]:
    """torch's own encoder, whose fast path counts on the sizes; the residual width stays for a post-norm's sake."""
    layer = nn.TransformerEncoderLayer(12, 4, 9, 0.0, batch_first=batch_first, norm_first=norm_first)
    network = nn.Sequential(nn.Linear(5, 12), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False))
    hand = ByHand(network)
    width = hand.group("0", 12)
    hand.writes("0", width)
    for number in range(2):
        block = f"1.layers.{number}"
        heads, hidden = hand.group(f"{block}.self_attn", 4), hand.group(f"{block}.linear1", 9)
        hand.norm(f"{block}.norm1", width)
        hand.norm(f"{block}.norm2", width)
        hand.inside(f"{block}.self_attn", heads=heads, query=width, output=width)
        hand.reads(f"{block}.linear1", width)
        hand.writes(f"{block}.linear1", hidden)
        hand.reads(f"{block}.linear2", hidden)
        hand.writes(f"{block}.linear2", width)
    network.append(nn.Linear(12, 3))
    hand.reads("2", width)
    return network, hand.build(), torch.randn(4, 6, 5)


class Memory(nn.Module):
    """Cross attention with other widths of keys and values, biases of keys and values, and masks."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.ask, self.key, self.value = nn.Linear(5, 12), nn.Linear(5, 7), nn.Linear(5, 6)
        self.attention = nn.MultiheadAttention(12, 3, kdim=7, vdim=6, **options)
        self.head = nn.Linear(12, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        query, key, value = self.ask(inputs), self.key(inputs), self.value(inputs)
        if not self.attention.batch_first:
            query, key, value = (each.transpose(0, 1) for each in (query, key, value))
        mask = torch.zeros(6, 6, dtype=torch.bool).triu(1)
        mask[0, 3] = True
        said = self.attention(query, key, value, attn_mask=mask, need_weights=True)[0]
        answer: Tensor = self.head(said if self.attention.batch_first else said.transpose(0, 1))
        return answer


def memory(**options: Any) -> tuple[nn.Module, Structure, Tensor]:
    network = Memory(**options)
    hand = ByHand(network)
    query, key, value = (hand.group(name, size) for name, size in (("ask", 12), ("key", 7), ("value", 6)))
    heads, output = hand.group("attention", 3), hand.group("attention.out_proj", 12)
    for layer, gates in (("ask", query), ("key", key), ("value", value)):
        hand.writes(layer, gates)
    hand.inside("attention", heads=heads, query=query, key=key, value=value, output=output)
    hand.reads("head", output)
    return network, hand.build(), torch.randn(4, 6, 5)


class Sequences(nn.Module):
    """Token ids, an embedding, a recurrent layer and a classifier of its last output and state."""

    def __init__(self, kind: Callable[..., nn.RNNBase], **options: Any) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 6)
        self.recurrent = kind(6, 5, batch_first=True, **options)
        directions = 2 if options.get("bidirectional") else 1
        self.head, self.state = nn.Linear(5 * directions, 3), nn.Linear(5, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        said, states = self.recurrent(self.embedding(tokens))
        hidden, cells = states if isinstance(states, tuple) else (states, states)
        answer: Tensor = self.head(said.mean(1)) + self.state(hidden[-1] + cells[0])
        return answer


def sequences(kind: Callable[..., nn.RNNBase], **options: Any) -> tuple[nn.Module, Structure, Tensor]:
    network = Sequences(kind, **options)
    hand = ByHand(network)
    columns, hidden = hand.group("embedding", 6), hand.group("recurrent", 5)
    hand.writes("embedding", columns, 1)
    hand.inside("recurrent", input=columns, hidden=hidden)
    inside = units_inside(network.recurrent)
    assert inside is not None and inside.states is not None
    hand.reads("head", hidden[inside.says])
    hand.reads("state", hidden[inside.states])
    return network, hand.build(), torch.randint(0, 11, (4, 7))


class Functional(nn.Module):
    """A layer whose weight is used by a function, and that is tied to another one."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(4, 8), nn.Linear(8, 6), nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.tanh(linear(torch.tanh(self.first(inputs)), self.second.weight, self.second.bias))
        said: Tensor = self.third(hidden)
        return said


def functional() -> tuple[nn.Module, Structure, Tensor]:
    network = Functional()
    hand = ByHand(network)
    one, two = hand.group("first", 8), hand.group("second", 6)
    hand.writes("first", one)
    hand.reads("second", one, by_weight=True)
    hand.writes("second", two)
    hand.reads("third", two)
    return network, hand.build(), torch.randn(5, 4)


def grouped() -> tuple[nn.Module, Structure, Tensor]:
    """Channels normalised in groups of two, which go together."""
    network = nn.Sequential(nn.Conv2d(2, 8, 3), nn.GroupNorm(4, 8), nn.ReLU(), nn.Conv2d(8, 3, 3))
    hand = ByHand(network)
    gates = hand.group("0", 4).repeat_interleave(2)
    hand.writes("0", gates)
    hand.writes("1", gates)
    hand.reads("3", gates, 1)
    return network, hand.build(), torch.randn(2, 2, 7, 7)


class Counting(nn.Module):
    """Code between writers and readers that counts on six channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.middle = nn.Conv2d(2, 6, 3), nn.Conv2d(6, 6, 1)
        self.norm, self.last, self.scale = nn.BatchNorm2d(6), nn.Conv2d(6, 4, 3), nn.Parameter(torch.randn(6, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        maps = torch.relu(self.norm(self.first(images))) * self.scale
        maps = maps.view(len(images), 6, 5, 5)
        maps = self.middle(maps) * self.scale.view(6, 1, 1)
        said: Tensor = self.last(maps)
        return said


def counting() -> tuple[nn.Module, Structure, Tensor]:
    network = Counting()
    hand = ByHand(network)
    one, two = hand.group("first", 6), hand.group("middle", 6)
    hand.writes("first", one, spread=True)
    hand.reads("middle", one, 1)
    hand.writes("middle", two, spread=True)
    hand.reads("last", two, 1)
    return network, hand.build(), torch.randn(3, 2, 7, 7)


@dataclass(frozen=True)
class Case:
    """A network, its structure and inputs, made anew at every call."""

    name: str
    make: Callable[[], tuple[nn.Module, Structure, Tensor]]

    def __call__(self) -> tuple[nn.Module, Structure, Tensor]:
        network, structure, inputs = self.make()
        with torch.no_grad():
            for parameter in network.parameters():  # no norm or bias at its start
                parameter.add_(0.3 * torch.randn_like(parameter))
        return network.eval(), structure, inputs


CASES = (
    Case("functional", functional),
    Case("vit", vit),
    Case("vit rms", lambda: vit(nn.RMSNorm)),
    Case("vit plain norm", lambda: vit(lambda width: nn.LayerNorm(width, elementwise_affine=False))),
    Case("encoder", encoder),
    Case("encoder norm first", lambda: encoder(norm_first=True)),
    Case("encoder batch second", lambda: encoder(batch_first=False)),
    Case("memory", memory),
    Case("memory bias_kv", lambda: memory(batch_first=True, add_bias_kv=True, add_zero_attn=True)),
    Case("memory no bias", lambda: memory(bias=False)),
    Case("lstm", lambda: sequences(nn.LSTM)),
    Case("lstm deep", lambda: sequences(nn.LSTM, num_layers=2, bidirectional=True)),
    Case("gru", lambda: sequences(nn.GRU, num_layers=2)),
    Case("gru no bias", lambda: sequences(nn.GRU, bias=False, bidirectional=True)),
    Case("rnn", lambda: sequences(nn.RNN, nonlinearity="relu")),
    Case("group norm", grouped),
    Case("counting", counting),
)

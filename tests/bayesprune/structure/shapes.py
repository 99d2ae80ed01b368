"""Small networks of shapes that people have, each with the groups that a person finds in it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Step = Callable[[Tensor], Tensor]


class Between(nn.Module):
    """Something happens between two convolutions (or linear layers); a third one follows."""

    def __init__(self, step: Step, writes: int, reads: int, **options: Any) -> None:
        super().__init__()
        kind: Any = options.pop("kind", nn.Conv2d)
        size = () if kind is nn.Linear else (1,)
        self.step, self.a = step, kind(options.pop("inputs", 3), writes, *size)
        self.b, self.c = kind(reads, 6, *size), kind(6, 2, *size)
        for name, module in options.items():
            setattr(self, name, module)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.c(self.b(self.step(self.a(inputs).tanh())).relu())
        return outputs


def maps(step: Step, writes: int = 8, reads: int = 8) -> Callable[[], nn.Module]:
    return lambda: Between(step, writes, reads)


def tokens(step: Step, writes: int = 8, reads: int = 8) -> Callable[[], nn.Module]:
    return lambda: Between(step, writes, reads, kind=nn.Linear, inputs=5)


class ResNeXt(nn.Module):
    """A residual block around a grouped convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 12, 1, bias=False)
        self.two, self.norm = nn.Conv2d(12, 12, 3, padding=1, groups=4, bias=False), nn.BatchNorm2d(12)
        self.three, self.head = nn.Conv2d(12, 6, 1), nn.Linear(6, 3)

    def forward(self, images: Tensor) -> Tensor:
        stream = self.stem(images)
        stream = stream + self.three(self.norm(self.two(self.one(stream).relu())).relu())
        logits: Tensor = self.head(stream.mean((2, 3)))
        return logits


def multiplied() -> nn.Module:
    """Three filters a channel, then grouped and depthwise transposed convolutions."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 12, 3, groups=4), nn.BatchNorm2d(12), nn.ReLU(),
        nn.Conv2d(12, 6, 1),
        nn.ConvTranspose2d(6, 6, 3, groups=6), nn.ReLU(), nn.ConvTranspose2d(6, 4, 2, groups=2), nn.Conv2d(4, 2, 1),
    )  # fmt: skip


class Scale(nn.Module):
    """A learnt factor and shift for each channel, and one for all."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.factor, self.shift = nn.Parameter(torch.rand(*shape) + 0.5), nn.Parameter(torch.randn(*shape))
        self.common = nn.Parameter(torch.rand(1) + 0.5)

    def forward(self, features: Tensor) -> Tensor:
        return features * self.factor * self.common + self.shift


class Frozen(nn.Module):
    """Batch normalisation with buffers only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        for name in ("weight", "bias", "mean", "var"):
            self.register_buffer(name, torch.rand(channels) + 0.5)

    def forward(self, features: Tensor) -> Tensor:
        buffers: Any = self
        scale = buffers.weight * (buffers.var + 1e-5).rsqrt()
        shift = buffers.bias - buffers.mean * scale
        return features * scale.reshape(1, -1, 1, 1) + shift.reshape(1, -1, 1, 1)


class Modulated(nn.Module):
    """Maps of one input scaled and shifted by halves of what a linear layer says of another."""

    def __init__(self) -> None:
        super().__init__()
        self.maps, self.film = nn.Conv2d(3, 6, 3), nn.Linear(5, 12)
        self.last, self.head = nn.Conv2d(6, 4, 1), nn.Conv2d(4, 2, 1)

    def forward(self, images: Tensor, *, condition: Tensor) -> Tensor:
        scale, shift = self.film(condition).chunk(2, 1)
        maps = self.maps(images) * scale[:, :, None, None] + shift[:, :, None, None]
        outputs: Tensor = self.head(self.last(maps.relu()).relu())
        return outputs


class TwoInputs(nn.Module):
    """Each input has a layer of its own, and one reads both."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(8, 6), nn.Linear(5, 4), nn.Linear(10, 3)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        outputs: Tensor = self.c(torch.cat([self.a(one).relu(), self.b(other).relu()], 1))
        return outputs


class Tied(nn.Module):
    """Two layers with one weight, between two others."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.one, self.two, self.head = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2)
        self.two.weight = self.one.weight

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.two(self.one(self.first(inputs).relu()).relu()).relu())
        return outputs


class Language(nn.Module):
    """An embedding whose table is the output layer's weight as well."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.hidden, self.back = nn.Embedding(9, 6), nn.Linear(6, 8), nn.Linear(8, 6)
        self.out = nn.Linear(6, 9, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, words: Tensor) -> Tensor:
        stream = self.embed(words)
        outputs: Tensor = self.out(stream + self.back(self.hidden(stream).relu()))
        return outputs


class Functions(nn.Module):
    """Weights that are used by functions of torch, of layers and of the network itself."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.loose = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Linear(6, 5)
        self.matrix, self.head = nn.Parameter(torch.randn(5, 4)), nn.Linear(4, 3)

    def forward(self, images: Tensor) -> Tensor:
        norm = self.norm
        maps = functional.conv2d(images, self.conv.weight, self.conv.bias)
        maps = functional.batch_norm(maps, norm.running_mean, norm.running_var, norm.weight, norm.bias)
        hidden = functional.linear(maps.relu().mean((2, 3)), self.loose.weight, self.loose.bias).relu()
        outputs: Tensor = self.head((hidden @ self.matrix).relu())
        return outputs


class Crops(nn.Module):
    """Three convolutions over time, two crops of one tensor added."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv1d(1, 8, 3), nn.Conv1d(8, 6, 1), nn.Conv1d(6, 2, 1)

    def forward(self, series: Tensor) -> Tensor:
        wide = self.a(series)
        outputs: Tensor = self.c(self.b((wide[..., :-2] + wide[..., 2:]).relu()).relu())
        return outputs


class ChannelAttention(nn.Module):
    """Attention between the channels of a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.qkv = nn.Conv2d(2, 8, 1), nn.Conv2d(8, 24, 1)
        self.out, self.head = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        stream = self.stem(images)
        batch, _, height, width = stream.shape
        query, key, value = (part.reshape(batch, 2, 4, height * width) for part in self.qkv(stream).chunk(3, 1))
        attended = (functional.normalize(query, dim=-1) @ key.transpose(-2, -1)).softmax(-1) @ value
        outputs: Tensor = self.head(stream + self.out(attended.reshape(batch, 8, height, width)))
        return outputs


class OwnAttention(nn.Module):
    """A block as people write it: one linear layer for queries, keys and values, learnt positions and scales."""

    def __init__(self, *, fused: bool = False) -> None:
        super().__init__()
        self.fused = fused
        self.embed, self.places = nn.Linear(5, 12), nn.Parameter(torch.randn(1, 7, 12))
        self.start, self.norm1, self.norm2 = nn.Parameter(torch.randn(1, 1, 12)), nn.LayerNorm(12), nn.LayerNorm(12)
        self.qkv, self.proj, self.gamma = nn.Linear(12, 36), nn.Linear(12, 12), nn.Parameter(torch.rand(12))
        self.up, self.down, self.head = nn.Linear(12, 10), nn.Linear(10, 12), nn.Linear(12, 3)

    def forward(self, words: Tensor) -> Tensor:
        stream = torch.cat([self.start.expand(len(words), -1, -1), self.embed(words)], 1) + self.places
        batch, count, width = stream.shape
        parts = self.qkv(self.norm1(stream)).reshape(batch, count, 3, 3, 4).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)
        if self.fused:
            said = functional.scaled_dot_product_attention(query, key, value)
        else:
            said = (query * 4**-0.5 @ key.transpose(-2, -1)).softmax(-1) @ value
        stream = stream + self.gamma * self.proj(said.transpose(1, 2).reshape(batch, count, 12))
        stream = stream + self.down(functional.gelu(self.up(self.norm2(stream))))
        outputs: Tensor = self.head(stream[:, 0])
        return outputs


class Mixer(nn.Module):
    """A linear layer over tokens, then one over features."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm = nn.Linear(5, 8), nn.LayerNorm(8)
        self.over, self.back = nn.Linear(4, 6), nn.Linear(6, 4)
        self.up, self.down, self.head = nn.Linear(8, 7), nn.Linear(7, 8), nn.Linear(8, 2)

    def forward(self, words: Tensor) -> Tensor:
        stream = self.embed(words)
        stream = stream + self.back(self.over(self.norm(stream).transpose(1, 2)).relu()).transpose(1, 2)
        outputs: Tensor = self.head((stream + self.down(self.up(stream).relu())).mean(1))
        return outputs


class Grouped(nn.Module):
    """A residual network with GroupNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.inner = nn.Conv2d(2, 8, 3, padding=1), nn.GroupNorm(4, 8), nn.Conv2d(8, 6, 1)
        self.inner_norm, self.back, self.head = nn.GroupNorm(3, 6), nn.Conv2d(6, 8, 1), nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        stream = self.norm(self.stem(images)).relu()
        stream = stream + self.back(self.inner_norm(self.inner(stream)).relu())
        logits: Tensor = self.head(stream.mean((2, 3)))
        return logits


class Spatial(nn.Module):
    """A map of one channel scales all others."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.map = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 1, 1)
        self.next, self.head = nn.Conv2d(8, 6, 1), nn.Conv2d(6, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.wide(images).relu()
        outputs: Tensor = self.head(self.next(maps * self.map(maps).sigmoid()).relu())
        return outputs


class Recurrent(nn.Module):
    """An LSTM from zero states, its last output and a GRU behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.lstm = nn.Linear(4, 5), nn.LSTM(5, 6, batch_first=True)
        self.gru, self.head = nn.GRU(6, 4, batch_first=True, bidirectional=True), nn.Linear(8, 2)

    def forward(self, series: Tensor) -> Tensor:
        hidden, _ = self.lstm(self.embed(series))
        outputs: Tensor = self.head(self.gru(hidden.relu())[0][:, -1])
        return outputs


class Experts(nn.Module):
    """A softmax over three experts weighs what they say."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.gate = nn.Linear(4, 6), nn.Linear(6, 3)
        self.experts, self.head = nn.ModuleList(nn.Linear(6, 5) for _ in range(3)), nn.Linear(5, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.first(inputs).relu()
        weights = self.gate(hidden).softmax(-1)
        mixed = sum(weights[:, n : n + 1] * expert(hidden) for n, expert in enumerate(self.experts))
        outputs: Tensor = self.head(mixed)
        return outputs


class Padded(nn.Module):
    """The padded shortcut of the first residual networks."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.o = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 8, 3, 2, 1), nn.Conv2d(8, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.a(images).relu()
        short = functional.pad(maps[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))
        outputs: Tensor = self.o((short + self.b(maps)).relu())
        return outputs


class Encoder(nn.Module):
    """torch's transformer encoder between two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 10, batch_first=True)
        self.embed, self.head = nn.Linear(5, 8), nn.Linear(8, 3)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, words: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.encoder(self.embed(words)).mean(1))
        return outputs


@dataclass(frozen=True)
class Shape:
    """A network, an example and the sizes of its groups, found by thinking."""

    make: Callable[[], nn.Module]
    example: Any
    groups: dict[str, int]
    options: dict[str, Any] = field(default_factory=lambda: {"inputs": "none"})


def _noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)))


IMAGES, WORDS = _noise(2, 3, 6, 6), _noise(2, 4, 5)
PAIR, BOTH = {"a": 8, "b": 6}, {"a": 4, "b": 6}

SHAPES: dict[str, Shape] = {
    "resnext": Shape(ResNeXt, IMAGES, {"stem": 6, "one": 4}),
    "depth multiplier": Shape(multiplied, _noise(2, 3, 8, 8), {"0": 4, "5": 2}),
    "grouped after linear": Shape(
        lambda: nn.Sequential(nn.Linear(5, 8), nn.Unflatten(1, (8, 1, 1)), nn.Conv2d(8, 4, 1, groups=4), nn.Flatten(),
                              nn.Linear(4, 2)), _noise(3, 5), {"0": 4}),
    "layer scale": Shape(maps(Scale(8, 1, 1)), IMAGES, PAIR),
    "layer scale of tokens": Shape(tokens(Scale(8)), WORDS, PAIR),
    "positions": Shape(tokens(Scale(1, 4, 8)), WORDS, PAIR),
    "frozen batch norm": Shape(maps(Frozen(8)), IMAGES, PAIR),
    "gated linear unit": Shape(tokens(lambda h: functional.glu(h, -1), 8, 4), WORDS, BOTH),
    "halves multiplied": Shape(maps(lambda h: torch.mul(*h.chunk(2, 1)), 8, 4), IMAGES, BOTH),
    "interleaved halves": Shape(tokens(lambda h: h[..., ::2] * h[..., 1::2], 8, 4), WORDS, BOTH),
    "halves put together again": Shape(maps(lambda h: torch.cat(h.split([3, 5], 1)[::-1], 1)), IMAGES, PAIR),
    "pixel shuffle": Shape(maps(lambda h: functional.pixel_shuffle(h, 2), 8, 2), IMAGES, {"a": 2, "b": 6}),
    "pixel unshuffle": Shape(maps(lambda h: functional.pixel_unshuffle(h, 2), 4, 16), IMAGES, {"a": 4, "b": 6}),
    "unflatten to maps": Shape(
        lambda: nn.Sequential(nn.Linear(5, 24), nn.ReLU(), nn.Unflatten(1, (6, 2, 2)), nn.Conv2d(6, 3, 1), nn.ReLU(),
                              nn.Conv2d(3, 2, 1)), _noise(3, 5), {"0": 6, "3": 3}),
    "repeat interleave": Shape(maps(lambda h: h.repeat_interleave(2, 1), 4, 8), IMAGES, BOTH),
    "repeat": Shape(maps(lambda h: h.repeat(1, 2, 1, 1), 4, 8), IMAGES, BOTH),
    "narrow over space": Shape(maps(lambda h: h.narrow(2, 1, 4)), IMAGES, PAIR),
    "select a row": Shape(maps(lambda h: h.select(2, 1).unsqueeze(2)), IMAGES, PAIR),
    "crops over space": Shape(maps(lambda h: h[:, :, :-2, ::2] + h[:, :, 2:, 1::2]), IMAGES, PAIR),
    "flip over channels": Shape(maps(lambda h: h.flip(1)), IMAGES, PAIR),
    "flip and add": Shape(maps(lambda h: h + h.flip(1)), IMAGES, BOTH),
    "channel shuffle": Shape(maps(lambda h: functional.channel_shuffle(h, 2)), IMAGES, PAIR),
    "channels in places": Shape(maps(_halves := (lambda h: torch.cat([h[:, :4], h[:, 4:].tanh()], 1))), IMAGES, PAIR),
    "resized and pooled": Shape(
        maps(lambda h: functional.interpolate(functional.max_pool2d(h, 2), scale_factor=2.0, mode="bilinear")), IMAGES,
        PAIR),
    "padded by reflection": Shape(maps(lambda h: functional.pad(h, (1, 1, 1, 1), mode="reflect")), IMAGES, PAIR),
    "rolled windows": Shape(
        tokens(lambda h: h.roll(1, 1).reshape(4, 2, 8).softmax(1).reshape(2, 4, 8)), WORDS, PAIR),
    "softmax over space": Shape(maps(lambda h: h.flatten(2).softmax(-1).unflatten(2, (6, 6))), IMAGES, PAIR),
    "softmax over channels": Shape(maps(lambda h: h.softmax(1)), IMAGES, {"b": 6}),
    "outer products": Shape(tokens(lambda h: (h.unsqueeze(-1) * h.unsqueeze(-2)).flatten(-2), 3, 9), WORDS, {"b": 6}),
    "sum over channels": Shape(maps(lambda h: h.sum(1, keepdim=True), 8, 1), IMAGES, {"b": 6}),
    "two inputs": Shape(TwoInputs, (_noise(3, 8), _noise(3, 5)), {"a": 6, "b": 4}),
    "keyword inputs": Shape(Modulated, {"images": IMAGES, "condition": _noise(2, 5)}, {"maps": 6, "last": 4}),
    "tied weights": Shape(Tied, _noise(3, 4), {"first": 6}),
    "tied embedding": Shape(Language, torch.tensor([[1, 2, 8], [0, 5, 3]]), {"embed": 6, "hidden": 8}),
    "functions": Shape(Functions, IMAGES, {"conv": 6, "loose": 5, "matrix": 4}),
    "two crops": Shape(Crops, _noise(2, 1, 12), {"a": 8, "b": 6}),
    "channel attention": Shape(ChannelAttention, _noise(2, 2, 4, 4), {"stem": 8, "qkv": 2}),
    "own attention": Shape(OwnAttention, _noise(2, 6, 5), {"embed": 12, "qkv": 3, "up": 10}),
    "own attention, fused": Shape(lambda: OwnAttention(fused=True), _noise(2, 6, 5), {"embed": 12, "qkv": 3, "up": 10}),
    "mixer": Shape(Mixer, WORDS, {"embed": 8, "up": 7}),
    "group norm": Shape(Grouped, _noise(2, 2, 5, 5), {"stem": 4, "inner": 3}),
    "spatial attention": Shape(Spatial, IMAGES, {"wide": 8, "next": 6}),
    "recurrent": Shape(Recurrent, _noise(2, 5, 4), {"embed": 5, "lstm": 6, "gru": 4}),
    "experts": Shape(Experts, _noise(3, 4), {"first": 6, "experts.0": 5}),
    "padded shortcut": Shape(Padded, IMAGES, {"a": 8}),
    "encoder": Shape(Encoder, WORDS, {"embed": 8, "encoder.layers.0.self_attn": 2, "encoder.layers.0.linear1": 10,
                                      "encoder.layers.1.self_attn": 2, "encoder.layers.1.linear1": 10}),
}  # fmt: skip

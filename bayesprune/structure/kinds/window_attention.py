"""torchvision's attention in shifted windows (Swin) by whole heads; nothing here imports torchvision by itself."""

from importlib import import_module
from math import log
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, linear, normalize, pad

from bayesprune.structure.kinds.base import LayerKind, register
from bayesprune.structure.kinds.inside import Inside, Place

HOME, PREFIX = "torchvision.models.swin_transformer", "Head"
NAMES = ("ShiftedWindowAttention", "ShiftedWindowAttentionV2")
LARGEST_SCALE = log(100.0)


def __getattr__(name: str) -> Any:
    """The class of a narrowed attention, made when it is first asked for."""
    if name.removeprefix(PREFIX) not in NAMES or not name.startswith(PREFIX):
        raise AttributeError(name)
    from bayesprune.data.torchvision_guard import import_torchvision

    import_torchvision()
    base = getattr(import_module(HOME), name.removeprefix(PREFIX))
    made = type(name, (base,), {"forward": _forward, "__module__": __name__, "__doc__": _forward.__doc__})
    globals()[name] = made
    return made


def _forward(self: Any, inputs: Tensor) -> Tensor:
    """Attention in shifted windows of which heads, or features of input and output, were removed: [N, H, W, C]."""
    bias = self.get_relative_position_bias()
    height, width = self.window_size
    _, high, wide, _ = inputs.shape
    maps = pad(inputs, (0, 0, 0, -wide % width, 0, -high % height))
    _, padded_high, padded_wide, _ = maps.shape
    shift = (
        0 if height >= padded_high else self.shift_size[0],
        0 if width >= padded_wide else self.shift_size[1],
    )
    maps = maps.roll((-shift[0], -shift[1]), (1, 2)) if any(shift) else maps
    rows, columns = padded_high // height, padded_wide // width
    tokens = (
        maps.unflatten(1, (rows, height)).unflatten(3, (columns, width)).transpose(2, 3).flatten(3, 4).flatten(0, 2)
    )
    q, k, v = _projected(self, tokens)
    scores = _scores(self, q, k) + bias
    if any(shift):
        apart = _apart(maps, self.window_size, shift)
        scores = (scores.unflatten(0, (-1, len(apart))) + apart[:, None]).flatten(0, 1)
    weights = dropout(scores.softmax(-1), self.attention_dropout, self.training)
    said = linear((weights @ v).transpose(1, 2).flatten(2), self.proj.weight, self.proj.bias)
    said = dropout(said, self.dropout, self.training)
    said = said.unflatten(1, (height, width)).unflatten(0, (-1, rows, columns)).transpose(2, 3)
    whole = said.flatten(3, 4).flatten(1, 2)
    whole = whole.roll(shift, (1, 2)) if any(shift) else whole
    cut: Tensor = whole[:, :high, :wide].contiguous()
    return cut


def _projected(layer: Any, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values [windows, heads, tokens, width]."""
    bias, scale = layer.qkv.bias, getattr(layer, "logit_scale", None)
    if scale is not None and bias is not None:  # version 2 has no bias of keys
        keys = torch.arange(3, device=bias.device).repeat_interleave(len(bias) // 3) == 1
        bias = bias.masked_fill(keys, 0.0)
    parts = linear(tokens, layer.qkv.weight, bias).unflatten(-1, (3, layer.num_heads, -1))
    q, k, v = parts.permute(2, 0, 3, 1, 4)
    return q, k, v


def _scores(layer: Any, q: Tensor, k: Tensor) -> Tensor:
    """What is put into the softmax, without biases."""
    scale = getattr(layer, "logit_scale", None)
    if scale is None:
        scores: Tensor = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        return scores
    alike: Tensor = normalize(q, dim=-1) @ normalize(k, dim=-1).transpose(-2, -1)
    return alike * torch.clamp(scale, max=LARGEST_SCALE).exp()


def _apart(maps: Tensor, window: list[int], shift: tuple[int, int]) -> Tensor:
    """-100 between tokens of one window [windows, tokens, tokens] that the shift brought together."""
    parts = []
    for size, moved in zip(maps.shape[1:3], shift, strict=True):
        places = torch.arange(size, device=maps.device)
        parts.append((places >= size - moved).long())
    number = parts[0][:, None] * 2 + parts[1]
    rows, columns = maps.shape[1] // window[0], maps.shape[2] // window[1]
    tokens = number.unflatten(0, (rows, window[0])).unflatten(2, (columns, window[1])).transpose(1, 2)
    tokens = tokens.flatten(2, 3).flatten(0, 1)
    differs = tokens[:, None, :] != tokens[:, :, None]
    return torch.zeros_like(differs, dtype=maps.dtype).masked_fill(differs, -100.0)


def _name(layer: nn.Module) -> str:
    return type(layer).__qualname__.removeprefix(PREFIX)


def _trouble(layer: nn.Module) -> str | None:
    known = type(layer).__module__ in (HOME, __name__) and _name(layer) in NAMES
    return None if known else "is an attention with a forward pass of its own"


def _resize(layer: Any, _: int | None) -> None:
    table = getattr(layer, "relative_position_bias_table", None)
    layer.num_heads = len(layer.logit_scale) if table is None else table.shape[1]
    rows, width = layer.qkv.weight.shape
    if type(layer).__module__ == HOME and (rows != 3 * width or width % layer.num_heads):
        layer.__class__ = getattr(import_module(__name__), PREFIX + _name(layer))


def window_heads_inside(layer: Any) -> Inside | None:
    """A windowed attention's heads, and the features of its input and its output."""
    if _trouble(layer) is not None:
        return None
    rows, width = layer.qkv.weight.shape
    heads = torch.arange(layer.num_heads)
    own = heads.repeat_interleave(rows // 3 // layer.num_heads)
    written = [Place("heads", "qkv", "weight", 0, own.repeat(3))]
    if layer.qkv.bias is not None:
        written.append(Place("heads", "qkv", "bias", 0, own.repeat(3)))
    if hasattr(layer, "relative_position_bias_table"):
        written.append(Place("heads", "", "relative_position_bias_table", 1, heads))
    else:
        written += [Place("heads", "", "logit_scale", 0, heads), Place("heads", "cpb_mlp.2", "weight", 0, heads)]
    says = torch.arange(len(layer.proj.weight))
    written += [Place("output", "proj", name, 0, says) for name, _ in layer.proj.named_parameters()]
    read = (Place("input", "qkv", "weight", 1, torch.arange(width)), Place("heads", "proj", "weight", 1, own))
    return Inside({"heads": layer.num_heads}, tuple(written), read, ("input",), "output", says, macs=written[0])


register(
    LayerKind(
        (),
        trouble=_trouble,
        resize=_resize,
        opaque=True,
        named=tuple(f"{HOME}.{name}" for name in NAMES),
        inside=window_heads_inside,
    )
)

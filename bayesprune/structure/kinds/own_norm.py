"""Layer normalisations of a user's own class, known by what they say: RMS and layer normalisation over one axis."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from bayesprune.structure.kinds.base import LayerKind, register

EPSILONS = (1e-6, 1e-5, 1e-8, 1e-12, 1e-3, 0.0)
"""Tried beside the small numbers that a layer has as attributes."""

SCALES = (1.0, 1e-3)
"""Of the features on which a layer is tried; the small ones tell what is added to the variance."""


@dataclass(frozen=True)
class NormForm:
    """What a layer normalisation computes: (x - mean) / sqrt(variance + eps) * (weight + offset) + bias.

    Attributes:
        axis: that it normalises: the last one, or 1 of maps.
        centred: whether the mean is taken off.
        eps: added to the variance, or to the mean square.
        weight, bias: names of parameters [F], "" where it has none.
        offset: added to the weight.
        width: of its features.
    """

    axis: int
    centred: bool
    eps: float
    weight: str = ""
    bias: str = ""
    offset: float = 0.0
    width: int = 0

    def of(self, layer: nn.Module, features: Tensor) -> Tensor:
        """What it says of features."""
        mean = features.mean(self.axis, keepdim=True) if self.centred else torch.zeros_like(features)
        centred = features - mean
        said = centred * torch.rsqrt(centred.square().mean(self.axis, keepdim=True) + self.eps)
        return self.scaled(layer, said)

    def scaled(self, layer: nn.Module, normal: Tensor) -> Tensor:
        """Normalised features times the layer's weight, plus its bias."""
        shape = [-1 if place == self.axis % normal.dim() else 1 for place in range(normal.dim())]
        if self.weight:
            normal = normal * (getattr(layer, self.weight) + self.offset).reshape(shape)
        return normal + getattr(layer, self.bias).reshape(shape) if self.bias else normal


_KNOWN: "WeakKeyDictionary[nn.Module, NormForm | None]" = WeakKeyDictionary()


def own_norm(layer: nn.Module) -> NormForm | None:
    """What a layer of a user's own class computes if it is a layer normalisation; None for all others.

    It is tried on features of its width; its class must have no layers inside and no buffers.
    """
    if not _may_be(layer):
        return None
    if layer not in _KNOWN:
        _KNOWN[layer] = _found(layer)
    return _KNOWN[layer]


def _may_be(layer: nn.Module) -> bool:
    if type(layer).__module__.startswith("torch.nn.") or layer._modules or layer._buffers:
        return False
    shapes = {tuple(each.shape) for each in layer._parameters.values() if each is not None}
    return len(shapes) == 1 and len(next(iter(shapes))) == 1 and 1 <= len(layer._parameters) <= 2


@torch.no_grad()
def _found(layer: nn.Module) -> NormForm | None:
    first = next(layer.parameters())
    if first.device.type == "meta" or not first.is_floating_point() or len(first) < 2:
        return None
    for axis, shape in ((-1, (2, 3, len(first))), (1, (2, len(first), 2, 3))):
        generator = torch.Generator().manual_seed(0)
        features = torch.randn(shape, generator=generator, dtype=torch.float64).add_(0.5).to(first)
        said = []
        try:
            with torch.utils._python_dispatch._disable_current_modes():
                said = [layer.forward(features * scale) for scale in SCALES]
        except Exception:  # it takes no input of this shape
            continue
        if not all(isinstance(one, Tensor) and one.shape == features.shape for one in said):
            continue
        for form in _forms(layer, axis):
            pairs = zip(said, SCALES, strict=True)
            if all(_close(one, form.of(layer, features * scale)) for one, scale in pairs):
                return replace(form, width=len(first))
    return None


def _close(one: Tensor, other: Tensor) -> bool:
    tolerance = max(1e-5, 4 * torch.finfo(one.dtype).eps)
    return bool((one - other).abs().max() <= tolerance * other.abs().max())


def _forms(layer: nn.Module, axis: int) -> Iterator[NormForm]:
    """What a layer with such parameters may compute."""
    own = [value for value in vars(layer).values() if isinstance(value, float) and 0 <= value < 0.1]
    names = [name for name, value in layer._parameters.items() if value is not None]
    for weight, bias in permutations([*names, ""], 2) if len(names) == 2 else [(names[0], "")]:
        if not (weight and (bias or len(names) == 1)):
            continue
        for eps in dict.fromkeys((*own, *EPSILONS)):
            for centred in (False, True):
                for offset in (0.0, 1.0):
                    yield NormForm(axis, centred, eps, weight, bias, offset)


class _OwnNorms(LayerKind):
    """The kind of such layers, which have no class in common."""

    def fits(self, layer: nn.Module) -> bool:
        """Whether a layer is of this kind."""
        return own_norm(layer) is not None


def _written(layer: nn.Module) -> dict[str, int]:
    return {name: 0 for name, value in layer._parameters.items() if value is not None}


def _resize(layer: Any, channels: int | None) -> None:
    """Attributes that hold the layer's width follow: numbers, and shapes of one number."""
    known = own_norm(layer)
    if channels is None or known is None:
        return
    for name, value in list(vars(layer).items()):
        if type(value) is int and value == known.width:
            setattr(layer, name, channels)
        elif isinstance(value, tuple | list) and list(value) == [known.width]:
            setattr(layer, name, type(value)([channels]))
    _KNOWN[layer] = replace(known, width=channels)


register(_OwnNorms((), _written, width=lambda layer: len(next(layer.parameters())), resize=_resize, opaque=True))

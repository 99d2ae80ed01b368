"""Layer normalisation whose statistics run over the open features only."""

from typing import Any

import torch
from torch import Tensor, nn

from bayesprune.structure.kinds.own_norm import own_norm

LEAST = 1.0
"""Open features are taken to be at least so many: where there are none, nothing reads what is normalised."""


def masked(layer: nn.Module, features: Tensor, gates: Tensor, axis: int = -1) -> Tensor:
    """What a LayerNorm or RMSNorm says of features weighted by gates z.

    With m = sum_i z_i it takes mean = sum_i z_i x_i / m and variance = sum_i z_i (x_i - mean)^2 / m. At z in {0, 1}
    these are the statistics of the open features, so that the layer normalised over those alone is the same function.

    Args:
        layer: an `nn.LayerNorm` or `nn.RMSNorm` over one axis, or one of a user's own class.
        features: [..., F, ...].
        gates: that multiply features of this shape.
        axis: of the F features.

    Returns:
        As the layer's output, in at least float32.
    """
    wide = features if features.dtype in (torch.float32, torch.float64) else features.float()
    gates = gates.to(wide.dtype)
    count = gates.sum(axis, keepdim=True).clamp_min(LEAST)
    form = own_norm(layer)
    is_centred = isinstance(layer, nn.LayerNorm) if form is None else form.centred
    epsilon: Any = layer.eps if form is None else form.eps
    epsilon = torch.finfo(features.dtype).eps if epsilon is None else epsilon
    centred = wide - (gates * wide).sum(axis, keepdim=True) / count if is_centred else wide
    variance = (gates * centred.square()).sum(axis, keepdim=True) / count
    normal = centred * torch.rsqrt(variance + epsilon)
    if form is not None:
        return form.scaled(layer, normal)
    shape = [-1 if place == axis % features.dim() else 1 for place in range(features.dim())]
    weight, bias = getattr(layer, "weight", None), getattr(layer, "bias", None)
    if isinstance(weight, Tensor):
        normal = normal * weight.reshape(shape)
    return normal + bias.reshape(shape) if isinstance(bias, Tensor) else normal

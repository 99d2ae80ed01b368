"""Linear layers: features along the last axis."""

from typing import Any

from torch import nn

from bayesprune.structure.kinds.base import LayerKind, along, register


def _resize(layer: Any, _: int | None) -> None:
    layer.out_features, layer.in_features = layer.weight.shape


register(LayerKind((nn.Linear,), along(0, "weight", "bias"), reads=(1, -1), makes=lambda _: True, resize=_resize))

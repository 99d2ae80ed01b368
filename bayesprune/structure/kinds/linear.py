"""Linear layers: features along the last axis."""

from torch import nn

from bayesprune.structure.kinds.base import LayerKind, along, register


def _resize(layer: nn.Module, _: int | None) -> None:
    layer.out_features, layer.in_features = layer.get_parameter("weight").shape


LINEAR = register(
    LayerKind((nn.Linear,), along(0, "weight", "bias"), reads=(1, -1), makes=lambda _: True, resize=_resize)
)

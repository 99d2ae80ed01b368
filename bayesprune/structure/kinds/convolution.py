"""Convolutions, plain, depthwise and transposed: channels along axis 1."""

from typing import Any

from torch import nn

from bayesprune.structure.kinds.base import LayerKind, along, register

CONVOLUTION = nn.modules.conv._ConvNd
TRANSPOSED = nn.modules.conv._ConvTransposeNd


def _makes(layer: Any) -> bool:
    """A grouped convolution only passes its channels on, block by block."""
    return bool(layer.groups == 1)


def _resize(layer: Any, _: int | None) -> None:
    """A group reads and writes as many channels as before; there may be fewer groups."""
    if layer.groups > 1:
        layer.groups = layer.weight.shape[0] // (layer.out_channels // layer.groups)
    layer.in_channels, layer.out_channels = layer.weight.shape[1] * layer.groups, layer.weight.shape[0]


def _resize_transposed(layer: Any, _: int | None) -> None:
    if layer.groups > 1:
        layer.groups = layer.weight.shape[0] // (layer.in_channels // layer.groups)
    layer.in_channels, layer.out_channels = layer.weight.shape[0], layer.weight.shape[1] * layer.groups


register(LayerKind((CONVOLUTION,), along(0, "weight", "bias"), reads=(1, 1), makes=_makes, resize=_resize))
register(
    LayerKind(
        (TRANSPOSED,),
        lambda layer: along(1, "weight")(layer) | along(0, "bias")(layer),
        reads=(0, 1),
        makes=_makes,
        resize=_resize_transposed,
    )
)

"""Normalisations over the channels of an example: cut where their statistics are masked, or by whole groups."""

from typing import Any

from torch import nn

from bayesprune.structure.kinds.base import LayerKind, along, register


def _written(layer: nn.Module) -> dict[str, int]:
    return along(0, "weight", "bias")(layer) or {"": 0}


def _trouble(layer: Any) -> str | None:
    return None if len(layer.normalized_shape) == 1 else "normalises over several axes"


def _resize_layer(layer: Any, channels: int | None) -> None:
    if channels is not None and len(layer.normalized_shape) == 1:
        layer.normalized_shape = (channels,)


def _resize_group(layer: Any, channels: int | None) -> None:
    """Whole groups go: their width stays."""
    if channels is not None:
        width = layer.num_channels // layer.num_groups
        layer.num_channels, layer.num_groups = channels, channels // width


register(
    LayerKind(
        (nn.LayerNorm, nn.RMSNorm),
        _written,
        width=lambda layer: int(layer.normalized_shape[-1]),  # type: ignore[index]  # a tuple of torch's
        trouble=_trouble,
        resize=_resize_layer,
        opaque=True,
    )
)
register(
    LayerKind(
        (nn.GroupNorm,),
        _written,
        width=lambda layer: int(layer.num_channels),  # type: ignore[arg-type]  # an int
        resize=_resize_group,
        opaque=True,
    )
)

"""Layers that pass channels on one by one: batch and instance normalisation, PReLU."""

from typing import Any

from torch import nn

from bayesprune.structure.kinds.base import LayerKind, along, register

NORM = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)


def _normalised(layer: nn.Module) -> dict[str, int]:
    return along(0, "weight", "bias", "running_mean", "running_var")(layer) or {"": 0}


def _resize_norm(layer: Any, channels: int | None) -> None:
    if channels is not None:
        layer.num_features = channels


def _slopes(layer: Any) -> dict[str, int]:
    """One slope a channel; a single one belongs to all."""
    return {"weight": 0} if layer.weight.numel() > 1 else {}


def _resize_slopes(layer: Any, _: int | None) -> None:
    layer.num_parameters = layer.weight.numel()


register(LayerKind(NORM, _normalised, width=lambda layer: int(layer.num_features), resize=_resize_norm))  # type: ignore[arg-type]  # num_features is an int
register(LayerKind((nn.PReLU,), _slopes, resize=_resize_slopes))

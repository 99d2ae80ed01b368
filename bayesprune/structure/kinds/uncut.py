"""Layers of torch's own that cannot be cut: what mixes channels."""

from torch import nn

from bayesprune.structure.kinds.base import LayerKind, register

register(LayerKind((nn.LocalResponseNorm,), trouble=lambda _: "mixes channels", opaque=True))

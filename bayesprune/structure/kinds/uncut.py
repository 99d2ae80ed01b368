"""Layers of torch's own that cannot be cut: what mixes channels, and attention."""

from torch import nn

from bayesprune.structure.kinds.base import LayerKind, register

register(LayerKind((nn.LayerNorm, nn.GroupNorm, nn.RMSNorm), trouble=lambda _: "mixes channels", opaque=True))
register(LayerKind((nn.LocalResponseNorm,), trouble=lambda _: "mixes channels", opaque=True))
register(LayerKind((nn.MultiheadAttention,), trouble=lambda _: "is no layer that can be cut exactly", opaque=True))

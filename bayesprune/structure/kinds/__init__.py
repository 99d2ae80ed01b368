"""The kinds of layers whose channels are understood, one file each; importing this fills the table."""

from bayesprune.structure.kinds import (  # noqa: F401 - each registers its kinds
    attention,
    convolution,
    embedding,
    linear,
    normalising,
    own_norm,
    passing,
    recurrent,
    uncut,
    window_attention,
)
from bayesprune.structure.kinds.base import LayerKind, kind_of, register
from bayesprune.structure.kinds.inside import Inside, Place

__all__ = ["Inside", "LayerKind", "Place", "kind_of", "register"]

"""The kinds of layers whose channels are understood, one file each; importing this fills the table."""

from bayesprune.structure.kinds import convolution, linear, passing, uncut  # noqa: F401 - each registers its kinds
from bayesprune.structure.kinds.base import LayerKind, kind_of, register

__all__ = ["LayerKind", "kind_of", "register"]

"""Small networks of every shape in which channels are coupled, made by hand, and torchvision's, to try `find` on.

The kinds of shapes are those that pruning libraries and their users try (concatenation, grouped convolutions,
attention, recurrent layers, ...); all networks are written here.
"""

from benchmarks._zoo import (
    attention,
    blocks,
    convolutions,
    reshapes,
    scattered,
    sequences,
    wiring,
    written_out,
)
from benchmarks._zoo.shape import SHAPES, Shape

__all__ = [
    "SHAPES",
    "Shape",
    "attention",
    "blocks",
    "convolutions",
    "reshapes",
    "scattered",
    "sequences",
    "wiring",
    "written_out",
]

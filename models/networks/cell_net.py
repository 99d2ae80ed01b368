"""Networks for pictures that are stacks of one cell: a small graph whose edges are operations."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from bayesprune.graphs.cells import Cell
from bayesprune.models.networks.graph_masks import check_sizes
from bayesprune.models.networks.lenet import check_widths
from bayesprune.run.networks import register, require_size


def _convolution(reads: int, writes: int, size: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(reads, writes, size, stride, size // 2, groups=groups, bias=False)


def operation(name: str, width: int) -> nn.Module:
    """What an edge of a cell does to [B, width, H, W]; convolutions come after a rectifier and are normalised."""
    if name == "skip":
        return nn.Identity()
    if name == "avg3":
        return nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    size = int(name[-1])
    depthwise = [_convolution(width, width, size, groups=width)] if name.startswith("sep") else []
    last = _convolution(width, width, 1 if depthwise else size)
    return nn.Sequential(nn.ReLU(), *depthwise, last, nn.BatchNorm2d(width))


class CellBlock(nn.Module):
    """One cell: every vertex is the sum of what its edges bring.

    Args:
        cell: the graph.
        width: channels of all vertices.
    """

    def __init__(self, cell: Cell, width: int) -> None:
        super().__init__()
        self.readers = [[start for start, end, _ in cell.edges if end == vertex] for vertex in range(cell.vertices)]
        self.edges = nn.ModuleDict(
            {f"{start}-{end}": operation(name, width) for (start, end), name in cell.operations.items()}
        )

    def forward(self, maps: Tensor) -> Tensor:
        """[B, C, H, W]."""
        values = [maps]
        for vertex, starts in enumerate(self.readers[1:], 1):
            brought = [self.edges[f"{start}-{vertex}"](values[start]) for start in starts]
            total = brought[0]
            for one in brought[1:]:
                total = total + one
            values.append(total)
        return values[-1]


@register("cellnet")
class CellNet(nn.Module):
    """A convolution, stages of equal cells, an average over places and a linear layer.

    Between two stages a 3x3 convolution halves the size and doubles the channels.

    Args:
        cell: a `bayesprune.graphs.Cell`, or its text.
        cells: in each stage.
        stages: how many.
        stride: of the first convolution.
        widths: one number: channels of the first stage.
        input_shape: channels, height and width; the last stage has at least one place.
        classes: outputs.

    Raises:
        GraphError: what is given is no cell.
        SettingError: a size that is not possible.
        InputShapeError: pictures that are too small.
    """

    def __init__(
        self,
        cell: Any = "0-1:conv3+0-2:skip+1-2:conv3",
        cells: int = 1,
        stages: int = 3,
        stride: int = 2,
        widths: Sequence[int] = (8,),
        input_shape: Sequence[int] = (1, 28, 28),
        classes: int = 10,
    ) -> None:
        super().__init__()
        check_widths("cellnet", widths, 1, classes)
        check_sizes(cells=cells, stages=stages, stride=stride)
        least = 2 ** (stages - 1)
        require_size("cellnet", tuple(input_shape), (1, least, least))
        self.cell = Cell.read(cell) if isinstance(cell, str) else cell
        self.spec_arguments = {
            "cell": str(self.cell), "cells": cells, "stages": stages, "stride": stride, "widths": list(widths),
            "input_shape": list(input_shape), "classes": classes,
        }  # fmt: skip
        width = widths[0]
        self.stem = nn.Sequential(_convolution(input_shape[0], width, 3, stride), nn.BatchNorm2d(width))
        parts: list[nn.Module] = []
        for stage in range(stages):
            if stage:
                halved = _convolution(width, 2 * width, 3, 2)
                width *= 2
                parts.append(nn.Sequential(nn.ReLU(), halved, nn.BatchNorm2d(width)))
            parts += [CellBlock(self.cell, width) for _ in range(cells)]
        self.parts = nn.Sequential(*parts)
        self.head = nn.Linear(width, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits [B, classes] of pictures [B, C, H, W]."""
        maps = self.parts(self.stem(inputs)).relu()
        logits: Tensor = self.head(maps.mean((2, 3)))
        return logits

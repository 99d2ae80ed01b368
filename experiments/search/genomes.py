"""Genomes: what a candidate network is made from, as a value with a name."""

from dataclasses import dataclass
from functools import cached_property
from math import log, prod
from typing import Any, Protocol

from bayesprune.graphs import OPERATIONS, Cell, LayeredGraph, features, graph_name, layered, named_graph
from bayesprune.models.networks.graph_masks import sources_of


class Genome(Protocol):
    """What a search knows of a candidate.

    Two genomes with equal networks and widths are the same candidate.
    """

    @property
    def network(self) -> str:
        """The network by name, with its arguments."""

    @property
    def width(self) -> int:
        """The number of the setting `widths`."""

    def macs(self, shape: tuple[int, ...], classes: int) -> int:
        """Multiply-accumulates of one example of this shape."""

    def properties(self, shape: tuple[int, ...], classes: int) -> dict[str, float]:
        """What accuracy is predicted from."""


@dataclass(frozen=True)
class GraphGenome:
    """A feed-forward network with the structure of a random graph (`bayesprune.models.GraphMLP`).

    Attributes:
        family: the generator.
        seed: of the generator.
        numbers: its other numbers, by name.
        width: units that each vertex stands for.
    """

    family: str
    seed: int
    numbers: tuple[tuple[str, float], ...]
    width: int

    @property
    def network(self) -> str:
        """As `--network` takes it."""
        return f"graphmlp(graph={graph_name(self.family, self.seed, dict(self.numbers))})"

    @cached_property
    def graph(self) -> LayeredGraph:
        """The graph in layers.

        Raises:
            GraphError: none of the graphs that were drawn is connected.
        """
        return layered(named_graph(graph_name(self.family, self.seed, dict(self.numbers))))

    def macs(self, shape: tuple[int, ...], classes: int) -> int:
        """Multiply-accumulates of one example: of whole matrices, masked entries included, as runs count them."""
        sizes = [size * self.width for size in self.graph.sizes]
        between = sum(
            sizes[layer] * sum(sizes[source] for source in sources_of(self.graph, layer))
            for layer in range(1, len(sizes))
        )
        return prod(shape) * sizes[0] + between + sizes[-1] * classes

    def properties(self, shape: tuple[int, ...], classes: int) -> dict[str, float]:
        """The 23 properties of the graph, and logarithms of the sizes that the width gives it."""
        found = features(self.graph)
        sizes = self.graph.sizes
        return found | {
            "log width": log(self.width),
            "log first layer": log(sizes[0] * self.width),
            "log narrowest layer": log(min(sizes) * self.width),
            "log last layer": log(sizes[-1] * self.width),
            "log units": log(sum(sizes) * self.width),
            "log layers": log(len(sizes)),
            "log macs": log(self.macs(shape, classes)),
        }


@dataclass(frozen=True)
class CellGenome:
    """A network for pictures, stacked from one cell (`bayesprune.models.CellNet`).

    Attributes:
        cell: the graph whose edges are operations.
        width: channels of the first stage.
        cells, stages, stride: of the network.
    """

    cell: Cell
    width: int
    cells: int = 1
    stages: int = 3
    stride: int = 2

    @property
    def network(self) -> str:
        """As `--network` takes it; what is as usual is left out."""
        usual = {"cells": 1, "stages": 3, "stride": 2}
        more = "".join(f", {name}={getattr(self, name)}" for name, one in usual.items() if getattr(self, name) != one)
        return f"cellnet(cell={self.cell}{more})"

    def macs(self, shape: tuple[int, ...], classes: int) -> int:
        """Multiply-accumulates of one example, of convolutions and the linear layer."""
        channels, width = shape[0], self.width
        places = _places(shape[1:], self.stride)
        total = channels * width * 9 * prod(places)
        for stage in range(self.stages):
            if stage:
                places, width = _places(places, 2), 2 * width
                total += width // 2 * width * 9 * prod(places)
            total += self.cells * prod(places) * sum(_weights(name, width) for *_, name in self.cell.edges)
        return total + width * classes

    def properties(self, shape: tuple[int, ...], classes: int) -> dict[str, float]:
        """Counts of operations, sizes of the graph, its longest paths, and logarithms of width and cost."""
        edges = self.cell.operations
        found = {f"edges with {name}": float(sum(one == name for one in edges.values())) for name in OPERATIONS}
        return found | {
            "vertices": self.cell.vertices,
            "edges": len(edges),
            "convolutions on a path": _longest(edges, lambda name: name.startswith(("conv", "sep"))),
            "3x3 convolutions on a path": _longest(edges, lambda name: name in ("conv3", "sep3")),
            "shortcut": float(_through(edges, "skip")),
            "log width": log(self.width),
            "log macs": log(self.macs(shape, classes)),
        }


def _places(size: tuple[int, ...], stride: int) -> tuple[int, ...]:
    """Height and width after a convolution with padding."""
    return tuple((one - 1) // stride + 1 for one in size)


def _weights(name: str, width: int) -> int:
    """Multiply-accumulates of an operation at one place."""
    return {"conv1": width**2, "conv3": 9 * width**2, "sep3": 9 * width + width**2}.get(name, 0)


def _longest(edges: dict[tuple[int, int], str], counts: Any) -> float:
    """The most edges of a kind on a path from input to output."""
    most: dict[int, float] = {0: 0.0}
    for start, end in sorted(edges, key=lambda pair: (pair[1], pair[0])):
        most[end] = max(most.get(end, 0.0), most[start] + float(counts(edges[start, end])))
    return most[max(most)]


def _through(edges: dict[tuple[int, int], str], name: str) -> bool:
    """Whether a path of one operation alone leads from input to output."""
    reached, output = {0}, max(end for _, end in edges)
    for start, end in sorted(edges):
        if start in reached and edges[start, end] == name:
            reached.add(end)
    return output in reached

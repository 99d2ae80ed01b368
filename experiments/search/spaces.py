"""Spaces of genomes: drawing one, changing one, and crossing two."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np

from bayesprune.errors import GraphError, SettingError, UnknownNameError
from bayesprune.experiments.search.genomes import CellGenome, GraphGenome
from bayesprune.graphs import FAMILIES, OPERATIONS, Cell
from bayesprune.graphs.cells import MOST_VERTICES
from bayesprune.run.settings import check_integer

Random = np.random.Generator
G = TypeVar("G")
_TRIES, _SEEDS = 200, 1000


class Space(Protocol[G]):
    """Where a search looks; `random` alone decides what comes back."""

    def draw(self, random: Random) -> G:
        """A genome at random."""

    def mutate(self, genome: G, random: Random) -> G:
        """One that differs in one gene; the same where there is no other."""

    def cross(self, one: G, other: G, random: Random) -> G:
        """One with genes of both."""


@dataclass(frozen=True)
class GraphSpace:
    """Random graphs with widths.

    Attributes:
        families: of generators.
        vertices: fewest and most.
        widths: fewest and most units of a vertex.
    """

    families: tuple[str, ...] = FAMILIES
    vertices: tuple[int, int] = (8, 40)
    widths: tuple[int, int] = (1, 16)

    def __post_init__(self) -> None:
        for family in self.families:
            if family not in FAMILIES:
                raise UnknownNameError("family of random graphs", family, FAMILIES)
        if not self.families:
            raise SettingError(f"there are no families to search: take some of {', '.join(FAMILIES)}")
        _check_range("vertices", self.vertices, 6)
        _check_range("widths", self.widths, 1)

    def draw(self, random: Random) -> GraphGenome:
        """Family and vertices uniform, width uniform on a logarithmic scale, and numbers that fit the vertices."""
        return _valid(lambda: self._drawn(self.families[int(random.integers(len(self.families)))], random))

    def _drawn(self, family: str, random: Random) -> GraphGenome:
        vertices = int(random.integers(self.vertices[0], self.vertices[1] + 1))
        numbers = {"vertices": vertices} | {name: _number(name, vertices, random) for name in _NUMBERS[family]}
        return _graph(family, int(random.integers(_SEEDS)), numbers, _log_uniform(self.widths, random))

    def mutate(self, genome: GraphGenome, random: Random) -> GraphGenome:
        """Another family, seed or width, or one number another; numbers move a little or are drawn anew."""

        def changed() -> GraphGenome:
            numbers = dict(genome.numbers)
            genes = ["seed", "width", *numbers, *(["family"] if len(self.families) > 1 else [])]
            gene = genes[int(random.integers(len(genes)))]
            if gene == "family":
                others = [name for name in self.families if name != genome.family]
                family = others[int(random.integers(len(others)))]
                own = {"vertices": numbers["vertices"]}
                own |= {name: _number(name, int(own["vertices"]), random) for name in _NUMBERS[family]}
                return _graph(family, genome.seed, own, genome.width)
            if gene == "seed":
                return _graph(genome.family, int(random.integers(_SEEDS)), numbers, genome.width)
            if gene == "width":
                return replace(genome, width=_moved(genome.width, self.widths, random))
            if gene == "vertices":
                numbers["vertices"] = _moved(int(numbers["vertices"]), self.vertices, random)
            else:
                numbers[gene] = _number(gene, int(numbers["vertices"]), random)
            return _graph(genome.family, genome.seed, numbers, genome.width)

        return _valid(lambda: _other(changed, genome), otherwise=genome)

    def cross(self, one: GraphGenome, other: GraphGenome, random: Random) -> GraphGenome:
        """Family of the first; seed, width and shared numbers of either."""

        def crossed() -> GraphGenome:
            theirs = dict(other.numbers)
            numbers = {
                name: theirs[name] if name in theirs and random.random() < 0.5 else value for name, value in one.numbers
            }
            width = one.width if random.random() < 0.5 else other.width
            seed = one.seed if random.random() < 0.5 else other.seed
            return _graph(one.family, seed, numbers, width)

        return _valid(crossed, otherwise=one)


_NUMBERS = {"barabasi-albert": ("edges",), "watts-strogatz": ("neighbours", "rewire"), "erdos-renyi": ("probability",)}


def _number(name: str, vertices: int, random: Random) -> float:
    """A number of a generator that fits so many vertices."""
    if name == "edges":
        return int(random.integers(1, vertices // 2 + 1))
    if name == "neighbours":
        return 2 * int(random.integers(1, vertices // 4 + 1))
    return round(int(random.integers(1, 10)) / 10, 1) if name == "probability" else int(random.integers(11)) / 10


def _graph(family: str, seed: int, numbers: dict[str, float], width: int) -> GraphGenome:
    """A genome whose numbers fit its vertices; a ring without rewiring has no seed of its own."""
    vertices = int(numbers["vertices"])
    most = {"edges": vertices // 2, "neighbours": 2 * (vertices // 4)}
    fitting = {name: min(value, most.get(name, value)) for name, value in numbers.items()}
    return GraphGenome(family, 0 if fitting.get("rewire") == 0 else seed, tuple(fitting.items()), width)


@dataclass(frozen=True)
class CellSpace:
    """Cells with widths, stacked into networks for pictures.

    Attributes:
        vertices: of a cell at most, input and output included.
        operations: that edges may carry.
        widths: fewest and most channels of the first stage.
        cells, stages, stride: of all networks.
    """

    vertices: int = 4
    operations: tuple[str, ...] = OPERATIONS
    widths: tuple[int, int] = (2, 12)
    cells: int = 1
    stages: int = 3
    stride: int = 2

    def __post_init__(self) -> None:
        for name in self.operations:
            if name not in OPERATIONS:
                raise UnknownNameError("operation of a cell", name, OPERATIONS)
        if not self.operations:
            raise SettingError(f"there are no operations to search: take some of {', '.join(OPERATIONS)}")
        check_integer("vertices", self.vertices, 2, MOST_VERTICES)
        _check_range("widths", self.widths, 1)

    def draw(self, random: Random) -> CellGenome:
        """Every edge has any operation or is absent, all alike; width uniform on a logarithmic scale."""

        def drawn() -> CellGenome:
            frame = {pair: self._choice(random) for pair in self._pairs()}
            return self._genome(frame, _log_uniform(self.widths, random))

        return _valid(drawn)

    def mutate(self, genome: CellGenome, random: Random) -> CellGenome:
        """Another width, or one edge with another operation, absent ones included."""

        def changed() -> CellGenome:
            pairs = self._pairs()
            gene = int(random.integers(len(pairs) + 1))
            if gene == len(pairs):
                return replace(genome, width=_moved(genome.width, self.widths, random))
            frame = self._frame(genome.cell) | {pairs[gene]: self._choice(random)}
            return self._genome(frame, genome.width)

        return _valid(lambda: _other(changed, genome), otherwise=genome)

    def cross(self, one: CellGenome, other: CellGenome, random: Random) -> CellGenome:
        """Every edge, and the width, of either."""

        def crossed() -> CellGenome:
            ours, theirs = self._frame(one.cell), self._frame(other.cell)
            frame = {pair: (ours if random.random() < 0.5 else theirs).get(pair) for pair in self._pairs()}
            return self._genome(frame, one.width if random.random() < 0.5 else other.width)

        return _valid(crossed, otherwise=one)

    def _pairs(self) -> list[tuple[int, int]]:
        return [(start, end) for end in range(1, self.vertices) for start in range(end)]

    def _choice(self, random: Random) -> str | None:
        """An operation, or None for no edge."""
        return (*self.operations, None)[int(random.integers(len(self.operations) + 1))]

    def _frame(self, cell: Cell) -> dict[tuple[int, int], str | None]:
        """The edges with the output moved to the last vertex that this space has."""
        last = cell.vertices - 1
        return {
            (start, self.vertices - 1 if end == last else end): operation
            for (start, end), operation in cell.operations.items()
        }

    def _genome(self, frame: dict[tuple[int, int], str | None], width: int) -> CellGenome:
        edges = {pair: operation for pair, operation in frame.items() if operation is not None}
        if not any(end == self.vertices - 1 for _, end in edges):
            raise GraphError("nothing leads to the output")
        return CellGenome(Cell.of(edges), width, self.cells, self.stages, self.stride)


SPACES: dict[str, Any] = {"graphs": GraphSpace, "cells": CellSpace}
"""The spaces by name."""


def _valid(make: Callable[[], G], otherwise: G | None = None) -> G:
    """The first genome for which there is a graph.

    Raises:
        GraphError: there was none among many, and nothing to take instead.
    """
    for _ in range(_TRIES):
        try:
            made = make()
            if isinstance(made, GraphGenome):
                _ = made.graph
        except GraphError:
            continue
        return made
    if otherwise is None:
        raise GraphError(f"{_TRIES:,} genomes were drawn, and there is a graph for none: search wider ranges")
    return otherwise


def _other(make: Callable[[], G], genome: G) -> G:
    """A genome that is another one.

    Raises:
        GraphError: it is the same.
    """
    made = make()
    if made == genome:
        raise GraphError("the genome is the same")
    return made


def _log_uniform(limits: tuple[int, int], random: Random) -> int:
    low, high = limits
    return min(high, int(np.exp(random.uniform(np.log(low), np.log(high + 1)))))


def _moved(value: int, limits: tuple[int, int], random: Random) -> int:
    """A number some steps away: up to a third of it, at least one."""
    step = int(random.integers(1, max(1, value // 3) + 1))
    return int(np.clip(value + (step if random.random() < 0.5 else -step), *limits))


def _check_range(name: str, limits: Sequence[int], least: int) -> None:
    """Refuse a range that holds nothing.

    Raises:
        SettingError: naming it.
    """
    if len(limits) != 2 or not least <= limits[0] <= limits[1]:
        raise SettingError(f"{name} from {' to '.join(map(str, limits))}: give two numbers, {least} <= first <= second")

"""Cell graphs: small directed graphs whose edges carry operations, as architecture search has them.

Vertex 0 is the cell's input and the last vertex its output; a vertex is the sum of what its edges bring (as in
NAS-Bench-201, arXiv 2001.00326).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import permutations

from bayesprune.errors import GraphError, UnknownNameError

OPERATIONS = ("skip", "conv1", "conv3", "sep3", "avg3")
"""What an edge can do: nothing; a convolution of 1x1 or 3x3; a depthwise 3x3 and a 1x1 one; an average over 3x3."""

MOST_VERTICES = 7
"""Of a cell, input and output included; its form is found by trying all orders of those between."""

Edges = Mapping[tuple[int, int], str]


@dataclass(frozen=True)
class Cell:
    """A cell graph in its one form: equal graphs are equal values, however their vertices were numbered.

    Attributes:
        edges: (from, to, operation) with from < to, sorted; every edge lies on a path from input to output.
    """

    edges: tuple[tuple[int, int, str], ...]

    @classmethod
    def of(cls, edges: Edges) -> "Cell":
        """A cell of edges with their operations; those on no path from vertex 0 to the highest vertex are dropped.

        Raises:
            GraphError: an edge leads backwards, no path leads from input to output, or there are too many vertices.
            UnknownNameError: there is no such operation.
        """
        for (start, end), operation in edges.items():
            if operation not in OPERATIONS:
                raise UnknownNameError("operation of a cell", operation, OPERATIONS)
            if not 0 <= start < end < MOST_VERTICES:
                raise GraphError(
                    f"edge {start}-{end} of a cell: take 0 <= from < to < {MOST_VERTICES}, from the input 0 upwards"
                )
        output = max((end for _, end in edges), default=0)
        used = _reached(edges, 0) & _reached({(end, start): "" for start, end in edges}, output)
        if not {0, output} <= used or output == 0:
            raise GraphError(f"cell {_text(_triples(edges))!r}: no path leads from its input to its output")
        kept = {pair: operation for pair, operation in edges.items() if used.issuperset(pair)}
        return cls(min(_orders(kept, sorted(used))))

    @classmethod
    def read(cls, text: str) -> "Cell":
        """A cell from its text, such as "0-1:conv3+0-2:skip+1-2:conv1".

        Raises:
            GraphError: it cannot be read, or is no cell.
            UnknownNameError: there is no such operation.
        """
        edges: dict[tuple[int, int], str] = {}
        for part in text.split("+"):
            pair, _, operation = part.partition(":")
            start, _, end = pair.partition("-")
            if not (start.isdecimal() and end.isdecimal()) or (int(start), int(end)) in edges:
                raise GraphError(f"cell {text!r}: write each edge once, as in 0-1:conv3+0-2:skip+1-2:conv1")
            edges[int(start), int(end)] = operation
        return cls.of(edges)

    @property
    def vertices(self) -> int:
        """How many, input and output included."""
        return 1 + max(end for _, end, _ in self.edges)

    @property
    def operations(self) -> dict[tuple[int, int], str]:
        """The operation of each edge."""
        return {(start, end): operation for start, end, operation in self.edges}

    def __str__(self) -> str:
        return _text(self.edges)


def _reached(edges: Edges, start: int) -> set[int]:
    """The vertices to which a path leads, the start included."""
    found, new = set[int](), {start}
    while new:
        found |= new
        new = {end for begin, end in edges if begin in new} - found
    return found


def _orders(edges: Edges, used: list[int]) -> Iterable[tuple[tuple[int, int, str], ...]]:
    """The edges under every numbering of the vertices between in which all edges lead upwards."""
    between = used[1:-1]
    for order in permutations(range(1, len(used) - 1)):
        place = {used[0]: 0, used[-1]: len(used) - 1, **dict(zip(between, order, strict=True))}
        moved = {(place[start], place[end]): operation for (start, end), operation in edges.items()}
        if all(start < end for start, end in moved):
            yield _triples(moved)


def _triples(edges: Edges) -> tuple[tuple[int, int, str], ...]:
    return tuple(sorted((start, end, operation) for (start, end), operation in edges.items()))


def _text(edges: Iterable[tuple[int, int, str]]) -> str:
    return "+".join(f"{start}-{end}:{operation}" for start, end, operation in edges)

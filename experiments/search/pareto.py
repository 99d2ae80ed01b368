"""Non-dominated sorting and crowding distances (Deb et al., NSGA-II, 2002)."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def ranks(values: Sequence[Sequence[float]]) -> list[int]:
    """The front of each point: 0 for points that no other dominates, 1 for those that only these do, and so on.

    Args:
        values: [N, K], more is better in every column. One point dominates another where it is nowhere less and
            somewhere more.
    """
    points = np.asarray(values, dtype=float).reshape(len(values), -1)
    below = np.all(points[:, None] >= points[None], 2) & np.any(points[:, None] > points[None], 2)  # row beats column
    found = np.full(len(points), -1)
    front = 0
    while (left := found < 0).any():
        free = left & ~below[left].any(0)
        found[free] = front
        front += 1
    return [int(rank) for rank in found]


def front(values: Sequence[Sequence[float]]) -> list[int]:
    """The places of the points that no other dominates, in their order."""
    return [place for place, rank in enumerate(ranks(values)) if rank == 0]


def crowding(values: Sequence[Sequence[float]]) -> list[float]:
    """How far the neighbours of each point of one front are, added up over columns; infinite at the ends.

    Args:
        values: [N, K]; every column is measured in units of its range.
    """
    points = np.asarray(values, dtype=float).reshape(len(values), -1)
    found = np.zeros(len(points))
    for column in points.T:
        order = np.argsort(column, kind="stable")
        spread = column[order[-1]] - column[order[0]]
        found[order[[0, -1]]] = np.inf
        if spread > 0:
            found[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / spread
    return found.tolist()


def fitness(values: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    """What tournaments compare, more is better: fronts first, then how uncrowded a point is within its own."""
    rank = ranks(values)
    found = [(0.0, 0.0)] * len(rank)
    for level in set(rank):
        members = [place for place, own in enumerate(rank) if own == level]
        for place, distance in zip(members, crowding([values[place] for place in members]), strict=True):
            found[place] = (-float(level), distance)
    return found

"""How probable a graph is that comes of a ring by rewiring its edges.

The generator goes through the edges (u, v) of the ring. Each is kept, or becomes (u, w) with w drawn among the vertices
that u is not joined to. So an edge that was dealt with is never touched again, and one that was not is still there: the
edges of the final graph that are there already say all that matters for what comes next.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from bayesprune.errors import GraphError

Floats = npt.NDArray[np.float64]
Edge = tuple[int, int]

MOST_STATES = 300_000
"""Sets of edges that are kept in mind at once."""


def rewirings(joined: Sequence[Edge], vertices: int, neighbours: int) -> Floats:
    """The ways [t + 1] in which `watts_strogatz(vertices, neighbours)` gives exactly these edges.

    With t = vertices * (neighbours // 2) edges on the ring and rewiring probability x, the graph has probability
    sum_r ways[r] x^r (1 - x)^(t - r), before graphs that are not connected are left out.

    Args:
        joined: edges (low, high).
        vertices: n.
        neighbours: on the ring, k.

    Raises:
        GraphError: numbers for which there is no such graph, or too many ways to keep in mind.
    """
    ring = _ring(vertices, neighbours)
    if len(joined) != len(ring):
        return np.zeros(len(ring) + 1)
    final = {edge: 1 << place for place, edge in enumerate(joined)}
    states = {0: _none(ring)}
    for step in range(len(ring)):
        states = _advanced(states, step, ring, vertices, final)
    return states.get(2 ** len(ring) - 1, np.zeros(len(ring) + 1))


def rewired_rings(vertices: int, neighbours: int) -> Iterator[tuple[list[Edge], Floats]]:
    """All graphs that come of the ring, each with its ways; see `rewirings`.

    Raises:
        GraphError: numbers for which there is no such graph, or too many graphs.
    """
    ring = _ring(vertices, neighbours)
    places = {(low, high): 1 << p for p, (low, high) in enumerate(_pairs(vertices))}
    states = {0: _none(ring)}
    for step in range(len(ring)):
        states = _advanced(states, step, ring, vertices, places)
    for state, ways in states.items():
        yield [edge for edge, bit in places.items() if state & bit], ways


def _advanced(
    states: dict[int, Floats], step: int, ring: Sequence[Edge], vertices: int, places: dict[Edge, int]
) -> dict[int, Floats]:
    """One more edge of the ring dealt with; a state is the set of edges that were, and `places` those that may be."""
    near, far = ring[step]
    waiting = {_ordered(*edge) for edge in ring[step:]}
    beside = {other: places.get(_ordered(near, other), 0) for other in range(vertices) if other != near}
    undone = [other for other in beside if _ordered(near, other) in waiting]
    found: dict[int, Floats] = {}

    def add(state: int, ways: Floats) -> None:
        found[state] = found[state] + ways if state in found else ways

    for state, ways in states.items():
        taken = [other for other, bit in beside.items() if state & bit]
        degree = len(taken) + len(undone)
        rewired = np.roll(ways, 1)
        if degree == vertices - 1:  # joined to all: whatever is decided, the edge stays
            if beside[far]:
                add(state | beside[far], ways + rewired)
            continue
        if beside[far]:
            add(state | beside[far], ways)
        share = rewired / (vertices - 1 - degree)
        for other, bit in beside.items():
            if bit and not state & bit and other not in undone:
                add(state | bit, share)
        if len(found) > MOST_STATES:
            raise GraphError(
                f"more than {MOST_STATES:,} ways to rewire a ring of {vertices} vertices with {len(ring)} edges: take "
                "fewer vertices or neighbours"
            )
    return found


def _ring(vertices: int, neighbours: int) -> list[Edge]:
    """Its edges, in the order in which the generator goes through them."""
    if not 2 <= neighbours < vertices:
        raise GraphError(
            f"watts-strogatz with {vertices} vertices and {neighbours} neighbours: take 2 <= neighbours < vertices"
        )
    return [(v, (v + step) % vertices) for step in range(1, neighbours // 2 + 1) for v in range(vertices)]


def _none(ring: Sequence[Edge]) -> Floats:
    found = np.zeros(len(ring) + 1)
    found[0] = 1.0
    return found


def _pairs(vertices: int) -> Iterator[Edge]:
    return ((low, high) for high in range(vertices) for low in range(high))


def _ordered(one: int, other: int) -> Edge:
    return (one, other) if one < other else (other, one)

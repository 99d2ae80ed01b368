"""How probable a graph is that grows by preferential attachment."""

from collections.abc import Sequence

from bayesprune.errors import GraphError


def growth_probability(joined: Sequence[tuple[int, int]], vertices: int, m: int) -> float:
    """The probability that `barabasi_albert(vertices, m)` gives exactly these edges; 0 where it never does.

    The edges of a labelled graph say whom each new vertex was joined to, so that the probability is a product over
    vertices. The m targets are drawn one after the other in proportion to degree, those already drawn left out; which
    came first is not known, and is summed over.

    Args:
        joined: edges (low, high).
        vertices: n.
        m: edges of each new vertex.

    Raises:
        GraphError: numbers for which there is no such graph.
    """
    if not 1 <= m < vertices:
        raise GraphError(f"barabasi-albert with {vertices} vertices and {m} edges a vertex: take 1 <= edges < vertices")
    earlier: list[list[int]] = [[] for _ in range(vertices)]
    for low, high in joined:
        earlier[high].append(low)
    if any(earlier[:m]) or earlier[m] != list(range(m)) or any(len(targets) != m for targets in earlier[m:]):
        return 0.0
    degree = [1] * m + [m] + [0] * (vertices - m - 1)
    found = 1.0
    for new in range(m + 1, vertices):
        found *= _drawn_in_any_order([degree[target] for target in earlier[new]], sum(degree))
        for target in earlier[new]:
            degree[target] += 1
        degree[new] = m
    return found


def _drawn_in_any_order(weights: Sequence[int], total: int) -> float:
    """The probability that these are drawn first, without replacement, in proportion to weight: over all subsets."""
    size = len(weights)
    so_far = [0.0] * 2**size
    so_far[0] = 1.0
    for drawn in range(2**size - 1):
        left = total - sum(weight for place, weight in enumerate(weights) if drawn >> place & 1)
        for place, weight in enumerate(weights):
            if not drawn >> place & 1:
                so_far[drawn | 1 << place] += so_far[drawn] * weight / left
    return so_far[-1]

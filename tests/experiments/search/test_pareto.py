"""Non-dominated sorting against what its definition says, point by point."""

from hypothesis import given
from hypothesis import strategies as st

from bayesprune.experiments.search.pareto import crowding, fitness, front, ranks

Point = tuple[int, ...]
POINTS = st.integers(1, 3).flatmap(
    lambda columns: st.lists(st.tuples(*[st.integers(0, 4)] * columns), min_size=1, max_size=12)
)


def dominates(one: Point, other: Point) -> bool:
    return all(a >= b for a, b in zip(one, other, strict=True)) and one != other


@given(POINTS)
def test_ranks_are_those_of_peeling_off_fronts(points: list[Point]) -> None:
    expected, left, level = [-1] * len(points), set(range(len(points))), 0
    while left:
        free = {a for a in left if not any(dominates(points[b], points[a]) for b in left)}
        for place in free:
            expected[place] = level
        left, level = left - free, level + 1
    assert ranks(points) == expected
    assert front(points) == [place for place, rank in enumerate(expected) if rank == 0]


def test_crowding_by_hand() -> None:
    points = [(0, 10), (1, 6), (4, 2), (10, 0)]
    assert crowding(points) == [float("inf"), 4 / 10 + 8 / 10, 9 / 10 + 6 / 10, float("inf")]
    assert crowding([(3, 3), (3, 3), (3, 3)])[1] == 0.0


def test_a_lower_front_never_beats_a_higher_one() -> None:
    points = [(0, 10), (1, 6), (4, 2), (10, 0), (0, 9), (0, 0)]
    scores = fitness(points)
    assert min(scores[:4]) > scores[4] > scores[5]
    assert fitness([(1.0,), (3.0,), (2.0,)])[1] == (0.0, float("inf"))

"""Timing several sides step by step in turn, so that a machine's noise hits all of them."""

from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter

Step = Callable[[], object]


def paired(
    sides: Sequence[Step], steps: int, *, warm_up: int, clock: Callable[[], float] = perf_counter
) -> list[float]:
    """Median milliseconds of each side.

    Args:
        sides: called in turn.
        steps: rounds that count.
        warm_up: rounds before them that do not.
        clock: seconds; `time.process_time` leaves out other processes' turns.
    """
    taken: list[list[float]] = [[] for _ in sides]
    for number in range(warm_up + steps):
        for side, times in zip(sides, taken, strict=True):
            begin = clock()
            side()
            if number >= warm_up:
                times.append(clock() - begin)
    return [1e3 * median(times) for times in taken]

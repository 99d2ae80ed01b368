"""How many stay after each round, against sequences worked out by hand."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bayesprune.errors import SettingError, UnknownNameError
from bayesprune.pruners.schedule import SCHEDULES, rounds_of, scores_alive

NONE = torch.zeros(0)


def sequence(schedule: str, total: int, goal: int, scores: Tensor = NONE, **given: Any) -> list[int]:
    """How many are alive after every round."""
    rounds, alive, found = rounds_of(schedule, total, goal, **given), total, []
    for number in range(1, rounds.count + 1):
        alive = rounds.after(number, alive, total, goal, scores[-alive:])
        found.append(alive)
    return found


@pytest.mark.parametrize(
    ("schedule", "given", "expected"),
    [
        ("one-shot", {}, [100]),
        ("percentage", {"rate": 0.5}, [500, 250, 125, 100]),
        ("percentage", {}, [800, 640, 512, 410, 328, 262, 210, 168, 134, 107, 100]),
        ("absolute", {"rate": 400}, [600, 200, 100]),
        ("absolute", {}, [910, 820, 730, 640, 550, 460, 370, 280, 190, 100]),
        # 100 + 900 (1 - r/3)^3: 8/27 and 1/27 of 900 are 266.7 and 33.3.
        ("cubic", {"rounds": 3}, [367, 133, 100]),
        ("exponential", {"rounds": 2}, [316, 100]),  # 1000 x 0.1^(1/2)
    ],
)
def test_rounds_by_hand(schedule: str, given: dict[str, Any], expected: list[int]) -> None:
    assert sequence(schedule, 1000, 100, **given) == expected


@pytest.mark.parametrize(
    ("schedule", "goal", "rate", "count"),
    [("percentage", 512, 0.2, 3), ("percentage", 729, 0.1, 3), ("percentage", 343, 0.3, 3), ("absolute", 979, 0.7, 30)],
)
def test_a_goal_that_whole_rounds_reach_needs_no_round_more(schedule: str, goal: int, rate: float, count: int) -> None:
    """0.8^3 of 1000 is 512, though log(0.512) / log(0.8) is a little more than 3 in floating point."""
    found = sequence(schedule, 1000, goal, rate=rate)
    assert len(found) == count and found[-1] == goal


def test_a_bucket_holds_the_lowest_scores() -> None:
    # Scores 1, 2, 3, 4 of sum 10: a bucket of half of it holds 1 and 2 (3 more would make 6); what is left sums to 7,
    # half of it is 3.5, which holds the 3.
    scores = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert sequence("bucket", 4, 1, scores, rate=0.5, rounds=3) == [2, 1, 1]
    # Scores below zero are free.
    assert sequence("bucket", 4, 1, torch.tensor([-5.0, -1.0, 3.0, 4.0]), rate=0.1, rounds=2) == [2, 1]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_nothing_to_remove_is_one_round_at_most_of_nothing(schedule: str) -> None:
    assert set(sequence(schedule, 50, 50, torch.ones(50))) == {50}


@given(st.sampled_from(sorted(SCHEDULES)), st.integers(1, 5000), st.floats(0.001, 1), st.integers(1, 20))
def test_never_more_than_before_and_the_goal_at_the_end(schedule: str, total: int, share: float, rounds: int) -> None:
    goal = max(1, round(share * total))
    found = sequence(schedule, total, goal, torch.linspace(0, 1, total), rounds=rounds)
    assert found[-1] == goal and all(a >= b >= goal for a, b in zip([total, *found], found, strict=False))


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown schedule 'cubi': did you mean 'cubic'"):
        rounds_of("cubi", 10, 5)
    for rate in (0.0, -1.0, float("nan")):
        with pytest.raises(SettingError, match="rate must be a finite number > 0"):
            rounds_of("percentage", 10, 5, rate=rate)
    with pytest.raises(SettingError, match="rate must be < 1"):
        rounds_of("percentage", 10, 5, rate=1.0)
    with pytest.raises(SettingError, match="rounds must be an integer >= 1"):
        rounds_of("cubic", 10, 5, rounds=0)


def test_scores_of_what_is_alive() -> None:
    scores = {"a": torch.tensor([[1.0, float("-inf")]]), "b": torch.tensor([-2.0])}
    assert scores_alive(scores).tolist() == [1.0, -2.0]

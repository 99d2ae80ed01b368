"""The law of budgets for what is chosen by scores: never over, and what is left has no room for another channel.

Costs are counted by hand here; networks, scores and budgets are drawn.
"""

from collections.abc import Sequence
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bayesprune.budgets.limits import SLACK, Limits
from bayesprune.models import LeNet300
from bayesprune.pruners.budgeted import open_within
from bayesprune.pruners.filling import filled
from bayesprune.pruners.goals import CostGoal
from bayesprune.pruners.schedule import rounds_of
from bayesprune.run.budget import parse_budgets
from bayesprune.structure import find
from bayesprune.training import TrainState

KINDS = ("macs", "params")


def drawn(seed: int) -> tuple[TrainState, tuple[int, ...], Limits, Tensor]:
    """A perceptron with 2 to 4 gates a group, budgets that one channel of each meets, and scores."""
    chance = torch.Generator().manual_seed(seed)

    def integer(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=chance))

    widths = tuple(integer(2, 4) for _ in range(3))
    network, example = LeNet300(widths[1:], widths[:1], 3), torch.randn(2, widths[0], generator=chance)
    state = TrainState(network, find(network, example), example)
    kinds = (KINDS, KINDS[:1], KINDS[1:])[integer(0, 2)]
    whole, least = (cost_by_hand(counts) for counts in (widths, (1, 1, 1)))
    allowed = tuple(float(integer(least[kind], whole[kind])) for kind in kinds)
    limits = Limits(parse_budgets(",".join(f"{kind}=1" for kind in kinds)), allowed)
    return state, widths, limits, torch.rand(sum(widths), generator=chance)


def cost_by_hand(counts: Sequence[int]) -> dict[str, int]:
    inputs, first, second = counts
    macs = inputs * first + first * second + second * 3
    return {"macs": macs, "params": macs + first + second + 3}


def used_by_hand(limits: Limits, opened: Sequence[bool], widths: Sequence[int]) -> float:
    places = [sum(widths[:group]) for group in range(4)]
    cost = cost_by_hand([sum(opened[start:stop]) for start, stop in zip(places, places[1:], strict=False)])
    return max(cost[budget.kind] / number for budget, number in zip(limits.budgets, limits.allowed, strict=True))


@settings(max_examples=settings().max_examples // 5)
@given(seed=st.integers(0, 10**6))
def test_a_budget_has_no_room_for_another_channel(seed: int) -> None:
    """Of all networks that hold the one that was chosen, by enumeration, none meets the budget better by much."""
    state, widths, limits, scores = drawn(seed)
    gates = open_within(state, scores, limits).tolist()
    used = used_by_hand(limits, gates, widths)
    assert used <= 1
    larger = [
        used_by_hand(limits, opened, widths)
        for opened in product(*([True] if is_open else [False, True] for is_open in gates))
        if list(opened) != gates
    ]
    assert used >= 1 - SLACK or not any(other <= 1 for other in larger)


@settings(max_examples=settings().max_examples // 5)
@given(seed=st.integers(0, 10**6))
def test_what_fills_is_a_superset_and_as_full_as_one_order_makes_it(seed: int) -> None:
    """From one channel a group on: filled costliest first or by score, whichever is fuller, by hand."""
    state, widths, limits, scores = drawn(seed)
    start = [gate in (0, widths[0], widths[0] + widths[1]) for gate in range(sum(widths))]
    found = filled(state, limits, torch.tensor(start), scores).tolist()
    assert all(is_open for is_open, was in zip(found, start, strict=True) if was)

    def greedy(order: list[int]) -> float:
        opened = list(start)
        while used_by_hand(limits, opened, widths) < 1 - SLACK:
            fitting = [gate for gate in order if not opened[gate] and _with(limits, opened, gate, widths) <= 1]
            if not fitting:
                break
            opened[fitting[0]] = True
        return used_by_hand(limits, opened, widths)

    by_score = sorted(range(len(start)), key=lambda gate: -float(scores[gate]))
    worst = greedy(by_score)
    assert used_by_hand(limits, found, widths) >= worst - 1e-9
    assert used_by_hand(limits, found, widths) <= 1


def _with(limits: Limits, opened: list[bool], gate: int, widths: Sequence[int]) -> float:
    return used_by_hand(limits, [*opened[:gate], True, *opened[gate + 1 :]], widths)


@settings(max_examples=settings().max_examples // 5)
@given(seed=st.integers(0, 10**6))
def test_slopes_are_what_one_gate_changes(seed: int) -> None:
    state, widths, limits, scores = drawn(seed)
    gates = scores > 0.5
    found = limits.slopes(state, gates)
    for gate in range(len(gates)):
        shares = []
        for is_open in (False, True):
            trial = gates.clone()
            trial[gate] = is_open
            shares.append(limits.shares(state, trial.double()))
        assert found[:, gate].tolist() == pytest.approx((shares[1] - shares[0]).tolist(), abs=1e-12)


@settings(max_examples=settings().max_examples // 10)
@given(seed=st.integers(0, 10**6))
def test_rounds_leave_change_for_the_last(seed: int) -> None:
    """A budget is as full after four rounds, whose scores differ, as after one; counted by hand."""
    chance = torch.Generator().manual_seed(seed)
    widths = tuple(torch.randint(6, 40, (3,), generator=chance).tolist())
    network, example = LeNet300(widths[1:], widths[:1], 3), torch.zeros(2, widths[0])
    state = TrainState(network, find(network, example), example)
    state.remember_initial()
    whole = cost_by_hand(widths)
    kind = KINDS[seed % 2]
    limits = Limits(parse_budgets(f"{kind}=1"), (float((0.05, 0.1, 0.2, 0.5)[seed // 2 % 4] * whole[kind]),))
    goal = CostGoal.of(limits, limits.whole(state), 1)
    rounds = rounds_of("cubic", goal.total, goal.goal, rounds=4, rate=None)
    worth = torch.rand(sum(widths), generator=chance)
    for number in range(1, rounds.count + 1):
        scores = worth[state.structure.original_gates()]
        scores = scores * (1 + 0.3 * torch.randn(len(scores), generator=chance))
        state.shrink(goal.choose(rounds, number, state, scores))
    counts = [place.stop - place.start for place in state.structure.slices().values()]
    shares = [cost_by_hand(counts)[kind] / limits.allowed[0]]
    for group, count in enumerate(counts):
        if count < widths[group]:
            shares.append(cost_by_hand([*counts[:group], count + 1, *counts[group + 1 :]])[kind] / limits.allowed[0])
    assert shares[0] <= 1 and (shares[0] >= 1 - SLACK or min(shares[1:]) > 1)


def test_change_is_counted_out_where_scores_leave_a_gap() -> None:
    """Cheap gates have the best scores; opened first they leave a gap that no costly one fits.

    With 20 inputs, 2 + 6 units: an input costs 1 while one unit is open, a unit of the first layer much more.
    """
    network, example = LeNet300((4, 2), (6,), 3), torch.randn(2, 6)
    state = TrainState(network, find(network, example), example)
    start = torch.zeros(12, dtype=torch.bool)
    start[[0, 6, 10]] = True  # costs 1 + 1 + 3 = 5
    scores = torch.tensor([9.0] * 6 + [1.0] * 4 + [5.0] * 2)
    limits = Limits(parse_budgets("macs=12"), (12.0,))
    # by score: 5 inputs more and then nothing: 6 + 1 + 3 = 10, under by 17 %; a second unit first: 3 + 3 + 6 = 12
    found = filled(state, limits, start, scores)
    assert used_by_hand(limits, found.tolist(), (6, 4, 2)) == 1.0

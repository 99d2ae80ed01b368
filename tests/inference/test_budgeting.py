"""Meeting budgets: the price at which what is worth it fits, along the path, and what cannot be met."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil

import pytest
import torch
from torch import Tensor

from bayesprune.budgets.change import CHANGE
from bayesprune.budgets.limits import Limits
from bayesprune.errors import BudgetError
from bayesprune.inference.budgeting import (
    AIM,
    EVERY,
    LEAST,
    RESERVE,
    SHARPEST,
    STEEPEST,
    BudgetControl,
    WithinBudget,
    clearing,
)
from bayesprune.inference.objective import gate_optimizer, guide_of
from bayesprune.inference.removal import Closed
from bayesprune.models.prices import EqualPrice
from bayesprune.pruners.budgeted import checked_limits
from bayesprune.run.budget import parse_budgets
from bayesprune.training import TrainState

MakeState = Callable[..., TrainState]
MACS = 6 * 5 + 5 * 4 + 4 * 3
WORTH = (9, 8, 7, 6, 5, 4, 9.5, 8.5, 7.5, 6.5, 5.5, 9.2, 8.2, 7.2, 6.2)
"""Of 6 inputs, 5 and 4 hidden units."""


def limits_of(text: str, *allowed: float) -> Limits:
    return Limits(parse_budgets(text), allowed)


def cost_by_hand(opened: Sequence[bool]) -> tuple[int, int]:
    """Multiply-accumulates and parameters of the perceptron 6-5-4-3 with these 15 gates."""
    inputs, first, second = sum(opened[:6]), sum(opened[6:11]), sum(opened[11:])
    macs = inputs * first + first * second + second * 3
    return macs, macs + first + second + 3


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("macs=30", (30,)), ("params=25", (25,)), ("macs=40,params=30", (40, 30)), ("macs=20,params=60", (20, 60))],
)
def test_the_price_clears_the_market(text: str, numbers: tuple[float, ...], gated_state: MakeState) -> None:
    """By hand: of all prices between neighbouring worths it is the lowest at which what is worth more fits."""
    state, kinds = gated_state(), [one.kind for one in parse_budgets(text)]
    found = clearing(state, limits_of(text, *numbers), torch.tensor(WORTH))
    ascending = sorted(WORTH)

    def fits(price: float) -> bool:
        spent = dict(zip(("macs", "params"), cost_by_hand([worth > price for worth in WORTH]), strict=True))
        return all(spent[kind] <= AIM * number for kind, number in zip(kinds, numbers, strict=True))

    prices = [(low + high) / 2 for low, high in zip(ascending, ascending[1:], strict=False)]
    assert found == pytest.approx(next(price for price in prices if fits(price)))


def test_prices_rest_where_all_fits(gated_state: MakeState) -> None:
    """What is closed does not come back, so nothing more should close there."""
    assert clearing(gated_state(), limits_of("macs=63", 63.0), torch.tensor(WORTH)) == LEAST


def step_control(control: BudgetControl, state: TrainState, step: int, worth: Tensor, theta: float = 0.5) -> Tensor:
    """Prices after a look at gates that are worth so many nats of 10 examples."""
    optimizer = gate_optimizer(state)
    guide_of(state).theta.data.fill_(theta)
    optimizer.state[guide_of(state).theta] = {"average": -worth / 10, "count": 10_000}
    state.phase_step = step
    control.update(state)
    return control.log_gamma(state.structure, state.expected_cost(), guide_of(state).theta)


def test_price_follows_the_path(gated_state: MakeState) -> None:
    """From the whole cost down to the budget, geometrically."""
    state, worth = gated_state(), torch.tensor(WORTH)
    limits = limits_of("macs=10", 10.0)
    control = BudgetControl(EqualPrice(2.0), limits, 100, state, last=200, size=10)
    half_way = MACS * (10 / MACS) ** 0.5
    cleared = clearing(state, limits_of("macs=1", half_way), worth / 2)  # in prices at factor 1: of 2 nats
    prices = step_control(control, state, 50, worth)
    assert prices.tolist() == pytest.approx([2 * cleared] * 15)
    unchanged = step_control(control, state, 50 + EVERY // 2, 3 * worth)
    assert torch.equal(unchanged, prices)
    end = step_control(control, state, 100, worth)
    at_end = clearing(state, limits, worth / 2)
    assert at_end > cleared
    assert end.tolist() == pytest.approx([2 * at_end] * 15)


def test_the_path_ends_before_the_time_that_gates_take_to_close(gated_state: MakeState) -> None:
    state, worth = gated_state(), torch.tensor(WORTH)
    control = BudgetControl(EqualPrice(2.0), limits_of("macs=10", 10.0), 100, state, last=200, lead=60, size=10)
    early = step_control(control, state, 40, worth)
    assert early.tolist() == pytest.approx([2 * clearing(state, limits_of("macs=10", 10.0), worth / 2)] * 15)


def test_prices_get_sharper_at_the_margin(gated_state: MakeState) -> None:
    """Half way from the path's end to the phase's, a price goes by (worth / factor)^-8, within its bounds."""
    state, worth = gated_state(), torch.tensor(WORTH)
    control = BudgetControl(EqualPrice(1.0), limits_of("macs=10", 10.0), 100, state, last=200, size=10)
    prices = step_control(control, state, 150, worth)
    for price, value in zip(prices.tolist(), WORTH, strict=True):
        sharpened = min(STEEPEST, max(1 / STEEPEST, (value / control.factor) ** -SHARPEST))
        assert price == pytest.approx(control.factor * sharpened, rel=1e-4)
    assert step_control(control, state, 110, worth).std() < prices.std()


def test_at_the_end_every_gate_is_pushed_to_its_side(gated_state: MakeState) -> None:
    """What is worth more than the factor is priced at next to nothing, the rest at ten times that: none hovers."""
    state, worth = gated_state(), torch.tensor(WORTH)
    control = BudgetControl(EqualPrice(1.0), limits_of("macs=10", 10.0), 100, state, last=200, size=10)
    prices = step_control(control, state, 200, worth)
    sides = [1 / STEEPEST if value > control.factor else STEEPEST for value in WORTH]
    assert prices.tolist() == pytest.approx([control.factor * side for side in sides], rel=1e-4)


def test_open_gates_count_for_more(gated_state: MakeState) -> None:
    state = gated_state()
    control = BudgetControl(EqualPrice(1.0), limits_of("macs=10", 10.0), 1, state, size=10)
    worth = torch.full((15,), 2.0)
    factors = []
    for theta in (0.0, 0.5, 1.0):
        step_control(control, state, 10, worth, theta)
        factors.append(control.factor)
    assert factors == pytest.approx([1.4, 2.0, 2.6], rel=1e-4)


def test_choices_last_the_longer_the_later(gated_state: MakeState) -> None:
    """From the path's end (steps 100) to the phase's (200) the bonus of an open gate rises from 0.3 to 0.9."""
    state = gated_state()
    control = BudgetControl(EqualPrice(1.0), limits_of("macs=10", 10.0), 100, state, last=200, size=10)
    factors = []
    for step in (100, 150, 200):
        step_control(control, state, step, torch.full((15,), 2.0), 1.0)
        factors.append(control.factor)
    assert factors == pytest.approx([2 * 1.3, 2 * 1.6, 2 * 1.9], rel=1e-4)


def test_the_factor_stays_in_the_state(gated_state: MakeState) -> None:
    """Another controller of the same state goes on with it."""
    state, worth, limits = gated_state(), torch.tensor(WORTH), limits_of("macs=10", 10.0)
    prices = step_control(BudgetControl(EqualPrice(5.0), limits, 1, state, size=10), state, 10, worth)
    again = BudgetControl(EqualPrice(5.0), limits, 1, state, size=10)
    assert torch.equal(again.log_gamma(state.structure, state.expected_cost(), guide_of(state).theta), prices)


@pytest.mark.parametrize("budget", [56, 40, 20, 4])
def test_no_more_is_removed_than_the_budget_asks_for(budget: int, gated_state: MakeState) -> None:
    """By hand: change for costly gates, and of the rest the fewest that cost the budget and a little with the open."""
    theta = torch.tensor([1.0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0])
    state = gated_state(theta)
    gate_optimizer(state).state[guide_of(state).theta] = {"average": -torch.tensor(WORTH), "count": 10_000}
    rule = WithinBudget(Closed(), limits_of(f"macs={budget}", float(budget)))
    left = ~rule.removable(state)
    assert bool(left[theta > 0].all())
    # one of each group is open: an input costs 1, a unit of the first layer 2, of the second 1 + 3
    change = {range(6): ceil(CHANGE * 2 / 1), range(6, 11): ceil(CHANGE * 4 / 2), range(11, 15): CHANGE}
    closed = {group: [gate for gate in group if theta[gate] == 0] for group in change}
    kept = {gate for group, count in change.items() for gate in sorted(closed[group], key=_worth)[-count:]}
    order = sorted((gate for group in closed.values() for gate in group if gate not in kept), key=_worth, reverse=True)
    for count in range(len(order) + 1):
        opened = [theta[gate] > 0 or gate in kept or gate in order[:count] for gate in range(15)]
        if cost_by_hand([bool(one) for one in opened])[0] >= RESERVE * budget:
            break
    assert left.tolist() == opened


def _worth(gate: int) -> float:
    return WORTH[gate]


@pytest.mark.parametrize("written", ["macs=2", "params=5", "macs=1%", "macs=100%,params=5", "macs=2,params=100%"])
def test_a_budget_that_no_network_meets(written: str, gated_state: MakeState) -> None:
    """One channel a group: 1 + 1 + 3 multiply-accumulates and 1 + 1 + 3 biases more."""
    state = gated_state()
    with pytest.raises(
        BudgetError, match=r"no network of this kind meets .* with as few channels as possible it needs (5|10)"
    ):
        checked_limits(state, parse_budgets(written))
    assert checked_limits(state, parse_budgets("macs=5,params=10")).allowed == (5, 10)

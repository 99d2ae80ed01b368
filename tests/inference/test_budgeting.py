"""Meeting a budget: the price controller, and what cannot be met."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from bayesprune.errors import BudgetError
from bayesprune.inference.budgeting import (
    GAIN,
    LEAST,
    MOST,
    BudgetControl,
    checked_limit,
)
from bayesprune.models.prices import EqualPrice
from bayesprune.run.budget import Budget
from bayesprune.training import TrainState

MakeState = Callable[..., TrainState]
MACS = 6 * 5 + 5 * 4 + 4 * 3


def step_control(control: BudgetControl, state: TrainState, step: int, theta: float) -> float:
    """Prices at a step at which every gate has this theta, then the update; returns the price."""
    state.phase_step = step
    gates = state.structure.gate_count
    price = control.log_gamma(state.structure, state.expected_cost(), torch.full((gates,), theta))
    control.update(state)
    return float(price[0])


def test_price_follows_the_path(gated_state: MakeState) -> None:
    """Above the path (from the whole cost down to the budget, geometrically) the price rises by 2 %, below it falls."""
    state = gated_state()
    control = BudgetControl(EqualPrice(5.0), (Budget.parse("macs=10"), 10.0), 100, state)
    half_way = MACS * (10 / MACS) ** 0.5  # 24.9 of 62
    above, below = 50 * 0.7**2 + 12 * 0.7, 50 * 0.55**2 + 12 * 0.55  # the last layer's outputs have no gates
    assert below < half_way < above
    assert step_control(control, state, 50, 0.7) == 5.0
    assert step_control(control, state, 50, 0.55) == pytest.approx(5.0 * (1 + GAIN))
    assert step_control(control, state, 100, 0.55) == pytest.approx(5.0)  # at the end that is above
    assert step_control(control, state, 1000, 0.9) == pytest.approx(5.0 * (1 + GAIN))


def test_price_is_next_to_nothing_below_the_budget(gated_state: MakeState) -> None:
    """What is closed does not come back, so nothing more should close there."""
    state = gated_state()
    control = BudgetControl(EqualPrice(5.0), (Budget.parse("macs=10"), 10.0), 100, state)
    step_control(control, state, 1, 0.3)  # 50 * 0.09 + 12 * 0.3 = 8.1
    assert step_control(control, state, 2, 0.9) == pytest.approx(5.0 * LEAST)


def test_price_stays_in_its_range_and_in_the_state(gated_state: MakeState) -> None:
    """The factor belongs to the state: another controller of the same state goes on with it."""
    state = gated_state()
    limit = (Budget.parse("macs=10"), 10.0)
    control = BudgetControl(EqualPrice(5.0), limit, 1, state)
    prices = [step_control(control, state, 10, 1.0) for _ in range(300)]
    assert prices[0] == 5.0
    assert prices[-1] == pytest.approx(5.0 * MOST)
    again = BudgetControl(EqualPrice(5.0), limit, 1, state)
    assert step_control(again, state, 10, 1.0) == pytest.approx(5.0 * MOST)


def test_prices_rest_at_exactly_the_budget(gated_state: MakeState) -> None:
    state = gated_state(1.0)
    control = BudgetControl(EqualPrice(5.0), (Budget.parse(f"macs={MACS}"), float(MACS)), 100, state)
    assert step_control(control, state, 50, 1.0) == 5.0
    assert step_control(control, state, 51, 1.0) == pytest.approx(5.0 * LEAST)


@pytest.mark.parametrize("written", ["macs=2", "params=5", "macs=1%"])
def test_a_budget_that_no_network_meets(written: str, gated_state: MakeState) -> None:
    """One channel a group: 1 + 1 + 3 multiply-accumulates and 1 + 1 + 3 biases more."""
    state = gated_state()
    with pytest.raises(
        BudgetError, match=r"no network of this kind meets .* with as few channels as possible it needs (5|10)"
    ):
        checked_limit(Budget.parse(written), state)
    assert checked_limit(Budget.parse("macs=5"), state)[1] == 5
    assert checked_limit(Budget.parse("params=10"), state)[1] == 10

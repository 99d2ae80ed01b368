"""Meeting a budget: the price controller, the order of the last removals, and what cannot be met."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bayesprune.errors import BudgetError
from bayesprune.inference.budgeting import (
    GAIN,
    LEAST,
    MOST,
    BudgetControl,
    checked_limit,
    meet_budget,
    removal_order,
)
from bayesprune.inference.objective import gate_optimizer, guide_of
from bayesprune.models.prices import EqualPrice
from bayesprune.run.budget import Budget
from bayesprune.training import TrainState

MakeState = Callable[..., TrainState]
MACS = 6 * 5 + 5 * 4 + 4 * 3
PARAMS = MACS + 5 + 4 + 3


def set_average(state: TrainState, slopes: Tensor) -> None:
    """Make the averaged data gradient of every gate what is given, and leave theta where it is."""
    gates, theta = gate_optimizer(state), guide_of(state).theta
    start = theta.detach().clone()
    gates.prices = torch.ones_like(theta)
    theta.grad = slopes + 1.0
    gates.step()
    with torch.no_grad():
        theta.copy_(start)


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


def test_least_benefit_for_its_cost_goes_first(gated_state: MakeState) -> None:
    """By hand for multiply-accumulates, all open: an input saves 5, a unit of fc1 6 + 4, of fc2 5 + 3."""
    state = gated_state(1.0)
    benefit = torch.tensor([5.0, 10, 15, 20, 25, 30, 12, 22, 32, 42, 52, -8, 8, 16, 24])
    set_average(state, -benefit)
    saved = torch.tensor([5.0] * 6 + [10.0] * 5 + [8.0] * 4)
    expected = (benefit / saved).argsort()
    order = removal_order(state, Budget.parse("macs=10"), torch.ones(15, dtype=torch.bool))
    assert order[0] == 11  # does harm
    assert torch.equal((benefit / saved)[order], (benefit / saved)[expected])


@pytest.mark.parametrize("kind", ["macs", "params"])
@pytest.mark.parametrize("share", [0.2, 0.25, 0.5, 0.9])
def test_budget_is_met_by_less_than_one_unit(kind: str, share: float, gated_state: MakeState) -> None:
    """All gates open and equally useful: close one after the other; with the last one back it would cost too much."""
    state = gated_state(1.0)
    set_average(state, -torch.rand(15, generator=torch.Generator().manual_seed(0)))
    limit = checked_limit(Budget.parse(f"{kind}={round(100 * share)}%"), state)
    assert limit[1] == pytest.approx(share * (MACS if kind == "macs" else PARAMS))
    largest_unit = 10 if kind == "macs" else 11
    meet_budget(limit)(state)
    spent = limit[0].spent(state.network_macs(), state.params())
    assert limit[1] - largest_unit < spent <= limit[1]
    assert all(len(group.kept) >= 1 for group in state.structure.groups)
    assert bool((guide_of(state).theta == 1).all())


def test_gates_that_lost_do_not_come_back(gated_state: MakeState) -> None:
    """A budget that allows more: theta > 1/2 decides alone; theta before the decision is what is remembered."""
    theta = torch.tensor([1.0, 0.4, 1, 1, 0, 1, 1, 0.6, 0, 0.5, 1, 1, 1, 0.2, 1])
    state = gated_state(theta)
    meet_budget((Budget.parse("macs=100%"), float(MACS)))(state)
    assert state.structure.kept() == {"inputs": [0, 2, 3, 5], "fc1": [0, 1, 4], "fc2": [0, 1, 3]}
    assert torch.equal(state.values["theta"], theta)


def test_without_an_average_theta_decides(gated_state: MakeState) -> None:
    state = gated_state(torch.linspace(0.51, 0.99, 15).flip(0))
    state.optimizers = {}
    meet_budget((Budget.parse("macs=40"), 40.0))(state)
    assert state.network_macs() <= 40
    assert state.structure.kept()["inputs"] == list(range(len(state.structure.kept()["inputs"])))


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

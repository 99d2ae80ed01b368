"""What happens between steps: shrinking, settling, deciding, the record and the posterior."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bayesprune.errors import SettingError
from bayesprune.inference.deciding import Decision, full
from bayesprune.inference.objective import gate_optimizer, guide_of
from bayesprune.inference.removal import Closed
from bayesprune.inference.updates import Settle, Shrink, describe, hold_last, posterior, remove
from bayesprune.training import TrainState

MakeState = Callable[..., TrainState]
THETA = torch.tensor([1.0, 0.0, 0.3, 0.0, 0.6, 1.0, 0.0, 0.0, 1.0, 0.5, 0.51, 0.0, 0.0, 0.2, 0.1])
"""Six inputs, five units of fc1, four of fc2 of which none is above 1/2."""


def theta_of(state: TrainState) -> Tensor:
    return guide_of(state).theta.detach()


def step_gates(state: TrainState, slopes: Tensor | float) -> None:
    """One step of the gates' optimizer with data gradient `slopes` and price 1, from where theta stands."""
    gates, theta = gate_optimizer(state), guide_of(state).theta
    start = theta.detach().clone()
    gates.prices = torch.ones_like(theta)
    theta.grad = torch.as_tensor(slopes).expand(theta.shape) + 1.0
    gates.step()
    with torch.no_grad():
        theta.copy_(start)


def test_shrink_removes_what_is_exactly_closed(gated_state: MakeState) -> None:
    """Only at its steps; theta and its averages are cut along, so that the order of the gates stays."""
    state = gated_state(THETA)
    slopes = torch.arange(15.0) / 10
    step_gates(state, slopes)
    update = Shrink(every=10)
    for state.phase_step in (1, 9, 11):
        update(state)
        assert state.structure.gate_count == 15
    state.phase_step = 20
    update(state)
    stays = THETA > 0
    assert state.structure.kept() == {"inputs": [0, 2, 4, 5], "fc1": [2, 3, 4], "fc2": [2, 3]}
    assert torch.equal(theta_of(state), THETA[stays])
    torch.testing.assert_close(gate_optimizer(state).average(guide_of(state).theta), slopes[stays])
    assert torch.equal(full(state, theta_of(state)), THETA)
    update(state)  # nothing left to remove
    assert state.shape_version == 1


def test_a_group_s_last_gate_stays(gated_state: MakeState) -> None:
    """The one with the largest theta, or the first of equals."""
    theta = torch.full((15,), 0.0)
    theta[:6] = torch.tensor([0.1, 0.2, 0.4, 0.3, 0.2, 0.1])
    state = gated_state(theta)
    remove(state, theta > 0.45)
    assert state.structure.kept() == {"inputs": [2], "fc1": [0], "fc2": [0]}
    Shrink(every=1)(state)
    assert state.structure.gate_count == 3


def test_shrink_asks_its_rule(gated_state: MakeState) -> None:
    """The rule sees every step, and is asked at the steps of shrinking only."""

    class Second(Closed):
        seen = 0

        def observe(self, state: TrainState) -> None:
            self.seen += 1

        def removable(self, state: TrainState) -> Tensor:
            return torch.arange(state.structure.gate_count) == 1

    state, rule = gated_state(THETA), Second()
    update = Shrink(every=3, rule=rule)
    for state.phase_step in range(1, 6):
        update(state)
    assert rule.seen == 5
    assert state.structure.kept()["inputs"] == [0, 2, 3, 4, 5]
    with pytest.raises(SettingError, match="must be >= 1 step, not 0"):
        Shrink(every=0)


def test_settle_sets_the_horizon_of_the_step_to_come(gated_state: MakeState) -> None:
    state = gated_state(horizon=100)
    update = Settle(lambda step: 20.0 if step >= 5 else 100.0)
    horizons = []
    for state.phase_step in range(1, 8):
        update(state)
        horizons.append(gate_optimizer(state).horizon)
    assert horizons == [100.0] * 4 + [20.0] * 3


@pytest.mark.parametrize("emptied", [0.0, 0.3, 0.49])
def test_one_gate_of_every_group_is_held_open(emptied: float, gated_state: MakeState) -> None:
    """The best of a group whose gates have all fallen below 1/2; a group with an open gate is left alone."""
    theta = torch.tensor([0.7, 0.2, 0, 0, 0, 0, *[emptied] * 2, emptied + 0.005, *[emptied] * 2, 0.1, 0.5, 0.2, 0.3])
    state = gated_state(theta)
    hold_last(state)
    theta[8] = 1.0
    assert torch.equal(theta_of(state), theta)


def decided_as(state: TrainState, reason: list[int]) -> None:
    """As if the gates had been decided, for these reasons."""
    memory = state.memory(Decision)
    memory.theta, memory.reason = full(state, theta_of(state)), torch.tensor(reason, dtype=torch.uint8)


def test_record_and_trace(gated_state: MakeState) -> None:
    """Undecided and open gates now; theta in the original numbering after every epoch of pruning, not later."""
    state = gated_state(THETA)
    state.step = 10
    record = describe(state)
    assert record == {"undecided": 6, "alive": {"inputs": 4, "fc1": 3, "fc2": 2}, "undone": 0}
    Shrink(every=1)(state)
    with torch.no_grad():
        guide_of(state).theta[:4] = torch.tensor([0.9, 0.0, 1.0, 0.7])
    state.step = 20
    record = describe(state)
    assert record == {"undecided": 6, "alive": {"inputs": 3, "fc1": 3, "fc2": 2}, "undone": 0}
    decided_as(state, [0] * 15)
    state.step = 30
    describe(state)
    result = posterior(state)
    second = THETA.clone()
    second[[0, 2, 4, 5]] = torch.tensor([0.9, 0.0, 1.0, 0.7])
    assert torch.equal(result.trace, torch.stack([THETA, second]))
    assert result.steps.tolist() == [10, 20]
    assert result.steps.dtype == torch.int64
    assert torch.equal(result.inclusion_probability, second)


def test_posterior_without_an_epoch_of_pruning(gated_state: MakeState) -> None:
    """The trace then is theta before the last decision alone."""
    state = gated_state(THETA)
    decided_as(state, [0] * 15)
    result = posterior(state)
    assert torch.equal(result.trace, THETA.unsqueeze(0))
    assert result.steps.tolist() == [0]


def test_what_the_gradient_said_of_gates_that_are_gone(gated_state: MakeState) -> None:
    """Minus N times the average when the gate was last there; NaN where there was never one."""
    state = gated_state(THETA)
    theta = guide_of(state).theta
    Shrink(every=1)(state)
    decided_as(state, [0] * 15)
    assert posterior(state, size=100).last_rise is None
    here = state.structure.original_gates()
    optimizer = gate_optimizer(state)
    optimizer.prices = torch.ones(len(here))
    theta.grad = slopes = torch.linspace(-1.0, 1.0, len(here)) + optimizer.prices * optimizer.ramp
    average = slopes - optimizer.prices * optimizer.ramp
    optimizer.step()
    with torch.no_grad():
        theta.copy_(torch.arange(len(here)) % 3 != 0)
    Shrink(every=1)(state)
    assert state.structure.gate_count < len(here)
    expected = torch.full((15,), torch.nan)
    expected[here] = -100 * average
    found = posterior(state, size=100).last_rise
    assert found is not None
    torch.testing.assert_close(found, expected, equal_nan=True)

"""How prices rise: in equal parts, or once the loss no longer falls fast."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from bayesprune.errors import SettingError
from bayesprune.inference.objective import gate_optimizer, guide_of
from bayesprune.inference.ramp import LearningRamp, LinearRamp
from bayesprune.training import TrainState

MakeState = Callable[..., TrainState]


def factors(ramp: LearningRamp, state: TrainState, losses: list[float]) -> list[tuple[bool, float]]:
    """Whether gates wait, and the factor, before each loss."""
    found = []
    for state.phase_step, loss in enumerate(losses):
        found.append((ramp.waits(state), ramp.factor(state)))
        ramp.observe(state, loss)
    return found


def test_linear(gated_state: MakeState) -> None:
    state, ramp = gated_state(), LinearRamp(4)
    found = []
    for state.phase_step in range(6):
        found.append(ramp.factor(state))
    assert found == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert LinearRamp(0).factor(state) == 1.0
    with pytest.raises(SettingError, match=">= 0 steps, not -1"):
        LinearRamp(-1)


def test_prices_rise_once_the_loss_is_level(gated_state: MakeState) -> None:
    """It halves every 40 steps down to a twentieth, then stays: gates wait until most of that is done."""
    losses = [max(0.05, 0.5 ** (step / 40)) for step in range(500)]
    found = factors(LearningRamp(100, 10_000, 20.0), gated_state(), losses)
    begin = [waits for waits, _ in found].index(False)
    assert losses[begin] < 0.1
    assert begin < 300
    assert all(waits for waits, _ in found[:begin])
    assert found[begin + 98][1] == pytest.approx(1.0)
    assert found[begin + 48][1] == pytest.approx(0.5, abs=0.011)


def test_a_loss_that_has_fallen_waits_for_its_averages_only(gated_state: MakeState) -> None:
    found = factors(LearningRamp(100, 10_000, 20.0), gated_state(), [2.0, *[1.0] * 200])
    assert 60 <= [waits for waits, _ in found].index(False) <= 62


def test_gates_open_where_nothing_is_learnt(gated_state: MakeState) -> None:
    """The loss stays where it was: gates neither close nor stay, and prices begin at the latest."""
    state, ramp = gated_state(), LearningRamp(100, 150, 20.0)
    opens = []
    for state.phase_step in range(200):
        opens.append(ramp.opens(state))
        ramp.observe(state, 2.3)
    assert opens == [False] * 60 + [True] * 91 + [False] * 49


def test_opening_gates_rise_by_the_limit(gated_state: MakeState) -> None:
    state = gated_state(0.1)
    gates, theta = gate_optimizer(state), guide_of(state).theta
    gates.prices, gates.waits, gates.opens = torch.ones(15), True, True
    for _ in range(4):
        theta.grad = torch.full((15,), 3.0)
        gates.step()
    assert torch.allclose(theta, torch.full((15,), 0.3))
    for _ in range(20):
        gates.step()
    assert bool((theta == 1.0).all())


def test_they_rise_at_the_latest(gated_state: MakeState) -> None:
    """A loss that falls all the time: from the given step on prices rise all the same."""
    losses = [0.5 ** (step / 40) for step in range(300)]
    found = factors(LearningRamp(50, 100, 20.0), gated_state(), losses)
    assert [waits for waits, _ in found].index(False) == 101
    assert found[149][1] == 1.0


def test_gates_that_wait_do_not_move(gated_state: MakeState) -> None:
    """Their averages go on, so that they start with what they have seen."""
    state = gated_state(0.5)
    gates, theta = gate_optimizer(state), guide_of(state).theta
    gates.prices, gates.waits = torch.ones(15), True
    theta.grad = torch.full((15,), 3.0)
    gates.step()
    assert bool((theta == 0.5).all())
    assert bool((gates.average(theta) == 2.0).all())
    gates.waits = False
    gates.step()
    assert bool((theta < 0.5).all())

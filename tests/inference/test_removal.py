"""The removal rules: what they let go, what they remember, and that it is saved and cut along."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bayesprune.errors import SettingError
from bayesprune.inference.attraction import StepAttraction
from bayesprune.inference.guides import GateGuide
from bayesprune.inference.objective import GUIDE, gate_optimizer, guide_of
from bayesprune.inference.removal import REMOVALS, Attraction, Closed, SlowAverage, outgoing, removal_rule
from bayesprune.inference.updates import Shrink
from bayesprune.models import LeNet5
from bayesprune.models.gated import GatedModel
from bayesprune.models.priors.gates import FlatteningGatePrior
from bayesprune.structure import find
from bayesprune.training import TrainState
from bayesprune.training.phase import adam

MakeState = Callable[..., TrainState]
THETA = torch.tensor([1.0, 0.0, 0.3, 0.0, 0.6, 1.0, 0.0, 0.0, 1.0, 0.5, 0.51, 0.0, 0.0, 0.2, 0.1])
"""Six inputs, five units of fc1, four of fc2."""


def step_gates(state: TrainState, slopes: Tensor | float, price: float = 1.0) -> None:
    """One step of the gates' optimizer with data gradient `slopes`, from where theta stands."""
    gates, theta = gate_optimizer(state), guide_of(state).theta
    start = theta.detach().clone()
    gates.prices = torch.full_like(theta, price)
    theta.grad = torch.as_tensor(slopes).expand(theta.shape) + price
    gates.step()
    with torch.no_grad():
        theta.copy_(start)


def give_gradients(state: TrainState) -> None:
    """Gradients of a loss in which every weight takes part."""
    state.network.zero_grad()
    torch.manual_seed(1)
    state.network(torch.randn(50, state.structure.groups[0].size)).square().mean().backward()


def test_closed(gated_state: MakeState) -> None:
    state = gated_state(THETA)
    assert Closed().removable(state).tolist() == (THETA == 0).tolist()
    Closed().observe(state)
    assert not gate_optimizer(state).state[guide_of(state).theta]


def test_average_needs_a_positive_slow_average(gated_state: MakeState) -> None:
    """A gate at 0 whose slow average of d + c says that it is worth its price is spared."""
    rule = SlowAverage()
    state = gated_state(THETA, slow_smoothing=rule.slow_smoothing)
    slopes = torch.zeros(15)
    slopes[[1, 6]] = -3.0  # d + c = -2: useful, closed by a fluke
    for _ in range(3):
        step_gates(state, slopes)
    expected = THETA == 0
    expected[[1, 6]] = False
    assert torch.equal(rule.removable(state), expected)
    step_gates(state, 100.0)  # the slow average of every gate turns positive
    assert torch.equal(rule.removable(state), THETA == 0)
    without = gated_state(THETA)
    step_gates(without, 0.0)
    with pytest.raises(SettingError, match="no slow average is kept"):
        rule.removable(without)


def test_outgoing_weights_of_a_perceptron(gated_state: MakeState) -> None:
    """The columns of the layer above: inputs of fc1, units of fc1 in fc2, units of fc2 in fc3."""
    state = gated_state(THETA)
    squares, counts = outgoing(state, lambda weight, _: weight)
    weights: list[Any] = [state.network.get_parameter(f"{name}.weight").detach() for name in ("fc1", "fc2", "fc3")]
    torch.testing.assert_close(squares, torch.cat([weight.square().sum(0) for weight in weights]))
    assert counts.tolist() == [5.0] * 6 + [4.0] * 5 + [3.0] * 4


def test_outgoing_weights_of_convolutions_and_flattened_features() -> None:
    """A filter's outgoing weights are the kernels that read it, and all rows of its flattened positions; each flattened
    feature has its own gate too."""
    torch.manual_seed(0)
    network, example = LeNet5((2, 3, 4), (1, 20, 20), 3), torch.randn(2, 1, 20, 20)
    state = TrainState(network, find(network, example, flatten_inputs=True), example)
    theta = torch.full((state.structure.gate_count,), 0.5)
    model = GatedModel(network, state.structure, FlatteningGatePrior(torch.ones_like(theta)), 1)
    state.modules[GUIDE] = GateGuide(model, theta)
    model.close()
    places = state.structure.slices()
    squares, counts = outgoing(state, lambda weight, _: weight)
    second, first = network.conv2.weight.detach(), network.fc1.weight.detach()
    torch.testing.assert_close(squares[places["conv1"]], second.square().sum((0, 2, 3)))
    torch.testing.assert_close(squares[places["conv2"]], first.unflatten(1, (3, -1)).square().sum((0, 2)))
    torch.testing.assert_close(squares[places["fc1.inputs"]], first.square().sum(0))
    assert counts[places["conv1"]].tolist() == [3 * 25.0] * 2
    assert counts[places["fc1.inputs"]].tolist() == [4.0] * first.shape[1]


def test_attraction_is_the_set_with_numbers_by_hand(gated_state: MakeState) -> None:
    """kappa from the gradients over theta without decay's share, speed from Adam's rate, the lag from the average.

    The gradients lie on both sides of the bound, close to it, so that each part of it decides some gates.
    """
    state, price = gated_state(0.4), 0.05
    weights: list[Any] = [state.network.get_parameter(f"{name}.weight") for name in ("fc1", "fc2", "fc3")]
    norm = torch.cat([weight.detach().norm(dim=0) for weight in weights])
    width = torch.tensor([5.0] * 6 + [4.0] * 5 + [3.0] * 4)

    def contained(kappa: Tensor, speed: Tensor) -> Tensor:
        return StepAttraction(kappa, price, 1 / (price * 100), speed).contains(norm, torch.full((15,), 0.4))

    grid = torch.logspace(-6, 2, 2000)
    inside = torch.stack([contained(kappa.expand(15), 1e-3 * width.sqrt()) for kappa in grid])
    bound = grid[inside.sum(0) - 1]  # the largest steepness that is still inside, of each gate
    kappa = bound * torch.logspace(-0.3, 0.3, 16)[:15][torch.randperm(15, generator=torch.Generator().manual_seed(2))]
    decay, columns = float((kappa / norm).median()) / 2, kappa.mul(0.4).split([6, 5, 4])
    for weight, slope in zip(weights, columns, strict=True):
        direction = torch.nn.functional.normalize(torch.randn_like(weight), dim=0)
        weight.grad = slope * direction + decay * weight.detach()
    rule = Attraction(decay)
    step_gates(state, 0.0, price=price)
    rule.observe(state)
    expected = contained(kappa, 1e-3 * width.sqrt())
    assert torch.equal(rule.removable(state), expected)
    with_decay = torch.cat([torch.as_tensor(weight.grad).norm(dim=0) for weight in weights]) / 0.4
    for wrong in (contained(kappa, 1e-3 * width), contained(with_decay, 1e-3 * width.sqrt())):
        assert 0 < int(expected.sum()) < 15 and not torch.equal(wrong, expected)


def small_weights(gated_state: MakeState) -> TrainState:
    """A state after a step in which the gates' data had nothing to say, with weights and gradients next to nothing."""
    state = gated_state(THETA)
    for parameter in state.network.parameters():
        nn.init.constant_(parameter, 1e-4)
    give_gradients(state)
    step_gates(state, 0.0)
    return state


def test_attraction_needs_the_average_too(gated_state: MakeState) -> None:
    """A closed gate with small weights that theta's average still finds useful is not let go."""
    state, rule = small_weights(gated_state), Attraction(0.0)
    rule.observe(state)
    assert bool(rule.removable(state)[THETA == 0].all())
    slopes = torch.zeros(15)
    slopes[1] = -200.0
    step_gates(state, slopes)
    rule.observe(state)
    assert not rule.removable(state)[1]
    assert rule.removable(state)[3]


def test_attraction_takes_gates_before_they_are_closed(gated_state: MakeState) -> None:
    """Small weights, small gradient, theta above 0."""
    state, rule = small_weights(gated_state), Attraction(0.0)
    Shrink(every=1, rule=rule)(state)
    assert state.structure.kept() == {"inputs": [0], "fc1": [2], "fc2": [2]}  # a group's last one stays


def test_what_attraction_remembers_is_cut_along_and_restored(gated_state: MakeState) -> None:
    """In the gates' optimizer: entry by entry as the network shrinks, and in its state_dict."""
    state, rule = gated_state(THETA), Attraction(0.0)
    for _ in range(2):
        give_gradients(state)
        step_gates(state, 0.0)
        rule.observe(state)
    theta = guide_of(state).theta
    before = {name: gate_optimizer(state).state[theta][name].clone() for name in ("gradient", "openness")}
    saved = gate_optimizer(state).state_dict()
    assert torch.equal(saved["state"][0]["gradient"], before["gradient"])
    torch.testing.assert_close(before["openness"], THETA * (1 - 0.98**2))
    Shrink(every=1)(state)
    stays = THETA > 0
    for name, value in before.items():
        assert torch.equal(gate_optimizer(state).state[theta][name], value[stays])
    give_gradients(state)
    rule.observe(state)
    assert gate_optimizer(state).state[theta]["gradient"].shape == (int(stays.sum()),)


def test_a_gate_that_nothing_reads_and_a_price_of_nothing(gated_state: MakeState) -> None:
    """No gradient at all: nothing speaks against removal. A price of 0 never closes a gate."""
    state, rule = gated_state(THETA), Attraction(0.0)
    step_gates(state, 0.0)
    rule.observe(state)
    assert bool(rule.removable(state).all())
    prices = torch.ones(15)
    prices[0] = 0.0
    gate_optimizer(state).prices = prices
    give_gradients(state)
    rule.observe(state)
    assert not rule.removable(state)[0]


def test_rules_by_name() -> None:
    made = [removal_rule(name, 0.1) for name in REMOVALS]
    assert [type(rule) for rule in made] == [Closed, SlowAverage, Attraction]
    assert [rule.slow_smoothing for rule in made] == [None, 0.998, None]
    assert isinstance(made[2], Attraction) and made[2].decay == 0.1
    with pytest.raises(SettingError, match="unknown removal 'safe'"):
        removal_rule("safe", 0.1)


def test_adam_moves_a_coordinate_by_about_the_learning_rate() -> None:
    """What the rule takes for the weights' speed: on noisy gradients of any size, 1.5 times the rate at most."""
    torch.manual_seed(0)
    weight = nn.Parameter(torch.zeros(200, dtype=torch.float64))
    optimizer = adam(2e-3)([weight])
    largest = 0.0
    for _ in range(500):
        before = weight.detach().clone()
        weight.grad = 10.0 ** torch.linspace(-6, 3, 200).double() * (torch.randn(200).double() + 0.5)
        optimizer.step()
        largest = max(largest, float((weight.detach() - before).norm()))
    assert largest < 1.5 * 2e-3 * 200**0.5

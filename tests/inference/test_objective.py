"""The objective of the loop: the ELBO per example, its prices and their ramp, over shrinking networks."""

from __future__ import annotations

from collections.abc import Callable
from math import expm1, log, pi
from typing import Any

import pyro
import pytest
import torch
from pyro.infer.autoguide import AutoNormal
from torch import Tensor
from torch.nn.functional import cross_entropy

from bayesprune.errors import SettingError
from bayesprune.inference.estimators import SampledLabelCurvature, estimator
from bayesprune.inference.guides import GateGuide, GaussianWeightGuide
from bayesprune.inference.objective import GUIDE, GatedObjective, gate_optimizer, guide_of
from bayesprune.models.gated import GatedModel
from bayesprune.models.prices import CostPrice, EqualPrice
from bayesprune.models.priors.gates import FlatteningGatePrior
from bayesprune.models.priors.weights import GaussianSlab
from bayesprune.training import TrainState

MakeState = Callable[..., TrainState]
DECIDED = torch.tensor([1.0, 0, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 0])
INPUTS, LABELS = torch.randn(8, 6, generator=torch.Generator().manual_seed(1)), torch.arange(8) % 3
SIZE = 40


def objective(price: float = 2.0, **settings: object) -> GatedObjective:
    return GatedObjective(EqualPrice(price), SampledLabelCurvature(), SIZE, **settings)  # type: ignore[arg-type]  # settings by name


def plain_loss(state: TrainState, gates: Tensor) -> Tensor:
    """Mean cross-entropy of the perceptron with its gates written out."""
    network: Any = state.network
    hidden = network.fc1(INPUTS * gates[:6]).relu() * gates[6:11]
    return cross_entropy(network.fc3(network.fc2(hidden).relu() * gates[11:]), LABELS)


def test_loss_is_the_negative_elbo_per_example(gated_state: MakeState) -> None:
    """Decided gates make it exact: mean loss + (sum_j theta_j ln gamma + const)/N - ln N(w; 0, s^2)/N."""
    state, chosen = gated_state(DECIDED), objective(weight_prior=GaussianSlab(0.5))
    chosen.attach(state)
    loss = chosen.loss(state, INPUTS, LABELS)
    data = plain_loss(state, DECIDED)
    weights = torch.cat([p.flatten() for p in state.network.parameters()])
    slab = (weights**2 / (2 * 0.25) + log(0.5) + 0.5 * log(2 * pi)).sum()
    gates = 2.0 * DECIDED.sum() + 15 * log(2.0 / expm1(2.0))
    torch.testing.assert_close(loss, data + (gates + slab) / SIZE)
    slopes = torch.autograd.grad(loss, list(state.network.parameters()), retain_graph=True)
    by_hand = torch.autograd.grad(data + slab / SIZE, list(state.network.parameters()))
    torch.testing.assert_close(slopes, by_hand)


def test_weight_decay_is_not_multiplied_by_theta(gated_state: MakeState) -> None:
    """Reading (a): the weights of a closed unit keep shrinking, lambda = 1/(N s^2)."""
    state, chosen = gated_state(DECIDED), objective(weight_prior=GaussianSlab(0.5))
    chosen.attach(state)
    chosen.loss(state, INPUTS, LABELS).backward()
    closed = 8 - 6  # DECIDED[8] is the third unit of fc1
    weight = state.network.get_parameter("fc1.weight")
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad[closed], weight.detach()[closed] / (SIZE * 0.25))


def test_gates_get_gradient_and_prices(gated_state: MakeState) -> None:
    """theta's gradient is d + c, however often the loss is called; the optimizer is told c = ln gamma / N."""
    state, chosen = gated_state(DECIDED), objective(price=3.0)
    chosen.attach(state)
    guide = guide_of(state)
    for _ in range(2):
        chosen.loss(state, INPUTS, LABELS).backward()
    gates = gate_optimizer(state)
    torch.testing.assert_close(gates.prices, torch.full((15,), 3.0 / SIZE))
    assert gates.ramp == 1.0
    assert guide.theta.grad is not None
    data = guide.theta.grad - 3.0 / SIZE
    torch.manual_seed(0)  # the estimator draws labels, so compare with its own data term
    variable = DECIDED.clone().requires_grad_()
    (first_order,) = torch.autograd.grad(plain_loss(state, variable), variable)
    assert float((data - first_order)[DECIDED == 1].max()) <= 1e-6  # minus half the curvature
    assert float((data - first_order)[DECIDED == 0].min()) >= -1e-6  # plus half of it


def test_ramp(gated_state: MakeState) -> None:
    """Prices rise linearly, a share 1/ramp a step, in the prior and in the step alike."""
    state, chosen = gated_state(DECIDED), objective(price=4.0, ramp=4)
    chosen.attach(state)
    factors = []
    for state.phase_step in range(6):
        guide_of(state).theta.grad = None
        chosen.loss(state, INPUTS, LABELS)
        factors.append(gate_optimizer(state).ramp)
        model_prices = chosen._model.gate_prior.log_gamma  # type: ignore[union-attr]  # attached
        torch.testing.assert_close(model_prices, torch.full((15,), 4.0 * factors[-1]))
        torch.testing.assert_close(gate_optimizer(state).prices, torch.full((15,), 4.0 / SIZE))
    assert factors == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    with pytest.raises(SettingError, match="ramp must be >= 0"):
        objective(ramp=-1)


def test_prices_follow_the_present_size(gated_state: MakeState) -> None:
    """A cost price is evaluated anew at every step, at the present theta."""
    state = gated_state(0.5)
    price = CostPrice(2.0, 1.0, 15, state.initial_macs, state.initial_params)
    chosen = GatedObjective(price, estimator("curvature"), SIZE)
    chosen.attach(state)
    chosen.loss(state, INPUTS, LABELS)
    before = torch.as_tensor(gate_optimizer(state).prices)
    with torch.no_grad():
        guide_of(state).theta[6:11] = 0.25  # half as many units expected in fc1
    chosen.loss(state, INPUTS, LABELS)
    after = torch.as_tensor(gate_optimizer(state).prices)
    torch.testing.assert_close(after[:6], before[:6] / 2)  # an input is read by fc1 alone
    torch.testing.assert_close(after[6:11], before[6:11])


def test_after_a_shrink_it_goes_on_with_the_smaller_network(gated_state: MakeState) -> None:
    """Attached anew: the same loss as before, because what was removed was closed; hooks are not doubled."""
    state, chosen = gated_state(DECIDED), objective()
    chosen.attach(state)
    before = chosen.loss(state, INPUTS, LABELS)
    data_before = plain_loss(state, DECIDED)
    state.shrink(DECIDED > 0)
    chosen.attach(state)
    after = chosen.loss(state, INPUTS, LABELS)
    model = chosen._model
    assert model is not None
    weights = torch.cat([p.flatten() for p in state.network.parameters()])
    rest = (2.0 * 12 + 12 * log(2.0 / expm1(2.0)) + (weights**2 / 2 + 0.5 * log(2 * pi)).sum()) / SIZE
    torch.testing.assert_close(after, data_before + rest)
    assert after < before
    chosen.detach()
    chosen.detach()
    assert not any(module._forward_pre_hooks for module in state.network.modules())
    torch.testing.assert_close(cross_entropy(state.network(INPUTS), LABELS), data_before)


def test_nothing_enters_pyro_s_parameter_store(gated_state: MakeState) -> None:
    pyro.clear_param_store()
    state, chosen = gated_state(0.5), objective()
    chosen.attach(state)
    chosen.loss(state, INPUTS, LABELS).backward()
    gate_optimizer(state).step()
    assert list(pyro.get_param_store().keys()) == []
    assert chosen.needs_labels


def test_gates_are_estimated_every_so_many_steps_once_the_network_is_small(gated_state: MakeState) -> None:
    """Of 6-5-4-3 the gates leave 2-1-1-3: 6 of 62 multiply-accumulates, so that k steps go from one to the next."""
    state, chosen = gated_state(), objective(estimate_every=3)
    chosen.attach(state)
    seen = [_step_of(chosen, state) for _ in range(4)]
    assert seen == [("estimate", 1)] * 4  # at full size always
    state.shrink(torch.tensor([1.0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0]) > 0)
    chosen.attach(state)
    state.phase_step = 0
    inputs = INPUTS[:, :6]
    seen = [_step_of(chosen, state, inputs) for _ in range(5)]
    between = ("weights only", 0)
    assert seen == [("estimate", 3), between, between, ("estimate", 3), between]
    theta = guide_of(state).theta
    assert gate_optimizer(state).state[theta]["count"] == 4 + 2 * 3
    with pytest.raises(SettingError, match="estimate_every must be >= 1 step, not 0"):
        objective(estimate_every=0)


def _step_of(chosen: GatedObjective, state: TrainState, inputs: Tensor = INPUTS) -> tuple[str, int]:
    """One step: its kind, and how many steps its estimate stands for."""
    kind = chosen.kind(state)
    chosen.loss(state, inputs, LABELS).backward()
    gate_optimizer(state).step()
    state.phase_step += 1
    return kind, gate_optimizer(state).stands_for


def test_a_step_without_estimate_is_that_of_the_weights(gated_state: MakeState) -> None:
    """With decided gates the weights' gradients are those of the written-out network; theta's is the price alone."""
    state, chosen = gated_state(DECIDED), objective(weight_prior=GaussianSlab(float("inf")))
    chosen.attach(state)
    chosen._every, state.phase_step = 2, 1
    loss = chosen.loss(state, INPUTS, LABELS)
    parameters = list(state.network.parameters())
    slopes = torch.autograd.grad(loss, parameters, retain_graph=True)
    by_hand = torch.autograd.grad(plain_loss(state, DECIDED), parameters)
    torch.testing.assert_close(slopes, by_hand)
    loss.backward()
    torch.testing.assert_close(guide_of(state).theta.grad, torch.full((15,), 2.0 / SIZE))


def test_a_guide_of_pyro_over_weights_is_refused(gated_state: MakeState) -> None:
    """It cannot follow a network that shrinks; our own Gaussian one can."""
    state = gated_state()
    prior = FlatteningGatePrior(torch.ones(15))
    model = GatedModel(state.network, state.structure, prior, SIZE, weight_sites=True)
    state.modules[GUIDE] = GaussianWeightGuide(model)
    objective().attach(state)
    state.modules[GUIDE] = GateGuide(model, weights=AutoNormal)
    with pytest.raises(SettingError, match=r"cannot follow: take GateGuide\(model\)"):
        objective().attach(state)

"""The attraction sets against integration of what they bound: the gate's true flow, and training's own steps."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor, nn

from bayesprune.errors import SettingError
from bayesprune.inference.attraction import AttractionSet, StepAttraction
from bayesprune.inference.projected import ProjectedGateDescent

DataTerm = Callable[[Tensor], Tensor]
"""phi of outgoing weights [S, D], one value for each of S starts."""

scales = st.floats(0.02, 3.0)
norms = st.floats(0.0, 20.0)
chances = st.floats(0.0, 1.0)


def number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def flow(phi: DataTerm, w: Tensor, theta: Tensor, lam: float, c: float, time: float, dt: float) -> tuple[Tensor, ...]:
    """Projected Euler steps of the true flow; w, theta, and the last time [S] at which theta was above 0."""
    closed = torch.zeros_like(theta)
    at_zero = phi(torch.zeros_like(w))
    for step in range(round(time / dt)):
        variable = w.clone().requires_grad_()
        value = phi(variable)
        (slope,) = torch.autograd.grad(value.sum(), variable)
        w = w - dt * (theta.unsqueeze(1) * slope + lam * w)
        theta = (theta - dt * (value.detach() - at_zero + c)).clamp(0, 1)
        closed = torch.where(theta > 0, number((step + 1) * dt), closed)
    return w, theta, closed


def starts(count: int, width: int, largest: float) -> tuple[Tensor, Tensor]:
    """Directions times norms up to `largest`, and theta."""
    direction = torch.nn.functional.normalize(torch.randn(count, width, dtype=torch.float64), dim=1)
    norm = largest * torch.rand(count, 1, dtype=torch.float64)
    return norm * direction, torch.rand(count, dtype=torch.float64)


@given(scales, scales, scales)
def test_saddle_and_rate_are_those_of_the_bounding_matrix(kappa: float, lam: float, c: float) -> None:
    """The equilibrium of the field; eigenvalues of opposite signs by NumPy; the side is its left eigenvector."""
    bounds = AttractionSet(number(kappa), lam, c)
    for change in bounds.field(*bounds.saddle):
        assert float(change) == pytest.approx(0, abs=1e-9 * (c + 1) * (1 + lam * c / kappa))
    matrix = np.array([[-lam, kappa], [kappa, 0.0]])
    values, vectors = np.linalg.eig(matrix.T)
    growing = int(values.argmax())
    assert float(bounds.rate) == pytest.approx(values[growing], rel=1e-6, abs=1e-9)
    assert values.min() < 0 < values.max()
    ratio = vectors[1, growing] / vectors[0, growing]
    assert float((bounds.rate + lam) / kappa) == pytest.approx(ratio, rel=1e-6)


@given(scales, scales, scales, norms, chances)
def test_the_set_is_forward_invariant(kappa: float, lam: float, c: float, norm: float, theta: float) -> None:
    """Along the bounding field the side changes at the rate mu times itself: on the line not at all."""
    bounds = AttractionSet(number(kappa), lam, c)
    here = number(norm), number(theta)
    grow, open_ = bounds.field(*here)
    change = kappa * grow + (bounds.rate + lam) * open_
    expected = bounds.rate * bounds.side(*here)
    torch.testing.assert_close(change, expected, rtol=1e-8, atol=1e-8)


@example(2.61, 0.75, 0.99, 0.0, 0.0, 0.0, 0.0)
@example(1.1, 1.88, 0.98, 0.0, 0.0, 1.0, 1.0)
@given(scales, scales, scales, norms, chances, chances, chances)
def test_smaller_weights_and_gates_stay_inside(
    kappa: float, lam: float, c: float, norm: float, theta: float, less: float, lower: float
) -> None:
    """The set is closed downward in both coordinates, and so is the time; the origin always lies in it."""
    bounds = AttractionSet(number(kappa), lam, c)
    here, below = (number(norm), number(theta)), (number(norm * less), number(theta * lower))
    assert not bounds.contains(*here) or bounds.contains(*below)
    assert 0 <= bounds.time_to_close(*below) <= bounds.time_to_close(*here) * (1 + 1e-9) + 1e-9
    assert bounds.contains(number(0.0), number(0.0))
    assert 0 <= bounds.time_to_close(number(0.0), number(0.0)) <= 1e-9
    assert bool(bounds.time_to_close(*here).isfinite()) == bool(bounds.contains(*here))
    steeper = AttractionSet(number(kappa * 1.5), lam, c)
    assert not steeper.contains(*here) or bounds.contains(*here)


LINEAR = [(0.5, 0.1, 0.2), (1.0, 0.3, 0.5), (0.3, 0.05, 0.15), (2.0, 0.5, 1.0)]


@pytest.mark.parametrize(("kappa", "lam", "c"), LINEAR)
def test_the_linear_unit_is_the_tight_worst_case(kappa: float, lam: float, c: float) -> None:
    """phi(w) = -kappa <a, w> with w along a: closed for good from inside, never from outside (2 % off the line).

    Inside, theta is 0 for good within the bound on the time, and the weights decay like exp(-lam t) from then on.
    """
    torch.manual_seed(0)
    axis = torch.nn.functional.normalize(torch.randn(4, dtype=torch.float64), dim=0)
    norm, theta = 2 * c / kappa * torch.rand(600, dtype=torch.float64), torch.rand(600, dtype=torch.float64)
    bounds = AttractionSet(kappa, lam, c)
    inside, near = bounds.contains(norm, theta), bounds.side(norm, theta).abs() < 0.02 * c
    start, time = norm.unsqueeze(1) * axis, 25 / kappa
    w, end, closed = flow(lambda w: -kappa * (w @ axis), start, theta, lam, c, time, 0.01 / kappa)
    assert min(int((inside & ~near).sum()), int((~inside & ~near).sum())) > 40
    assert not bool(end[inside & ~near].any())
    assert bool((end[~inside & ~near] == 1).all())
    bound = bounds.time_to_close(norm, theta)
    settled = inside & ~near
    assert bool((closed[settled] <= bound[settled] * 1.01 + 0.05 / kappa).all())
    left = time - closed[settled]
    assert bool((w[settled].norm(dim=1) <= c / kappa * torch.exp(-lam * left) * 1.01).all())


def test_decay_alone_closes_every_gate_when_the_saddle_lies_above_one() -> None:
    """kappa^2 < lam c: the linear unit from anywhere, also with huge weights, within the bound on the time."""
    bounds = AttractionSet(0.5, 0.6, 0.5)
    norm, theta = 8 * torch.rand(200, dtype=torch.float64), torch.rand(200, dtype=torch.float64)
    assert float(bounds.saddle[1]) == pytest.approx(1.2)
    assert bool(bounds.contains(norm, theta).all())
    assert bool((bounds.side(norm, theta) >= 0).any())
    bound = bounds.time_to_close(norm, theta)
    _, end, closed = flow(lambda w: -0.5 * w[:, 0], norm.unsqueeze(1), theta, 0.6, 0.5, float(bound.max()) + 1, 0.01)
    assert not bool(end.any())
    assert bool((closed <= bound + 0.02).all())


def logistic_unit() -> tuple[DataTerm, float]:
    """Mean logistic loss of a gated unit's 3 outgoing weights on 20 examples; |grad| <= mean |x| as |sigmoid| <= 1."""
    inputs, labels = torch.randn(20, 3, dtype=torch.float64), torch.randint(2, (20,)) * 2.0 - 1
    others = torch.randn(20, dtype=torch.float64)

    def phi(w: Tensor) -> Tensor:
        return nn.functional.softplus(-labels * (others + w @ inputs.T)).mean(1)

    return phi, float(inputs.norm(dim=1).mean())


def tanh_unit() -> tuple[DataTerm, float]:
    """Mean of (y - tanh(w x))^2/2; its gradient is at most mean (|y| + 1) |x| long."""
    inputs, targets = torch.randn(20, 3, dtype=torch.float64), torch.randn(20, dtype=torch.float64)

    def phi(w: Tensor) -> Tensor:
        return (targets - torch.tanh(w @ inputs.T)).square().mean(1) / 2

    return phi, float(((targets.abs() + 1) * inputs.norm(dim=1)).mean())


def random_unit() -> tuple[DataTerm, float]:
    """A sum of waves: its gradient is at most the sum of amplitude times frequency long."""
    frequency = 2 * torch.randn(6, 3, dtype=torch.float64)
    amplitude, phase = torch.rand(6, dtype=torch.float64), 6 * torch.rand(6, dtype=torch.float64)

    def phi(w: Tensor) -> Tensor:
        return (amplitude * torch.sin(w @ frequency.T + phase)).sum(1)

    return phi, float((amplitude * frequency.norm(dim=1)).sum())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("unit", [logistic_unit, tanh_unit, random_unit])
def test_nonlinear_units_inside_always_close(unit: Callable[[], tuple[DataTerm, float]], seed: int) -> None:
    """0 failures of hundreds, within the bound on the time."""
    torch.manual_seed(seed)
    phi, kappa = unit()
    lam, c = 0.2 * kappa, kappa * (0.3 + float(torch.rand(())))
    bounds = AttractionSet(kappa, lam, c)
    w, theta = starts(400, 3, 2 * c / kappa)
    inside = bounds.contains(w.norm(dim=1), theta)
    w, theta = w[inside], theta[inside]
    assert len(theta) > 50
    bound = bounds.time_to_close(w.norm(dim=1), theta)
    dt = 0.01 / kappa
    _, end, closed = flow(phi, w, theta, lam, c, min(float(bound.max()), 30 / kappa) + 10 * dt, dt)
    assert not bool(end[bound < 30 / kappa].any())
    assert bool((closed <= bound * 1.01 + 5 * dt).all())


def test_a_useful_nonlinear_unit_outside_stays() -> None:
    """The bound is not empty talk: the logistic unit from outside may stay open, where the data want it."""
    inputs = torch.ones(1, 1, dtype=torch.float64)
    w, theta = torch.full((1, 1), 3.0).double(), torch.ones(1).double()
    bounds = AttractionSet(1.0, 0.01, 0.1)
    assert not bounds.contains(w.norm(dim=1), theta)
    _, end, _ = flow(lambda w: nn.functional.softplus(-(w @ inputs.T)).mean(1), w, theta, 0.01, 0.1, 50, 0.02)
    assert end == 1


def test_values_for_each_gate() -> None:
    """Tensors of steepness and price broadcast against the gates."""
    both = AttractionSet(torch.tensor([0.5, 2.0]), 0.1, torch.tensor([0.2, 0.3]))
    norm, theta = torch.tensor([0.1, 0.1]), torch.tensor([0.2, 0.2])
    single = [AttractionSet(0.5, 0.1, 0.2), AttractionSet(2.0, 0.1, 0.3)]
    for index, bounds in enumerate(single):
        assert both.contains(norm, theta)[index] == bounds.contains(norm[index], theta[index])
        torch.testing.assert_close(both.time_to_close(norm, theta)[index], bounds.time_to_close(norm, theta)[index])


def train_worst_case(bounds: StepAttraction, norm: Tensor, theta: Tensor, smoothing: float, c: float) -> list[Tensor]:
    """The real optimizer against d = -kappa r with weights that grow at full speed: theta [S] after every step."""
    parameter = nn.Parameter(theta.clone())
    optimizer = ProjectedGateDescent([parameter], 1 / (c * float(bounds.gate_step)), smoothing=smoothing)
    optimizer.prices, optimizer.ramp = torch.full_like(theta, c), float(bounds.price) / c
    path = []
    for number_of_step in range(400):
        data = -bounds.steepness * (norm + number_of_step * bounds.speed)
        parameter.grad = data + optimizer.ramp * optimizer.prices
        optimizer.step()
        path.append(parameter.detach().clone())
    return path


@pytest.mark.parametrize("smoothing", [0.0, 0.98])
@pytest.mark.parametrize("ramp", [1.0, 0.4])
def test_training_steps_close_what_lies_inside(smoothing: float, ramp: float) -> None:
    """Worst case of the real step: inside theta reaches 0 in time; without smoothing, outside it never does."""
    torch.manual_seed(0)
    c = 1e-3
    bounds = StepAttraction(0.01, ramp * c, 1 / (100 * c), 2e-3)
    norm = 0.12 * ramp * torch.rand(400, dtype=torch.float64)
    theta = 0.4 * ramp**2 * torch.rand(400, dtype=torch.float64)
    inside = bounds.contains(norm, theta)
    assert 40 < int(inside.sum()) < 360
    path = torch.stack(train_worst_case(bounds, norm, theta, smoothing, c))
    steps = bounds.steps_to_close(norm, theta)
    reached = torch.stack([path[: int(step), gate].min() if step else theta[gate] for gate, step in
                           [(g, float(steps[g])) for g in inside.nonzero().flatten().tolist()]])  # fmt: skip
    assert float(reached.max()) < 1e-12
    if smoothing == 0:
        one_step_more = 1.05 * bounds.gate_step * bounds.price
        outside = ~bounds.contains(norm, (theta - one_step_more).clamp_min(1e-6))
        assert int(outside.sum()) > 40
        assert bool((path[:, outside].min(0).values > 0).all())


GOOD = {"steepness": 1.0, "decay": 0.1, "price": 0.2}
STEP = {"steepness": 1.0, "price": 0.2, "gate_step": 1.0, "speed": 0.1}


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), torch.tensor([1.0, 0.0])])
def test_bounds_that_cannot_be_used(name: str, value: float | Tensor) -> None:
    with pytest.raises(SettingError, match=f"{name} must be finite and > 0, not"):
        AttractionSet(**GOOD | {name: value})


@pytest.mark.parametrize("name", STEP)
def test_step_bounds_that_cannot_be_used(name: str) -> None:
    with pytest.raises(SettingError, match=f"{name} must be finite and > 0, not 0.0"):
        StepAttraction(**STEP | {name: 0.0})

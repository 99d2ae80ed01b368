"""The projected step, worked out by hand, and where repeated steps end."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

from bayesprune.errors import SettingError
from bayesprune.inference.projected import ProjectedGateDescent
from bayesprune.inference.references.oracle import all_gates, expected_loss

if TYPE_CHECKING:
    from tests.inference.conftest import Tiny


def gates(*values: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values, dtype=torch.float64))


def step(optimizer: ProjectedGateDescent, theta: nn.Parameter, slope: Any, prices: Any, ramp: float = 1.0) -> None:
    """One step with data gradient d: the gradient that autograd would give is d + r c."""
    optimizer.prices = torch.as_tensor(prices, dtype=theta.dtype).expand(theta.shape[-1:])
    optimizer.ramp = ramp
    theta.grad = torch.as_tensor(slope, dtype=theta.dtype) + ramp * optimizer.prices
    optimizer.step()


def test_steps_by_hand() -> None:
    """theta <- theta - (m/c + 1)/T with m the bias-corrected average: the first average is the gradient itself.

    Smoothing 0.5, T = 100, c = 2: d/c = 4 gives m = 4; then d/c = 1 gives (0.5 * 0.5 * 4 + 0.5 * 1)/(1 - 0.25) = 2;
    then d/c = -5: (0.25 * 0.5 * 4 + 0.25 * 1 - 0.5 * 5)/(1 - 0.125) = -2.
    """
    theta = gates(0.5, 0.5)
    optimizer = ProjectedGateDescent([theta], 100, smoothing=0.5)
    expected = 0.5
    for slope, average in ((8.0, 4.0), (2.0, 2.0), (-10.0, -2.0)):
        step(optimizer, theta, [slope, 0.0], 2.0)
        expected -= (average + 1) / 100
        torch.testing.assert_close(theta.detach()[0], torch.tensor(expected).double())
    torch.testing.assert_close(theta.detach()[1], torch.tensor(0.5 - 3 / 100).double())


def test_without_smoothing_and_with_a_ramp() -> None:
    """r enters twice: in the gradient that autograd gives, and in the step; the data gradient is what is averaged."""
    theta = gates(0.5)
    optimizer = ProjectedGateDescent([theta], 100, smoothing=0.0)
    step(optimizer, theta, [0.3], 0.1, ramp=0.25)  # d/c = 3, so (3 + 0.25) / 100
    torch.testing.assert_close(theta.detach(), torch.tensor([0.5 - 0.0325]).double())
    step(optimizer, theta, [0.0], 0.1, ramp=0.0)
    torch.testing.assert_close(theta.detach(), torch.tensor([0.5 - 0.0325]).double())


def test_the_data_gradient_is_averaged_and_not_its_ratio_to_the_price() -> None:
    """m = EMA(d), then m/c with the price of the step (recipe, section 1): prices may change from step to step.

    d = 4 twice, c = 2 and then 8: m = 4 both times, steps (4/2 + 1)/100 and (4/8 + 1)/100.
    """
    theta = gates(0.5)
    optimizer = ProjectedGateDescent([theta], 100, smoothing=0.5)
    assert optimizer.average(theta).tolist() == [0.0]
    step(optimizer, theta, [4.0], 2.0)
    step(optimizer, theta, [4.0], 8.0)
    torch.testing.assert_close(theta.detach(), torch.tensor([0.5 - 0.03 - 0.015]).double())
    torch.testing.assert_close(optimizer.average(theta), torch.tensor([4.0]).double())


def test_steps_are_limited_and_projected() -> None:
    """No step is longer than the limit, whatever the gradient; theta stays in [0, 1] and gets to its ends exactly."""
    theta = gates(0.5, 0.5, 0.02, 0.98)
    optimizer = ProjectedGateDescent([theta], 10, limit=0.05)
    step(optimizer, theta, [1e9, -1e9, 1e9, -1e9], 1.0)
    torch.testing.assert_close(theta.detach(), torch.tensor([0.45, 0.55, 0.0, 1.0]).double())
    assert theta[2] == 0
    assert theta[3] == 1


@pytest.mark.parametrize("price", [1e-6, 20 / 55_000, 3.0])
@pytest.mark.parametrize("horizon", [37, 300])
def test_a_useless_gate_falls_from_one_to_zero_in_the_horizon(price: float, horizon: int) -> None:
    """With d = 0, in T steps whatever the price; in single precision rounding may cost one step more."""
    for dtype in (torch.float64, torch.float32):
        theta = nn.Parameter(torch.ones(1, dtype=dtype))
        optimizer = ProjectedGateDescent([theta], horizon)
        for _ in range(horizon - 1):
            step(optimizer, theta, [0.0], price)
        assert float(theta.detach()) == pytest.approx(1 / horizon, rel=1e-3)
        step(optimizer, theta, [0.0], price)
        assert float(theta.detach()) < 1e-5
        step(optimizer, theta, [0.0], price)
        assert theta == 0


def test_a_gate_worth_its_price_stays() -> None:
    """d = -c is the border: theta does not move; a little more opens it, a little less closes it."""
    theta = gates(0.5, 0.5, 0.5)
    optimizer = ProjectedGateDescent([theta], 100)
    for _ in range(1000):
        step(optimizer, theta, [-2.0, -2.2, -1.8], 2.0)
    torch.testing.assert_close(theta.detach(), torch.tensor([0.5, 1.0, 0.0]).double())


def test_slow_average() -> None:
    """Of d + c, bias-corrected."""
    theta = gates(0.5)
    optimizer = ProjectedGateDescent([theta], 100, slow_smoothing=0.5)
    step(optimizer, theta, [8.0], 2.0)
    torch.testing.assert_close(optimizer.slow_average(theta), torch.tensor([10.0]).double())
    step(optimizer, theta, [-4.0], 2.0)  # (0.5 * 0.5 * 10 + 0.5 * -2) / 0.75
    torch.testing.assert_close(optimizer.slow_average(theta), torch.tensor([2.0]).double())
    with pytest.raises(SettingError, match="no slow average is kept"):
        ProjectedGateDescent([theta], 100).slow_average(theta)


def test_state_dict_goes_on_where_it_stood() -> None:
    """Averages, their counts and the horizon: a restored optimizer takes the same steps."""
    torch.manual_seed(0)
    slopes = torch.randn(20, 3, dtype=torch.float64)
    runs = []
    for interrupted in (False, True):
        theta = gates(0.4, 0.5, 0.6)
        optimizer = ProjectedGateDescent([theta], 100, slow_smoothing=0.9)
        for number, slope in enumerate(slopes):
            if number == 7:
                optimizer.horizon = 20.0
            if number == 12 and interrupted:
                saved = optimizer.state_dict()
                theta = nn.Parameter(theta.detach().clone())
                optimizer = ProjectedGateDescent([theta], 100, slow_smoothing=0.9)
                optimizer.load_state_dict(saved)
                assert optimizer.horizon == 20.0
            step(optimizer, theta, slope, 1.0)
        runs.append((theta.detach(), optimizer.slow_average(theta)))
    torch.testing.assert_close(runs[0], runs[1], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"horizon": 0.5}, "horizon must be >= 1 step"),
        ({"horizon": float("nan")}, "horizon must be >= 1 step"),
        ({"horizon": 10, "smoothing": 1.0}, "smoothing must lie in"),
        ({"horizon": 10, "limit": 0.0}, "limit must be > 0"),
        ({"horizon": 10, "slow_smoothing": -0.1}, "slow_smoothing must lie in"),
    ],
)
def test_settings_that_cannot_be_used(settings: dict[str, float], says: str) -> None:
    with pytest.raises(SettingError, match=says):
        ProjectedGateDescent([gates(0.5)], **settings)


def test_prices_must_be_known() -> None:
    theta = gates(0.5)
    theta.grad = torch.zeros(1).double()
    with pytest.raises(SettingError, match="set `prices`"):
        ProjectedGateDescent([theta], 10).step()


def multilinear_slopes(values: Tensor, theta: Tensor) -> Tensor:
    """Gradient [S, J] at theta [S, J] of the multilinear function with these values [2^J] at the vertices."""
    variable = theta.detach().clone().requires_grad_()
    remaining = values.expand(len(theta), -1)
    for gate in range(theta.shape[1]):  # the expectation over one gate after the other
        closed, opened = remaining.unflatten(1, (2, -1)).unbind(1)
        remaining = torch.lerp(closed, opened, variable[:, gate : gate + 1])
    return torch.autograd.grad(remaining.sum(), variable)[0]


def is_single_flip_minimum(values: Tensor, vertex: Tensor) -> bool:
    """Whether flipping no single gate of a vertex [J] lowers the value."""
    powers = 2 ** torch.arange(len(vertex) - 1, -1, -1)
    here = int((vertex.long() * powers).sum())
    neighbours = [here ^ int(power) for power in powers]
    return all(float(values[here]) <= float(values[other]) for other in neighbours)


@pytest.mark.parametrize("seed", range(3))
def test_ends_at_a_vertex_that_no_single_flip_improves(seed: int) -> None:
    """Random multilinear losses of 8 gates plus a linear price, 40 starts each: the minimum over the box is there."""
    torch.manual_seed(seed)
    losses = torch.randn(256, dtype=torch.float64)
    prices = torch.rand(8, dtype=torch.float64) + 0.1
    theta = nn.Parameter(0.05 + 0.9 * torch.rand(40, 8, dtype=torch.float64))
    optimizer = ProjectedGateDescent([theta], 20)
    for _ in range(900):
        step(optimizer, theta, multilinear_slopes(losses, theta.detach()), prices)
    ends = theta.detach()
    assert bool(((ends == 0) | (ends == 1)).all())
    totals = losses + all_gates(8).double() @ prices
    assert all(is_single_flip_minimum(totals, end) for end in ends)
    assert len(ends.unique(dim=0)) > 1  # a local method: where it ends depends on the start


@pytest.mark.parametrize("seed", [9, 18])
def test_an_enumerated_network_ends_at_a_vertex(seed: int, tiny: Callable[..., Tiny]) -> None:
    """Weights fixed, exact gradients of the expected loss: from 20 starts to single-flip minima."""
    case = tiny(seed=seed)
    prices, vertices = torch.full((6,), 0.05).double(), all_gates(6).double()
    losses = []
    for vertex in vertices:
        with torch.no_grad():
            case.guide.theta.copy_(vertex)
        losses.append(expected_loss(*case)[0])
    values = torch.stack(losses)
    torch.manual_seed(seed)
    theta = nn.Parameter(0.2 + 0.6 * torch.rand(20, 6, dtype=torch.float64))
    with torch.no_grad():
        case.guide.theta.copy_(theta[0])
    torch.testing.assert_close(expected_loss(*case)[1], multilinear_slopes(values, theta)[0])
    optimizer = ProjectedGateDescent([theta], 20)
    for _ in range(900):
        step(optimizer, theta, multilinear_slopes(values, theta), prices)
    ends = theta.detach()
    assert bool(((ends == 0) | (ends == 1)).all())
    assert all(is_single_flip_minimum(values + vertices @ prices, end) for end in ends)


def test_an_estimate_every_few_steps_by_hand() -> None:
    """Between estimates theta goes on by the average as it is; one that stands for two steps weighs like two.

    Smoothing 0.5, T = 100, c = 1, every second step. d = 4 enters with weight 1 - 0.5^2 = 0.75, so m = 3/0.75 = 4 in
    steps 1 and 2; then d = -1: (0.25 * 3 - 0.75)/(1 - 0.5^4) = 0 in steps 3 and 4.
    """
    theta = gates(0.5)
    optimizer = ProjectedGateDescent([theta], 100, smoothing=0.5, slow_smoothing=0.8)
    optimizer.stands_for = 0
    step(optimizer, theta, [7.0], 1.0)
    assert theta.tolist() == [0.5]  # nothing is known yet
    expected = 0.5
    for slope, stands_for, average in ((4.0, 2, 4.0), (99.0, 0, 4.0), (-1.0, 2, 0.0), (99.0, 0, 0.0)):
        optimizer.stands_for = stands_for
        step(optimizer, theta, [slope], 1.0)
        expected -= (average + 1) / 100
        torch.testing.assert_close(theta.detach(), torch.tensor([expected]).double())
    slow = (0.64 * 0.36 * 5 + 0.36 * 0) / (1 - 0.8**4)  # of d + c: 5, then 0
    torch.testing.assert_close(optimizer.slow_average(theta), torch.tensor([slow]).double())


def test_the_average_of_sparse_estimates_is_unbiased() -> None:
    """Gradients with mean 2 at every third step: over many runs the average's mean is 2 within its standard error."""
    theta = nn.Parameter(torch.full((4000,), 0.5, dtype=torch.float64))  # as many independent gates
    optimizer = ProjectedGateDescent([theta], 1e6, smoothing=0.9)
    noise = torch.Generator().manual_seed(0)
    for number in range(20):
        optimizer.stands_for = 0 if number % 3 else 3
        step(optimizer, theta, 2 + torch.randn(4000, generator=noise, dtype=torch.float64), 1.0)
    average = optimizer.average(theta)
    assert float((average.mean() - 2).abs() / (average.std() / 4000**0.5)) < 3
    assert 0.1 < float(average.std()) < 1  # it is an average: less noise than one gradient has


def test_sparse_estimates_go_on_exactly_after_a_stop() -> None:
    """Between two estimates all that counts is in the optimizer's state: a copy goes on to the same numbers."""
    slopes = torch.randn(9, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    theta = gates(0.3, 0.5, 0.7, 0.9)
    optimizer = ProjectedGateDescent([theta], 30)
    copied = optimizer
    for number, slope in enumerate(slopes):
        if number == 4:
            twin = nn.Parameter(theta.detach().clone())
            copied = ProjectedGateDescent([twin], 30)
            copied.load_state_dict(deepcopy(optimizer.state_dict()))
        optimizer.stands_for = copied.stands_for = 0 if number % 3 else 3
        step(optimizer, theta, slope, 1.0)
        if number >= 4:
            step(copied, twin, slope, 1.0)
    assert torch.equal(theta, twin)

"""Prices against finite differences of what gates cost."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bayesprune.errors import BudgetError, SettingError
from bayesprune.models import LeNet5, LeNet300
from bayesprune.models.prices import CostPrice, EqualPrice, LayerPrice, parse_price
from bayesprune.structure import ExpectedCost, Structure, compact, find, layer_costs


def parts(network: nn.Module, shape: tuple[int, ...]) -> tuple[Structure, ExpectedCost, int, int]:
    """Structure, expected cost, multiply-accumulates and parameters."""
    example = torch.zeros(2, *shape)
    structure, layers = find(network, example), layer_costs(network, example)
    cost = ExpectedCost(network, structure, {layer.name: layer.positions for layer in layers})
    return structure, cost, sum(layer.macs for layer in layers), sum(p.numel() for p in network.parameters())


def perceptron() -> tuple[Structure, ExpectedCost, int, int]:
    return parts(LeNet300((5, 4), (6,), 3), (6,))


def convolutional() -> tuple[Structure, ExpectedCost, int, int]:
    return parts(LeNet5((3, 4, 6), (1, 16, 16), 3), (1, 16, 16))


def test_equal_and_layer_prices() -> None:
    structure, cost, _, _ = perceptron()
    theta = torch.full((15,), 0.5, dtype=torch.float64)
    assert EqualPrice(20.0).log_gamma(structure, cost, theta).tolist() == [20.0] * 15
    prices = LayerPrice({"fc1": 2.0, "fc2": 3.0, "inputs": 0.5}).log_gamma(structure, cost, theta)
    assert prices.tolist() == [0.5] * 6 + [2.0] * 5 + [3.0] * 4
    assert prices.dtype == torch.float64


def test_layer_prices_follow_a_shrunken_structure() -> None:
    """One price for each gate that is left."""
    network = LeNet300((5, 4), (6,), 3)
    structure = find(network, torch.zeros(2, 6))
    is_open = torch.ones(15, dtype=torch.bool)
    is_open[[0, 7, 8]] = False
    smaller = compact(network, structure, is_open)
    cost = ExpectedCost(network, smaller, {})
    prices = LayerPrice({"fc1": 2.0, "fc2": 3.0, "inputs": 0.5}).log_gamma(smaller, cost, torch.ones(12))
    assert prices.tolist() == [0.5] * 5 + [2.0] * 3 + [3.0] * 4


@pytest.mark.parametrize("given", [{"fc1": 2.0}, {"fc1": 1.0, "fc2": 1.0, "inputs": 1.0, "fc3": 1.0}])
def test_layer_prices_must_name_the_groups(given: dict[str, float]) -> None:
    structure, cost, _, _ = perceptron()
    with pytest.raises(SettingError, match=r"prices and groups differ in .* the groups are \['inputs', 'fc1', 'fc2'\]"):
        LayerPrice(given).log_gamma(structure, cost, torch.ones(15))


@pytest.mark.parametrize("make", [perceptron, convolutional])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_cost_price_is_the_cost_that_hangs_on_a_gate(
    make: Callable[[], tuple[Structure, ExpectedCost, int, int]], alpha: float
) -> None:
    """nats J [alpha dE[MAC]/dtheta / MAC_0 + (1 - alpha) dE[params]/dtheta / P_0]; multilinear, so the difference of
    the cost with the gate open and closed is the slope."""
    structure, cost, macs, params = make()
    gates = structure.gate_count
    torch.manual_seed(0)
    theta = torch.rand(gates, dtype=torch.float64)
    prices = CostPrice(7.0, alpha, gates, macs, params).log_gamma(structure, cost, theta)

    def share(at: Tensor) -> float:
        expected_macs, expected_params = cost(at)
        return alpha * float(expected_macs) / macs + (1 - alpha) * float(expected_params) / params

    for gate in range(gates):
        ends = []
        for value in (0.0, 1.0):
            at = theta.clone()
            at[gate] = value
            ends.append(share(at))
        assert float(prices[gate]) == pytest.approx(7.0 * gates * (ends[1] - ends[0]), rel=1e-9)
    assert not theta.requires_grad


def test_cost_price_of_lenet_300_100_by_hand() -> None:
    """All gates open, multiply-accumulates only: an input carries 300, a unit of fc1 884, of fc2 310 of 266,200."""
    structure, cost, macs, params = parts(LeNet300(), (1, 28, 28))
    prices = CostPrice(1.0, 1.0, 1184, macs, params).log_gamma(structure, cost, torch.ones(1184).double())
    expected = torch.cat([torch.full((784,), 300.0), torch.full((300,), 884.0), torch.full((100,), 310.0)])
    torch.testing.assert_close(prices, 1184 * expected.double() / 266_200)


def test_cost_price_under_no_grad_and_of_gates_without_use() -> None:
    """The slope is taken whatever the caller's mode; a price is never 0, for steps are divided by it."""
    structure, cost, macs, params = perceptron()
    price = CostPrice(7.0, 1.0, 15, macs, params)
    theta = torch.zeros(15)
    with torch.no_grad():
        prices = price.log_gamma(structure, cost, theta)
    assert bool((prices > 0).all())
    assert bool(torch.isfinite(prices).all())


@pytest.mark.parametrize("nats", [0.0, -1.0, float("nan"), float("inf")])
def test_prices_that_cannot_be_used(nats: float) -> None:
    """gamma must be > 1, or no gate would ever close."""
    for make in (EqualPrice, lambda n: LayerPrice({"fc1": n}), lambda n: CostPrice(n, 0.5, 1, 1, 1)):
        with pytest.raises(BudgetError, match="must be a finite number of nats > 0"):
            make(nats)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_shares_that_cannot_be_used(alpha: float) -> None:
    with pytest.raises(SettingError, match="alpha must lie in"):
        CostPrice(1.0, alpha, 1, 1, 1)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (20, 20.0),
        ("20", 20.0),
        ("1e-3", 1e-3),
        ("fc1=20,fc2=10.5", {"fc1": 20.0, "fc2": 10.5}),
        (" fc1 = 20 , block.conv=1 ", {"fc1": 20.0, "block.conv": 1.0}),
    ],
)
def test_prices_are_read(written: float | str, meant: float | dict[str, float]) -> None:
    assert parse_price(written) == meant


@pytest.mark.parametrize("written", ["", "cheap", "fc1=", "fc1=20,", "fc1=20,fc2", "fc1=20,fc1=10", "=3", "1,2"])
def test_what_is_no_price(written: str) -> None:
    with pytest.raises(BudgetError, match="write a number of nats, or fc1=20,fc2=10"):
        parse_price(written)

"""Prices of sections and of complexity: gradients of what is open costs."""

from itertools import product

import pytest
import torch
from torch import Tensor, nn

from bayesprune.errors import BudgetError, SettingError
from bayesprune.models.complexity import ComplexityPrice, SectionPrice
from bayesprune.sections.find import find_sections, with_sections
from bayesprune.structure import ExpectedCost, Structure, find, layer_costs
from tests.bayesprune.sections.networks import Nested, Residual, SmallResNet

IMAGES = torch.randn(2, 1, 6, 6)


def priced(make: type[nn.Module]) -> tuple[Structure, ExpectedCost]:
    network = make().eval()
    structure = with_sections(find(network, IMAGES), find_sections(network, IMAGES).sections)
    return structure, ExpectedCost.of(network, structure, layer_costs(network, IMAGES))


@pytest.mark.parametrize("make", [Residual, SmallResNet, Nested])
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (0.3, 2.5), (0.0, 0.4)])
def test_prices_are_differences_of_the_total(make: type[nn.Module], alpha: float, beta: float) -> None:
    """The function is multilinear, so a price is the total with the gate open less that with it closed."""
    structure, cost = priced(make)
    price = ComplexityPrice.of(structure, cost, 50.0, alpha, beta)
    theta = torch.rand(structure.gate_count, dtype=torch.float64)
    nats = price.log_gamma(structure, cost, theta)
    for gate in range(structure.gate_count):
        totals = []
        for value in (0.0, 1.0):
            moved = theta.clone()
            moved[gate] = value
            totals.append(price.total(structure, cost, moved))
        assert float(nats[gate]) == pytest.approx(max(totals[1] - totals[0], 1e-6), rel=1e-9, abs=1e-9)


def test_alpha_chooses_between_compute_and_parameters() -> None:
    structure, cost = priced(SmallResNet)
    gates = torch.bernoulli(torch.full((structure.gate_count,), 0.6)).double()
    macs, params = (float(now) / float(start) for now, start in zip(cost(gates), cost(gates * 0 + 1), strict=True))
    for alpha in (0.0, 0.25, 1.0):
        share = ComplexityPrice.of(structure, cost, 1.0, alpha, 1.0).total(structure, cost, gates)
        assert share == pytest.approx(alpha * macs + (1 - alpha) * params)


def test_a_section_of_the_whole_network_costs_beta_times_its_share() -> None:
    structure, cost = priced(Residual)
    whole = torch.ones(structure.gate_count, dtype=torch.float64)
    for beta in (0.5, 1.0, 3.0):
        price = ComplexityPrice.of(structure, cost, 100.0, 1.0, beta)
        nats = price.log_gamma(structure, cost, whole)[structure.section_gates]
        share = 60 / (36 * 6 + 3 * 60 + 18)  # 6-5-6 in a network of 36-6, three such blocks, and 6-3
        torch.testing.assert_close(nats, torch.full((3,), 100.0 * beta * share, dtype=torch.float64))


def test_sections_have_one_price_and_units_none() -> None:
    structure, cost = priced(Nested)
    price = SectionPrice(7.0)
    theta = torch.full((structure.gate_count,), 0.5)
    nats = price.log_gamma(structure, cost, theta)
    assert nats[structure.section_gates].tolist() == [7.0, 7.0] and int((nats > 1e-5).sum()) == 2
    for first, second in product([0.0, 1.0], repeat=2):
        gates: Tensor = torch.ones(structure.gate_count)
        gates[structure.section_gates] = torch.tensor([first, second])
        assert price.total(structure, cost, gates) == 7.0 * (first + second)


def test_prices_that_are_none_are_refused() -> None:
    with pytest.raises(BudgetError, match="price must be a finite number of nats > 0"):
        SectionPrice(0.0)
    with pytest.raises(SettingError, match="alpha must lie in"):
        ComplexityPrice(1.0, 1.5, 1.0, 1.0, 1.0)
    with pytest.raises(BudgetError, match="beta must be a finite number > 0, not 0"):
        ComplexityPrice(1.0, 0.5, 0.0, 1.0, 1.0)

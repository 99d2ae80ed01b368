"""Prices: what a gate must be worth in nats of training log-likelihood, ln gamma."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Protocol

import torch
from torch import Tensor

from bayesprune.errors import BudgetError, SettingError
from bayesprune.structure import ExpectedCost, Structure


class Price(Protocol):
    """Says ln gamma [J] of the present gates.

    Attributes:
        factor: what a budget has multiplied the price by so far.
    """

    @property
    def factor(self) -> float:
        """1 unless the price follows a budget."""
        ...

    def log_gamma(self, structure: Structure, cost: ExpectedCost, theta: Tensor) -> Tensor:
        """Prices in nats, before any ramp."""
        ...

    def total(self, structure: Structure, cost: ExpectedCost, gates: Tensor) -> float:
        """Nats of all that is open at gates [J] in {0, 1}: what the prices are the differences of."""
        ...


class _Unchanged:
    """A price that follows nothing."""

    factor = 1.0


@dataclass(frozen=True)
class EqualPrice(_Unchanged):
    """The same price for every gate."""

    nats: float

    def __post_init__(self) -> None:
        check_nats("price", self.nats)

    def log_gamma(self, structure: Structure, cost: ExpectedCost, theta: Tensor) -> Tensor:
        """`nats` for each gate."""
        return torch.full_like(theta, self.nats)

    def total(self, structure: Structure, cost: ExpectedCost, gates: Tensor) -> float:
        """`nats` for each open gate."""
        return self.nats * float(gates.sum())


@dataclass(frozen=True)
class LayerPrice(_Unchanged):
    """One price for each group, by name."""

    nats: Mapping[str, float]

    def __post_init__(self) -> None:
        for name, value in self.nats.items():
            check_nats(f"price of {name!r}", value)

    def log_gamma(self, structure: Structure, cost: ExpectedCost, theta: Tensor) -> Tensor:
        """Each group's price for its gates."""
        self.check(structure)
        return torch.cat([theta.new_full((len(g.kept),), float(self.nats[g.name])) for g in structure.groups])

    def total(self, structure: Structure, cost: ExpectedCost, gates: Tensor) -> float:
        """Each open gate's price."""
        return float((self.log_gamma(structure, cost, gates) * gates).sum())

    def check(self, structure: Structure) -> None:
        """Refuse prices that do not name the groups.

        Raises:
            SettingError: naming the groups that have none, or that are not there.
        """
        differ = set(structure.slices()) ^ set(self.nats)
        if differ:
            groups = list(structure.slices())
            raise SettingError(f"prices and groups differ in {sorted(differ)}; the groups are {groups}")


@dataclass(frozen=True)
class CostPrice(_Unchanged):
    """Prices in proportion to the cost a gate carries, re-evaluated as the network shrinks.

        ln gamma_j = nats J [alpha dE[MAC]/dtheta_j / MAC_0 + (1 - alpha) dE[params]/dtheta_j / P_0]

    with J gates, MAC_0 multiply-accumulates and P_0 parameters at the start; expectations in closed form. A price that
    depends on the present size is a positive feedback at the start: use a ramp (recipe, section 5).

    Attributes:
        nats: price of a gate that carries the J-th part of the network.
        alpha: 1 prices multiply-accumulates only, 0 parameters only.
        gates, macs, params: J, MAC_0 and P_0.
    """

    nats: float
    alpha: float
    gates: int
    macs: float
    params: float

    def __post_init__(self) -> None:
        check_nats("price", self.nats)
        if not 0 <= self.alpha <= 1:
            raise SettingError(f"alpha must lie in [0, 1], not {self.alpha}")

    def log_gamma(self, structure: Structure, cost: ExpectedCost, theta: Tensor) -> Tensor:
        """The share of the expected cost that hangs on each gate."""
        with torch.enable_grad():
            variable = theta.detach().clone().requires_grad_(True)
            (slope,) = torch.autograd.grad(self._share(cost, variable), variable)
        return (self.nats * self.gates) * slope.clamp_min(1e-12)

    def total(self, structure: Structure, cost: ExpectedCost, gates: Tensor) -> float:
        """The share of the initial cost that is left, which no sum of `log_gamma` is: a product counts once."""
        return self.nats * self.gates * float(self._share(cost, gates))

    def _share(self, cost: ExpectedCost, theta: Tensor) -> Tensor:
        """Expected cost at theta [J] over that at the start."""
        macs, params = cost(theta)
        return self.alpha * macs / self.macs + (1 - self.alpha) * params / self.params


def check_nats(name: str, value: float) -> None:
    """Refuse a price that is not above 0: gates would never close (gamma must be > 1 to prune).

    Raises:
        BudgetError: naming value and limit.
    """
    if not (isfinite(value) and value > 0):
        raise BudgetError(f"{name} must be a finite number of nats > 0 (gamma = e^price > 1), not {value}")


def parse_price(price: float | str) -> float | dict[str, float]:
    """Read a price: a number of nats, or "fc1=20,fc2=10" for each group.

    Raises:
        BudgetError: it is neither.
    """
    if isinstance(price, (int, float)):
        return float(price)
    try:
        if "=" not in price:
            return float(price)
        pairs = [part.split("=", 1) for part in price.split(",")]
        prices = {name.strip(): float(value) for name, value in pairs}
        if len(prices) < len(pairs) or "" in prices:
            raise ValueError("a group has two prices, or no name")
        return prices
    except ValueError:
        raise BudgetError(f"price {price!r}: write a number of nats, or fc1=20,fc2=10 for each group") from None

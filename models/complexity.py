"""Prices of sections, and of units and sections together by what they add to the expected cost."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite

import torch
from torch import Tensor

from bayesprune.errors import BudgetError, SettingError
from bayesprune.models.prices import _Unchanged, check_nats
from bayesprune.structure import ExpectedCost, Structure

LEAST = 1e-6
"""Nats that stand for no price: ln gamma must be above 0."""


@dataclass(frozen=True)
class SectionPrice(_Unchanged):
    """The same price for every section, and none for units.

    Attributes:
        nats: of training log-likelihood that a section must be worth.
    """

    nats: float

    def __post_init__(self) -> None:
        check_nats("price", self.nats)

    def log_gamma(self, structure: Structure, cost: ExpectedCost, theta: Tensor) -> Tensor:
        """`nats` for the gate of each section."""
        return torch.full_like(theta, LEAST).index_fill(0, structure.section_gates.to(theta.device), self.nats)

    def total(self, structure: Structure, cost: ExpectedCost, gates: Tensor) -> float:
        """`nats` for each open section."""
        return self.nats * float(gates[structure.section_gates.to(gates.device)].sum())


@dataclass(frozen=True)
class ComplexityPrice(_Unchanged):
    """Prices of units and sections: the gradient of one multilinear function, the complexity of the network.

        complexity(theta) = alpha E[MAC] / MAC_0 + (1 - alpha) E[params] / P_0 + (beta - 1) sum_b w_b theta_b
        ln gamma_j = N nu d complexity / d theta_j

    with MAC_0 multiply-accumulates and P_0 parameters at the start and w_b the share of the first two terms that hangs
    on section b then. So a section costs beta times its share of the network as long as that is whole. The weight beta
    stands beside the expected cost and not before its gradient: weighted gradients are those of no function.

    Attributes:
        nats: N nu, what the whole network costs in nats of training log-likelihood: accuracy against size.
        alpha: compute against parameters: 1 prices multiply-accumulates only, 0 parameters only.
        beta: layers against units: above 1 sections go first, below 1 units.
        macs, params: MAC_0 and P_0.
        shares: w_b by the name of the section.
    """

    nats: float
    alpha: float
    beta: float
    macs: float
    params: float
    shares: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_nats("price", self.nats)
        if not 0 <= self.alpha <= 1:
            raise SettingError(f"alpha must lie in [0, 1], not {self.alpha}")
        if not (isfinite(self.beta) and self.beta > 0):
            raise BudgetError(f"beta must be a finite number > 0, not {self.beta}")

    @classmethod
    def of(cls, structure: Structure, cost: ExpectedCost, nats: float, alpha: float, beta: float) -> "ComplexityPrice":
        """That of a network as it is at the start."""
        whole = torch.ones(structure.gate_count, dtype=torch.float64)
        macs, params = (float(each) for each in cost(whole))
        plain = cls(nats, alpha, 1.0, macs, params)
        slope = plain._slope(structure, cost, whole)[structure.section_gates].tolist()
        shares = {one.name: share for one, share in zip(structure.sections, slope, strict=True)}
        return cls(nats, alpha, beta, macs, params, shares)

    def log_gamma(self, structure: Structure, cost: ExpectedCost, theta: Tensor) -> Tensor:
        """What each gate adds to the complexity, in nats."""
        return (self.nats * self._slope(structure, cost, theta)).clamp_min(LEAST)

    def total(self, structure: Structure, cost: ExpectedCost, gates: Tensor) -> float:
        """The complexity of what is open, in nats."""
        return self.nats * float(self.complexity(structure, cost, gates))

    def complexity(self, structure: Structure, cost: ExpectedCost, theta: Tensor) -> Tensor:
        """At theta [J]; 1 + (beta - 1) sum_b w_b for the whole network."""
        macs, params = cost(theta)
        share = self.alpha * macs / self.macs + (1 - self.alpha) * params / self.params
        if self.beta == 1 or not structure.sections:
            return share
        weights = theta.new_tensor([self.shares[one.name] for one in structure.sections])
        gates = theta[structure.section_gates.to(theta.device)]
        return share + (self.beta - 1) * (weights * gates).sum()

    def _slope(self, structure: Structure, cost: ExpectedCost, theta: Tensor) -> Tensor:
        with torch.enable_grad():
            variable = theta.detach().clone().requires_grad_(True)
            (slope,) = torch.autograd.grad(self.complexity(structure, cost, variable), variable)
        return slope

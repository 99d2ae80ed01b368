"""Log priors over settings of the gates of a finished run, whose prices are what open gates cost in nats."""

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from bayesprune.errors import SettingError
from bayesprune.inference.options import GATE_DEFAULTS, ParsimoniousOptions
from bayesprune.models.prices import CostPrice
from bayesprune.models.priors.flattening import FlatteningHyperPrior
from bayesprune.run.evidence import check_nats, price_of
from bayesprune.structure import ExpectedCost, Structure
from bayesprune.training.network_kinds import network_kind

if TYPE_CHECKING:
    from bayesprune.run.pruned import Pruned

PRIORS = ("map", "marginal")
"""Names of the prior odds: those of the objective, pi at its mode, and those with pi summed out."""

ALIKE = 1e-4
"""Relative difference of prices that counts as none."""


class LogPrior(Protocol):
    """A log prior over settings of J gates, up to a constant.

    Attributes:
        log_odds: of each gate [J], open against closed, with all others open.
    """

    log_odds: Tensor

    def of(self, rows: Tensor) -> Tensor:
        """That of settings [K, J] in {0, 1}, up to a constant: [K] in float64."""
        ...

    def opening(self, gates: Tensor, gate: int) -> float:
        """By how much it rises when a gate opens and all others stay at gates [J]."""
        ...


class Independent:
    """Independent gates.

    Args:
        log_odds: of an open gate [J].
    """

    def __init__(self, log_odds: Tensor) -> None:
        self.log_odds, self._each = log_odds, log_odds.tolist()

    def of(self, rows: Tensor) -> Tensor:
        """See `LogPrior.of`."""
        return rows.double() @ self.log_odds.double()

    def opening(self, gates: Tensor, gate: int) -> float:
        """See `LogPrior.opening`."""
        return float(self._each[gate])


class JointCost:
    """Minus the price of all that is open, by the cost of the whole network: gates are not independent.

    What a unit costs hangs on how many units of the layers before and behind it are open, so that a sum of single
    prices is not the price of the whole.

    Args:
        price: by cost.
        structure, cost: of the network as it is left.
    """

    def __init__(self, price: CostPrice, structure: Structure, cost: ExpectedCost) -> None:
        self._price, self._structure, self._cost = price, structure, cost
        every = torch.ones(structure.gate_count, dtype=torch.float64)
        self.log_odds = torch.tensor([self.opening(every, gate) for gate in range(len(every))], dtype=torch.float64)

    def of(self, rows: Tensor) -> Tensor:
        """See `LogPrior.of`."""
        return torch.tensor([-self._nats(row) for row in rows.double()], dtype=torch.float64)

    def opening(self, gates: Tensor, gate: int) -> float:
        """See `LogPrior.opening`."""
        row = gates.double().clone()
        row[gate] = 1
        opened = self._nats(row)
        row[gate] = 0
        return self._nats(row) - opened

    def _nats(self, gates: Tensor) -> float:
        return self._price.total(self._structure, self._cost, gates)


def prior_log_odds(price: Tensor, pi: str = "map") -> Tensor:
    """Prior log odds [J] of an open gate at a price of ln gamma nats.

    Args:
        price: nats [J].
        pi: "map" for minus the price, the odds of the objective, whose prior probability pi is at its mode with the
            gate; "marginal" for those of the flattening hyper-prior with pi summed out, log m / (1 - m) at its mean m.

    Raises:
        SettingError: `pi` is neither.
    """
    if pi not in PRIORS:
        raise SettingError(f"pi must be 'map' or 'marginal', not {pi!r}")
    if pi == "map":
        return -price
    mean = FlatteningHyperPrior(log_gamma=price).mean
    return mean.log() - (-mean).log1p()


def log_prior_of(pruned: "Pruned", price: float | None, pi: str) -> LogPrior:
    """The log prior of the gates that are left of a run.

    Args:
        pruned: the result of a run.
        price: nats of every gate; None for those of the run. Prices by cost are taken for all gates together with
            `pi="map"`; with "marginal" each gate has the one that it has in the network as it is left.
        pi: as in `prior_log_odds`.

    Raises:
        SettingError: a setting cannot be used, or the run has no prices and none is given.
    """
    odds = prior_log_odds(_prices(pruned, price), pi)
    by_cost = joint_cost(pruned) if price is None and pi == "map" else None
    return Independent(odds) if by_cost is None else by_cost


def joint_cost(pruned: "Pruned") -> JointCost | None:
    """The joint prior of a run whose prices are by cost; None for other runs.

    The record holds by how much the price falls when each gate closes: the same multiple of what that saves of the
    network's cost. The multiple is the price. Where it is not the same, as after a change of the network, there is
    none.
    """
    found, structure, options = price_of(pruned), pruned.structure, pruned.settings.options
    kind = options.get("price_kind") or GATE_DEFAULTS[network_kind(pruned.network)].price_kind
    if found is None or kind != "cost" or len(pruned.dense_layers) == 0:
        return None
    cost = ExpectedCost.of(pruned.network, structure, pruned.layers)
    unit = CostPrice(
        1.0,
        float(options.get("alpha", ParsimoniousOptions.alpha)),
        structure.initial_gate_count,
        sum(layer.macs for layer in pruned.dense_layers),
        pruned.dense_params,
    )
    saved = -JointCost(unit, structure, cost).log_odds
    nats = float(found.sum() / saved.sum())
    if not nats > 0 or not bool(torch.allclose(found, nats * saved, rtol=ALIKE, atol=ALIKE * nats)):
        return None
    return JointCost(replace(unit, nats=nats), structure, cost)


def _prices(pruned: "Pruned", price: float | None) -> Tensor:
    """Nats of every gate that is left."""
    if price is not None:
        check_nats(price)
        return torch.full((pruned.structure.gate_count,), float(price), dtype=torch.float64)
    found = price_of(pruned)
    if found is None:
        raise SettingError(
            f"the run ({pruned.settings.method}) has no price a gate: give price=..., the nats of log-likelihood that "
            "an open gate must be worth"
        )
    return found

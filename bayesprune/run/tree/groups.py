"""The groups of a tree that hold gates and what is known of each draw."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from bayesprune.errors import SettingError
from bayesprune.run.evidence import Evidence
from bayesprune.run.predictive import Predictive
from bayesprune.run.tree.chains import Chains, Variables
from bayesprune.structure import ExpectedCost

if TYPE_CHECKING:
    import xarray

_AT_ONCE = 256
"""Draws whose cost is computed together."""


def posterior(chains: Chains) -> "xarray.Dataset":
    """The drawn gates, and how many of each group are open."""
    import xarray

    return xarray.Dataset(
        {
            "z": (("chain", "draw", "gate"), chains.z),
            "open_gates": (("chain", "draw", "group"), chains.by_group(chains.z, np.int64)),
        },
        coords={"gate": chains.gates, "group": list(chains.sizes)},
        attrs={"note": chains.note},
    )


def constants(chains: Chains) -> "xarray.Dataset":
    """What all chains share. Nothing of it has a chain: ArviZ 0.23 cannot concatenate constants that have one."""
    import xarray

    found = xarray.Dataset(
        {
            "group_of_gate": ("gate", list(chains.group_of)),
            "index_in_group": ("gate", chains.index),
            "group_size": ("group", list(chains.sizes.values())),
        },
        coords={"gate": chains.gates, "group": list(chains.sizes)},
    )
    return found if chains.log_odds is None else found.assign(prior_log_odds=("gate", chains.log_odds[0]))


def statistics(
    chains: Chains,
    predicted: Predictive | None,
    evidence: Evidence | Sequence[Evidence] | None,
    log_odds: NDArray[np.float64] | None,
) -> "xarray.Dataset":
    """What is known of every draw, and of every chain; see `bayesprune.run.datatree.to_datatree`."""
    import xarray

    draws, found = ("chain", "draw"), dict(chains.stats)
    if chains.price is not None:
        found["price"] = ("chain", "gate"), chains.price
    if chains.theta is not None:
        found["log_q"] = (
            draws,
            np.stack([_log_q(*one) for one in zip(chains.z, chains.theta, chains.left, strict=True)]),
        )
    if all(network is not None for network in chains.networks):
        costs = np.stack([_costs(chains, chain) for chain in range(len(chains.z))], axis=1)
        found |= {"macs": (draws, costs[0]), "params": (draws, costs[1])}
    if evidence is not None:
        found |= _evidence(chains, [evidence] if isinstance(evidence, Evidence) else list(evidence))
    if predicted is not None:
        found["loss"] = draws, -predicted.log_likelihood.double().mean(2).numpy()
        if log_odds is not None and predicted.split == "train":
            prior = log_prior(chains, log_odds).sum(-1)
            found["log_p"] = draws, prior - predicted.size * found["loss"][1]
    return xarray.Dataset(found, coords={"gate": chains.gates} | chains.coords)


def log_prior(chains: Chains, log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log prior probability [R, D, groups] of the drawn gates that are left, by group, at prior log odds [R, J]."""
    opened, closed = -np.logaddexp(0.0, -log_odds), -np.logaddexp(0.0, log_odds)
    rows = [
        chains.by_group(np.where(here & (z > 0), one, np.where(here, other, 0.0)), np.float64)
        for z, here, one, other in zip(chains.z, chains.left, opened, closed, strict=True)
    ]
    return np.stack(rows)


def _log_q(z: NDArray[np.uint8], theta: NDArray[np.float64], left: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Log-probability [draw] of drawn gates that are left; decided ones add log 1 = 0 and are left out."""
    own = left & (theta > 0.0) & (theta < 1.0)
    opened, closed = np.log(theta[own]), np.log1p(-theta[own])
    found: NDArray[np.float64] = z[:, own] @ (opened - closed) + closed.sum()
    return found


def _costs(chains: Chains, chain: int) -> NDArray[np.float64]:
    """Multiply-accumulates a sample and parameters [2, draw] under the gates of each draw that are left."""
    pruned = chains.network(chain, "the cost of a draw")
    cost = ExpectedCost.of(pruned.network, pruned.structure, pruned.layers)
    settings, back = np.unique(chains.z[chain][:, chains.left[chain]], axis=0, return_inverse=True)
    found = torch.vmap(cost, chunk_size=_AT_ONCE)(torch.from_numpy(settings).double())
    return torch.stack(found).detach().numpy()[:, back.ravel()]


def _evidence(chains: Chains, evidence: Sequence[Evidence]) -> Variables:
    """Evidence and its error [chain, gate], nats; NaN for gates that are gone."""
    networks = len({id(one) for one in chains.networks}) if chains.theta is None else len(chains.networks)
    if len(evidence) != networks:
        raise SettingError(f"evidence of {len(evidence)} runs is given for {networks}: give one of each")
    found = np.full((2, len(chains.z), len(chains.group_of)), np.nan)
    places = {name: place for place, name in enumerate(chains.gates)}
    for chain in range(len(chains.z)):
        one = evidence[chain % networks]
        here = [places.get(name, -1) for name in one.names]
        if -1 in here or not bool(chains.left[chain][here].all()) or len(here) != chains.left[chain].sum():
            raise SettingError(f"the evidence of chain {chain} is of other gates than those that its network has left")
        found[0, chain, here], found[1, chain, here] = one.evidence.numpy(), one.error.numpy()
    return {"evidence": (("chain", "gate"), found[0]), "evidence_error": (("chain", "gate"), found[1])}

"""Gates drawn from their prior, at the prices of a run."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from bayesprune.errors import SettingError
from bayesprune.run.evidence import check_nats
from bayesprune.run.samplers import sampler
from bayesprune.run.tree.chains import Chains
from bayesprune.run.tree.groups import log_prior

if TYPE_CHECKING:
    import xarray

_NAMES = ("marginal", "map")


@dataclass(frozen=True, eq=False)
class Prior:
    """Draws from the prior, as many as there are of the posterior.

    Attributes:
        log_odds: of an open gate [R, J]; NaN where there is no price any more.
        z: uint8 [R, D, J]; closed where there is no price any more.
        pi: drawn prior probabilities [R, D, J] in float32; None where no hyper-prior was drawn from.
    """

    log_odds: NDArray[np.float64]
    z: NDArray[np.uint8]
    pi: NDArray[np.float32] | None

    def groups(self, chains: Chains) -> "dict[str, xarray.Dataset]":
        """Groups `prior`, with the variables of the posterior, and `log_prior` of the posterior's draws."""
        import xarray

        drawn = {
            "z": (("chain", "draw", "gate"), self.z),
            "open_gates": (("chain", "draw", "group"), chains.by_group(self.z, np.int64)),
        }
        if self.pi is not None:
            drawn["pi"] = ("chain", "draw", "gate"), self.pi
        gate, group = {"gate": chains.gates}, {"group": list(chains.sizes)}
        return {
            "prior": xarray.Dataset(drawn, coords=gate | group),
            "log_prior": xarray.Dataset(
                {"z": (("chain", "draw", "group"), log_prior(chains, self.log_odds))}, coords=group
            ),
        }


def prior_of(chains: Chains, name: str | bool | None, price: float | None, seed: int) -> Prior:
    """Draw gates from their prior.

    Args:
        chains: of the posterior.
        name: "marginal", "map" or True; see `bayesprune.run.datatree.to_datatree`.
        price: nats of every gate; None for those of the runs.
        seed: of the draws.

    Raises:
        SettingError: there is no such prior, or no price.
    """
    if name is not True and name not in _NAMES:
        raise SettingError(f"prior must be 'marginal', 'map' or True, not {name!r}")
    uniform = np.random.default_rng([seed, 1]).random(chains.z.shape, dtype=np.float32)
    if chains.log_odds is not None:
        if name is not True or price is not None:
            raise SettingError("Gibbs draws have prior odds of their own: give prior=True and no price")
        return Prior(chains.log_odds, _opened(uniform, chains.log_odds), None)
    nats = _nats(chains, price)
    if name == "map":
        return Prior(-nats, _opened(uniform, -nats), None)
    log_odds, pi = sampler("hyper-prior")(torch.from_numpy(nats), chains.z.shape[1], seed)
    drawn: NDArray[np.float32] = pi.float().numpy()
    return Prior(log_odds.numpy(), (uniform < drawn).astype(np.uint8), drawn)


def _opened(uniform: NDArray[np.float32], log_odds: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Gates that are open with these log odds."""
    chance = np.exp(-np.logaddexp(0.0, -log_odds))[:, None, :]
    return (uniform < chance).astype(np.uint8)  # never below NaN


def _nats(chains: Chains, price: float | None) -> NDArray[np.float64]:
    """Prices [R, J]."""
    if price is not None:
        check_nats(price)
        return np.full(chains.left.shape, float(price))
    if chains.price is None:
        raise SettingError(
            "the runs have no price a gate, so their prior is not known: give price=..., the nats of log-likelihood "
            "that an open gate must be worth, or leave prior out"
        )
    return chains.price

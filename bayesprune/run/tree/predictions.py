"""What the networks of several chains predict under the gates of each draw."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bayesprune.data.given import as_data, raw_pair
from bayesprune.run.predictive import Predictive, joined
from bayesprune.run.tree.chains import Chains


def read_once(chains: Chains, data: Any) -> Any:
    """Data as they are; a loader or a name as what it gives, so that all networks predict the same examples."""
    if data is None or (pair := raw_pair(data)) is not None:
        return None if data is None else pair
    task = chains.network(0, "a prediction").task
    return as_data(data, None if task is None else task.name)


def predictions(
    chains: Chains, gates: NDArray[np.uint8], data: Any, split: str, examples: int | None, seed: int
) -> Predictive:
    """Predictions under gates [R, D, J], of which each network uses those that it has left.

    Targets are drawn where the likelihood is a law.

    Args:
        chains: whose networks predict.
        gates: of them, drawn from posterior or prior.
        data: as in `bayesprune.run.predictive.predictive`.
        split: of the data.
        examples: as there; the same ones for all chains.
        seed: of the choice of examples, and of the targets.

    Raises:
        SettingError, StoreError, DataError: as there, or a network is not at hand.
    """
    networks = [chains.network(chain, "a prediction") for chain in range(len(chains.z))]
    can = all(one.likelihood is not None and one.likelihood.can_sample for one in networks)

    def predict(chain: int, rows: NDArray[np.uint8]) -> Predictive:
        left = torch.from_numpy(np.ascontiguousarray(rows[..., chains.left[chain]]))
        own = int(np.random.SeedSequence([seed, chain]).generate_state(1)[0])
        return networks[chain].predictive(
            left, data, split=split, examples=examples, sampled=can, seed=seed, targets_seed=own
        )

    if all(one is networks[0] for one in networks):
        return predict(0, gates)
    return joined([predict(chain, gates[chain : chain + 1]) for chain in range(len(networks))], networks[0])

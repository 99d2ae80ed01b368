"""Prior distributions over gates and over the weights that gates switch."""

from bayesprune.models.priors.flattening import (
    FlatteningHyperPrior,
    bernoulli_kl,
    flattened_penalty,
    most_probable_inclusion,
)
from bayesprune.models.priors.node_spike_slab import NodeSpikeSlab, NodeSpikeSlabPosterior

__all__ = [
    "FlatteningHyperPrior",
    "NodeSpikeSlab",
    "NodeSpikeSlabPosterior",
    "bernoulli_kl",
    "flattened_penalty",
    "most_probable_inclusion",
]

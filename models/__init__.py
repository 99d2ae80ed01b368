"""Second floor: networks, and the Pyro models over them (gate priors, weight priors, likelihoods).

The networks need torch only; the Pyro models are imported on first use, because Pyro takes its time.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from bayesprune.models.networks import (
    MLP,
    VGG16,
    CellNet,
    Conv4,
    GraphMLP,
    GraphRNN,
    LeNet5,
    LeNet300,
    ResNet20,
    ResNet32,
    ResNet56,
    StackedRNN,
)

if TYPE_CHECKING:
    from bayesprune.models.gated import GatedModel
    from bayesprune.models.graph_model import GraphModel, GraphRegression
    from bayesprune.models.likelihoods import CategoricalLikelihood, GaussianLikelihood
    from bayesprune.models.prices import CostPrice, EqualPrice, LayerPrice
    from bayesprune.models.priors import FlatteningHyperPrior, NodeSpikeSlab
    from bayesprune.models.priors.gates import FixedGatePrior, FlatteningGatePrior
    from bayesprune.models.priors.graph_prior import GraphPrior
    from bayesprune.models.priors.one_of import OneOf
    from bayesprune.models.priors.random_graph import RandomGraph
    from bayesprune.models.priors.weights import GaussianSlab

__all__ = [
    "MLP",
    "VGG16",
    "CategoricalLikelihood",
    "CellNet",
    "Conv4",
    "CostPrice",
    "EqualPrice",
    "FixedGatePrior",
    "FlatteningGatePrior",
    "FlatteningHyperPrior",
    "GatedModel",
    "GaussianLikelihood",
    "GaussianSlab",
    "GraphMLP",
    "GraphModel",
    "GraphPrior",
    "GraphRNN",
    "GraphRegression",
    "LayerPrice",
    "LeNet5",
    "LeNet300",
    "NodeSpikeSlab",
    "OneOf",
    "RandomGraph",
    "ResNet20",
    "ResNet32",
    "ResNet56",
    "StackedRNN",
]

_LAZY = {
    "CategoricalLikelihood": "likelihoods",
    "CostPrice": "prices",
    "EqualPrice": "prices",
    "FixedGatePrior": "priors.gates",
    "FlatteningGatePrior": "priors.gates",
    "FlatteningHyperPrior": "priors",
    "GatedModel": "gated",
    "GaussianLikelihood": "likelihoods",
    "GaussianSlab": "priors.weights",
    "GraphModel": "graph_model",
    "GraphPrior": "priors.graph_prior",
    "GraphRegression": "graph_model",
    "LayerPrice": "prices",
    "NodeSpikeSlab": "priors",
    "OneOf": "priors.one_of",
    "RandomGraph": "priors.random_graph",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)

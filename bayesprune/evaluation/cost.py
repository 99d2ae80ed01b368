"""What a stored network costs: parameters, non-zero weights, multiply-accumulates."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bayesprune.structure import LayerCost, layer_costs
from bayesprune.structure.cost import COUNTED


@dataclass(frozen=True)
class Cost:
    """Cost of a network with dense kernels.

    Attributes:
        params: all parameters, biases included.
        weights: entries of the weights of linear and convolution layers, zeros included.
        nonzero_weights: those that are not zero.
        macs: multiply-accumulates of one sample.
        layers: layer by layer.
    """

    params: int
    weights: int
    nonzero_weights: int
    macs: int
    layers: tuple[LayerCost, ...]


def cost(network: nn.Module, example: Tensor) -> Cost:
    """Count what the network costs for one sample of example [B, ...]."""
    layers = layer_costs(network, example)
    weights = [module.weight for module in network.modules() if isinstance(module, COUNTED)]
    return Cost(
        params=sum(parameter.numel() for parameter in network.parameters()),
        weights=sum(weight.numel() for weight in weights),
        nonzero_weights=sum(int(torch.count_nonzero(weight)) for weight in weights),
        macs=sum(layer.macs for layer in layers),
        layers=layers,
    )

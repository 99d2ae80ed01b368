"""What a stored network costs: parameters, non-zero weights, multiply-accumulates."""

from dataclasses import dataclass

import torch
from torch import nn

from bayesprune.batches import Batch
from bayesprune.structure import LayerCost, layer_costs, weight_sizes, weights_of


@dataclass(frozen=True)
class Cost:
    """Cost of a network with dense kernels.

    Attributes:
        params: all parameters, biases included.
        weights: entries of the weights of the linear, convolution and recurrent layers that run, zeros included.
        nonzero_weights: those that are not zero.
        macs: multiply-accumulates of one sample, whatever makes them.
        layers: layer by layer; they add up to `macs`.
    """

    params: int
    weights: int
    nonzero_weights: int
    macs: int
    layers: tuple[LayerCost, ...]


def cost(network: nn.Module, example: Batch) -> Cost:
    """Count what the network costs for one sample of example [B, ...]."""
    layers = layer_costs(network, example)
    weights = weights_of(network, {layer.name for layer in layers})
    return Cost(
        params=sum(parameter.numel() for parameter in network.parameters()),
        weights=sum(weight_sizes(network, weights).values()),
        nonzero_weights=sum(int(torch.count_nonzero(weight)) for weight in weights.values()),
        macs=sum(layer.macs for layer in layers),
        layers=layers,
    )

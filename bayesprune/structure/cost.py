"""What a network costs while it shrinks: multiply-accumulates and parameters as functions of the gates."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bayesprune.structure.groups import Structure

COUNTED = (nn.Linear, nn.modules.conv._ConvNd)
"""Layers whose multiply-accumulates are counted: everything with a weight that is multiplied by its inputs."""


@dataclass(frozen=True)
class LayerCost:
    """One layer's cost for one sample.

    Attributes:
        name: the layer.
        kind: its class.
        inputs: features (or channels) it reads.
        outputs: features (or channels) it writes.
        params: its parameters, biases included.
        macs: its multiply-accumulates (biases not counted).
        positions: output positions at which the weight is used.
    """

    name: str
    kind: str
    inputs: int
    outputs: int
    params: int
    macs: int
    positions: int


@torch.no_grad()
def layer_costs(network: nn.Module, example: Tensor) -> tuple[LayerCost, ...]:
    """Count every linear and convolution layer's cost for one sample of example [B, ...], in network order."""
    positions: dict[str, int] = {}

    def watch(name: str) -> Any:
        def hook(module: nn.Module, _: Any, output: Tensor) -> None:
            batch, width = output.shape[0], module.weight.shape[0]
            if isinstance(module, nn.modules.conv._ConvTransposeNd):
                width = module.weight.shape[1] * module.groups
            positions[name] = positions.get(name, 0) + output.numel() // (batch * max(width, 1))

        return hook

    layers = {name: module for name, module in network.named_modules() if isinstance(module, COUNTED)}
    handles = [module.register_forward_hook(watch(name)) for name, module in layers.items()]
    was_training = network.training
    network.eval()
    try:
        network(example)
    finally:
        network.train(was_training)
        for handle in handles:
            handle.remove()
    return tuple(_layer_cost(name, layers[name], count) for name, count in positions.items())


def _layer_cost(name: str, layer: nn.Module, positions: int) -> LayerCost:
    """A layer's cost when its weight is used at the given number of positions."""
    inputs = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
    outputs = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
    params = sum(parameter.numel() for parameter in layer.parameters(recurse=False))
    macs = positions * layer.weight.numel()
    return LayerCost(name, type(layer).__name__, int(inputs), int(outputs), params, macs, positions)


class ExpectedCost:
    """Expected multiply-accumulates and parameters of a gated network, in closed form.

    With independent gates open with probability theta the expectation of every layer's cost is the product of the
    expected numbers of its inputs and outputs, hence multilinear in theta (methods note, section 7C). Where a layer
    reads and writes the same group (a convolution between two points of one residual stream) the two factors are
    treated as independent.

    Args:
        network: in its present shape.
        structure: its groups.
        positions: output positions of each counted layer, by name (`LayerCost.positions`).
    """

    def __init__(self, network: nn.Module, structure: Structure, positions: dict[str, int]) -> None:
        outputs = {(axis.layer, axis.tensor): axis.gates for axis in structure.axes}
        readers = {reader.layer: reader for reader in structure.readers}
        self._terms: list[tuple[float, float, Tensor | None, Tensor | None, Tensor | None]] = []
        for layer_name, layer in network.named_modules():
            for name, parameter in layer.named_parameters(recurse=False):
                written, reader = outputs.get((layer_name, name)), readers.get(layer_name)
                is_weight = name == "weight" and isinstance(layer, COUNTED)
                arriving = reader.arriving[reader.selected] if reader is not None and is_weight else None
                selection = reader.selection if reader is not None and is_weight else None
                unit = parameter.numel() / max(1, _length(written) * _length(arriving))
                used = positions.get(layer_name, 0) if is_weight else 0
                self._terms.append((unit, unit * used, written, arriving, selection))

    def __call__(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Expected (macs per sample, params) at inclusion probabilities theta [J]; differentiable."""
        padded = torch.cat([theta, theta.new_ones(1)])
        macs = params = theta.new_zeros(())
        for unit, unit_macs, written, arriving, selection in self._terms:
            size = padded.new_ones(()) if written is None else padded[written].sum()
            if arriving is not None:
                reads = padded[arriving] if selection is None else padded[arriving] * padded[selection]
                size = size * reads.sum()
            params = params + unit * size
            macs = macs + unit_macs * size
        return macs, params


def _length(gates: Tensor | None) -> int:
    """Length of an axis that gates act on; 1 where there is none."""
    return 1 if gates is None else len(gates)




"""What a network costs: multiply-accumulates and parameters, layer by layer."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from bayesprune.batches import Batch, call, head
from bayesprune.devices import device_of, random_apart
from bayesprune.structure.layers import CONVOLUTION, TRANSPOSED, weight_of
from bayesprune.structure.macs import MacCounter
from bayesprune.structure.modes import evaluating, hooked

COUNTED = (nn.Linear, CONVOLUTION)
"""Layers that have a row of their own: everything with a weight that is multiplied by inputs."""

OTHER, UNATTRIBUTED = "(other)", "unattributed"
"""Name and kind of the row of all multiply-accumulates that no such layer makes; they cannot be pruned."""


@dataclass(frozen=True)
class LayerCost:
    """One layer's cost for one sample.

    Attributes:
        name: the layer; `OTHER` for all that no linear or convolution layer multiplies.
        kind: its class; `UNATTRIBUTED` for that.
        inputs: features (or channels) it reads.
        outputs: features (or channels) it writes.
        params: its parameters, biases included.
        macs: its multiply-accumulates (biases not counted).
        positions: how often the weight is used: output positions, of a transposed convolution input
            positions; 0 where other code than the layer's multiplies the weight.
        weights: entries of its weight.
    """

    name: str
    kind: str
    inputs: int
    outputs: int
    params: int
    macs: int
    positions: int
    weights: int = 0


def fed_outputs(layer: nn.Module) -> int:
    """How many features (or channels) a linear or convolution layer writes with a weight that is not 0.

    The others are the same for every sample: their bias.
    """
    alive = weight_of(layer).detach() != 0
    if isinstance(layer, TRANSPOSED):  # [inputs, outputs / groups, ...]
        alive = alive.unflatten(0, (layer.groups, -1)).transpose(1, 2).flatten(0, 1)
    return int(alive.flatten(1).any(1).sum())


@torch.no_grad()
def layer_costs(network: nn.Module, example: Batch) -> tuple[LayerCost, ...]:
    """Count what one sample of example [B, ...] costs, as the network is run in evaluation mode.

    Every operator is counted (`MacCounter`). A linear or convolution layer that takes part has a row; what is
    multiplied elsewhere (recurrent layers, attention, weights used by functions) has one row in common, `OTHER`, which
    is there only where it is not 0. So the rows add up to all multiply-accumulates. Layers that do not run have no row.
    """
    layers = {name: module for name, module in network.named_modules() if isinstance(module, COUNTED)}
    account = _Account({name: weight_of(layer).numel() for name, layer in layers.items() if not is_lazy(layer.weight)})
    with account.watching(network), evaluating(network), random_apart(device_of(network)), account.counter:
        call(network, head(example, 1))
    used = [name for name in account.sizes if id(layers[name].weight) in account.counter.used]
    running = account.positions | {name: 0 for name in used if name not in account.positions}
    rows = [_layer_cost(name, layers[name], uses) for name, uses in running.items()]
    return (*rows, *_rest(network, rows, account.counter.macs))


class _Account:
    """Which layer multiplies how much while a network runs.

    Attributes:
        sizes: entries of each layer's weight.
        positions: by layer how often its weight was used, in the order of their calls.
    """

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self.sizes, self.counter = sizes, MacCounter()
        self.positions: dict[str, int] = {}
        self._attributed = 0
        self._begun: list[int] = []

    def watching(self, network: nn.Module) -> AbstractContextManager[None]:
        """Hooks on the layers."""
        layers = [(name, network.get_submodule(name)) for name in self.sizes]
        return hooked(
            handle
            for name, layer in layers
            for handle in (
                layer.register_forward_pre_hook(self._enter),
                layer.register_forward_hook(partial(self._leave, name)),
            )
        )

    def _enter(self, *_: Any) -> None:
        self._begun.append(self.counter.macs - self._attributed)

    def _leave(self, name: str, *_: Any) -> None:
        """What ran since the layer began, without what layers inside it have taken."""
        uses = (self.counter.macs - self._attributed - self._begun.pop()) // max(self.sizes[name], 1)
        self.positions[name] = self.positions.get(name, 0) + uses
        self._attributed += uses * self.sizes[name]


def _layer_cost(name: str, layer: nn.Module, positions: int) -> LayerCost:
    """A layer's cost when its weight is used at the given number of positions."""
    kind = "features" if isinstance(layer, nn.Linear) else "channels"
    inputs, outputs = getattr(layer, f"in_{kind}"), getattr(layer, f"out_{kind}")
    params = sum(parameter.numel() for parameter in layer.parameters(recurse=False))
    weights = weight_of(layer).numel()
    return LayerCost(name, type(layer).__name__, inputs, outputs, params, positions * weights, positions, weights)


def _rest(network: nn.Module, rows: Sequence[LayerCost], macs: int) -> tuple[LayerCost, ...]:
    """The row of what no layer in `rows` multiplies, with the parameters of no layer in `rows`."""
    rest = macs - sum(row.macs for row in rows)
    params = sum(parameter.numel() for parameter in network.parameters()) - sum(row.params for row in rows)
    return (LayerCost(OTHER, UNATTRIBUTED, 0, 0, max(params, 0), rest, 0),) if rest else ()


def weights_of(network: nn.Module, layers: Collection[str] | None = None) -> dict[str, nn.Parameter]:
    """The weights (not biases) of linear and convolution layers by parameter name; a shared one once.

    Weights that are computed from other parameters (weight norm) are none of them.

    Args:
        network: any.
        layers: names of the layers that count, as those that run (`layer_costs`); None for all.
    """
    owners = [
        layer
        for name, layer in network.named_modules()
        if isinstance(layer, COUNTED) and (layers is None or name in layers)
    ]
    chosen = {id(layer._parameters.get("weight")) for layer in owners}
    return {name: weight for name, weight in network.named_parameters() if id(weight) in chosen}


def idle_layers(network: nn.Module, layers: Sequence[LayerCost]) -> dict[str, int]:
    """Linear and convolution layers that take no part in a forward pass: names and numbers of parameters.

    Args:
        network: whose forward pass was counted.
        layers: by `layer_costs`.
    """
    running = {layer.name for layer in layers}
    return {
        name: sum(parameter.numel() for parameter in module.parameters(recurse=False))
        for name, module in network.named_modules()
        if isinstance(module, COUNTED) and name not in running
    }

"""What a network costs: multiply-accumulates and parameters, layer by layer."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from bayesprune.batches import Batch, call, head
from bayesprune.devices import device_of, random_apart
from bayesprune.structure.layers import CONVOLUTION, TRANSPOSED, units_inside, weight_of
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
        uses: of the row `OTHER`, how often other code uses each parameter, by name.
        own: of the row `OTHER`, what layers with units inside (attention) multiply without parameters, by name.
    """

    name: str
    kind: str
    inputs: int
    outputs: int
    params: int
    macs: int
    positions: int
    weights: int = 0
    uses: tuple[tuple[str, float], ...] = ()
    own: tuple[tuple[str, float], ...] = ()


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
    sizes = {name: weight_of(layer).numel() for name, layer in layers.items() if not is_lazy(layer.weight)}
    account = _Account(network, sizes)
    with account.watching(network), evaluating(network), random_apart(device_of(network)), _in_parts(), account.counter:
        call(network, head(example, 1))
    used = [name for name in account.sizes if id(layers[name].weight) in account.counter.used]
    running = account.positions | {name: 0 for name in used if name not in account.positions}
    rows = [_layer_cost(name, layers[name], uses) for name, uses in running.items()]
    return (*rows, *_rest(network, rows, account))


@contextmanager
def _in_parts() -> Iterator[None]:
    """For a while attention of torch runs operator by operator, so that it shows what each weight multiplies."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


class _Account:
    """Which layer multiplies how much while a network runs.

    Attributes:
        sizes: entries of each layer's weight.
        positions: by layer how often its weight was used, in the order of their calls.
        own: by layer with units inside what it multiplied without parameters.
    """

    def __init__(self, network: nn.Module, sizes: Mapping[str, int]) -> None:
        weights = {name: each for name, each in network.named_parameters() if not is_lazy(each) and each.dim() > 1}
        self.sizes, self.counter = sizes, MacCounter(weights)
        self.positions: dict[str, int] = {}
        self.own: dict[str, float] = {}
        self._attributed = 0
        self._begun: list[int] = []
        self._inside: list[float] = []

    def watching(self, network: nn.Module) -> AbstractContextManager[None]:
        """Hooks on the layers."""
        layers = [(name, network.get_submodule(name), self._enter, self._leave) for name in self.sizes]
        layers += [
            (name, layer, self._enter_inside, self._leave_inside)
            for name, layer in network.named_modules()
            if getattr(units_inside(layer), "macs", None) is not None
        ]
        return hooked(
            handle
            for name, layer, enter, leave in layers
            for handle in (
                layer.register_forward_pre_hook(enter),
                layer.register_forward_hook(partial(leave, name)),
            )
        )

    def _without_weights(self) -> float:
        """What was multiplied so far by operators that were given no parameter."""
        return self.counter.macs - sum(self.counter.by_weight.values())

    def _enter_inside(self, *_: Any) -> None:
        self._inside.append(self._without_weights())

    def _leave_inside(self, name: str, *_: Any) -> None:
        self.own[name] = self.own.get(name, 0.0) + self._without_weights() - self._inside.pop()

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


def _rest(network: nn.Module, rows: Sequence[LayerCost], account: _Account) -> tuple[LayerCost, ...]:
    """The row of what no layer in `rows` multiplies, with the parameters of no layer in `rows`."""
    rest = account.counter.macs - sum(row.macs for row in rows)
    if not rest:
        return ()
    params = sum(parameter.numel() for parameter in network.parameters()) - sum(row.params for row in rows)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    counted = dict.fromkeys(names.values(), 0)
    for row in rows:
        name = names.get(id(weight_of(network.get_submodule(row.name))))
        if name is not None:
            counted[name] += row.macs
    sizes = dict(network.named_parameters())
    found = ((name, (macs - counted[name]) / sizes[name].numel()) for name, macs in account.counter.by_weight.items())
    uses = tuple((name, times) for name, times in found if times > 0)
    own = tuple(account.own.items())
    return (LayerCost(OTHER, UNATTRIBUTED, 0, 0, max(params, 0), rest, 0, uses=uses, own=own),)


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

"""What a network costs: multiply-accumulates and parameters, layer by layer."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from bayesprune.batches import Batch, call, head
from bayesprune.devices import device_of, random_apart
from bayesprune.structure.layers import TRANSPOSED, units_inside, weight_of
from bayesprune.structure.macs import MacCounter
from bayesprune.structure.matrices import COUNTED, fixed_masks, multiplied
from bayesprune.structure.modes import evaluating, hooked

OTHER, UNATTRIBUTED = "(other)", "unattributed"
"""Name and kind of the row of all multiply-accumulates that no such layer makes; they cannot be pruned."""


_PROJECTS = "weight_hr"
"""The matrix of an LSTM that makes its hidden state smaller; its rows are no hidden units."""


@dataclass(frozen=True)
class LayerCost:
    """One layer's cost for one sample.

    Attributes:
        name: the layer; `OTHER` for all that no linear, convolution or recurrent layer multiplies.
        kind: its class; `UNATTRIBUTED` for that.
        inputs: features (or channels) it reads.
        outputs: features (or channels) it writes.
        params: its parameters, biases included.
        macs: its multiply-accumulates (biases not counted).
        positions: how often the weight is used: output positions, of a transposed convolution input
            positions, of a recurrent layer time steps; 0 where other code than the layer's multiplies the weight.
        weights: entries of its weight, or of a recurrent layer's matrices, those outside of a fixed mask left out.
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
    """How many features (or channels) a layer writes with a weight that is not 0: of `layer_costs`' rows.

    The others are the same for every sample: their bias. Of recurrent layers it is the hidden units of which any gate
    reads something.
    """
    if not isinstance(layer, COUNTED):
        matrices = [getattr(layer, tensor).detach() for tensor in multiplied(layer) if not tensor.startswith(_PROJECTS)]
        rows = torch.cat([matrix.any(1) for matrix in matrices])
        return int(rows.unflatten(0, (-1, _widths(layer)[1])).any(0).sum())
    alive = weight_of(layer).detach() != 0
    if isinstance(layer, TRANSPOSED):  # [inputs, outputs / groups, ...]
        alive = alive.unflatten(0, (layer.groups, -1)).transpose(1, 2).flatten(0, 1)
    return int(alive.flatten(1).any(1).sum())


@torch.no_grad()
def layer_costs(network: nn.Module, example: Batch) -> tuple[LayerCost, ...]:
    """Count what one sample of example [B, ...] costs, as the network is run in evaluation mode.

    Every operator is counted (`MacCounter`). A linear, convolution or recurrent layer that takes part has a row; what
    is multiplied elsewhere (attention, weights used by functions) has one row in common, `OTHER`, which is there only
    where it is not 0. So the rows add up to all multiply-accumulates. Layers that do not run have no row. Entries
    outside of a fixed mask are multiplied like others: they cost what they would without it.
    """
    layers = {name: module for name, module in network.named_modules() if multiplied(module)}
    sizes = {name: entries for name, layer in layers.items() if (entries := _entries(layer)) is not None}
    account = _Account(network, sizes)
    with account.watching(network), evaluating(network), random_apart(device_of(network)), _in_parts(), account.counter:
        call(network, head(example, 1))
    used = [
        name
        for name in account.sizes
        if any(id(getattr(layers[name], tensor)) in account.counter.used for tensor in multiplied(layers[name]))
    ]
    running = account.positions | {name: 0 for name in used if name not in account.positions}
    fixed = fixed_masks(network)
    rows = [_layer_cost(name, layers[name], uses, fixed) for name, uses in running.items()]
    return (*rows, *_rest(network, rows, account))


def _entries(layer: nn.Module) -> int | None:
    """How many numbers a layer multiplies what arrives by; None where that is not known yet."""
    tensors = [getattr(layer, tensor) for tensor in multiplied(layer)]
    return None if any(is_lazy(tensor) for tensor in tensors) else sum(int(tensor.numel()) for tensor in tensors)


def _widths(layer: nn.Module) -> tuple[int, int]:
    """How many features (or channels) a layer with a row reads and writes."""
    pairs = (("in_features", "out_features"), ("in_channels", "out_channels"), ("input_size", "hidden_size"))
    inputs, outputs = next(pair for pair in pairs if hasattr(layer, pair[0]))
    return int(getattr(layer, inputs)), int(getattr(layer, outputs))


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


def _layer_cost(name: str, layer: nn.Module, positions: int, fixed: Mapping[str, Tensor]) -> LayerCost:
    """A layer's cost when its weights are used at the given number of positions."""
    tensors = {tensor: getattr(layer, tensor) for tensor in multiplied(layer)}
    inputs, outputs = _widths(layer)
    params = sum(parameter.numel() for parameter in layer.parameters(recurse=False))
    entries = sum(tensor.numel() for tensor in tensors.values())
    masks = {tensor: fixed.get(f"{name}.{tensor}".lstrip(".")) for tensor in tensors}
    weights = sum(value.numel() if (mask := masks[t]) is None else int(mask.sum()) for t, value in tensors.items())
    return LayerCost(name, type(layer).__name__, inputs, outputs, params, positions * entries, positions, weights)


def _rest(network: nn.Module, rows: Sequence[LayerCost], account: _Account) -> tuple[LayerCost, ...]:
    """The row of what no layer in `rows` multiplies, with the parameters of no layer in `rows`."""
    rest = account.counter.macs - sum(row.macs for row in rows)
    if not rest:
        return ()
    params = sum(parameter.numel() for parameter in network.parameters()) - sum(row.params for row in rows)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    counted = dict.fromkeys(names.values(), 0)
    for row in rows:
        layer = network.get_submodule(row.name)
        for value in (getattr(layer, tensor) for tensor in multiplied(layer)):
            if (name := names.get(id(value))) is not None:
                counted[name] += row.positions * value.numel()
    sizes = dict(network.named_parameters())
    found = ((name, (macs - counted[name]) / sizes[name].numel()) for name, macs in account.counter.by_weight.items())
    uses = tuple((name, times) for name, times in found if times > 0)
    own = tuple(account.own.items())
    return (LayerCost(OTHER, UNATTRIBUTED, 0, 0, max(params, 0), rest, 0, uses=uses, own=own),)


def idle_layers(network: nn.Module, layers: Sequence[LayerCost]) -> dict[str, int]:
    """Linear, convolution and recurrent layers that take no part in a forward pass: names and numbers of parameters.

    Args:
        network: whose forward pass was counted.
        layers: by `layer_costs`.
    """
    running = {layer.name for layer in layers}
    return {
        name: sum(parameter.numel() for parameter in module.parameters(recurse=False))
        for name, module in network.named_modules()
        if multiplied(module) and name not in running
    }

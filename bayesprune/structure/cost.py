"""What a network costs while it shrinks: multiply-accumulates and parameters as functions of the gates."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bayesprune.structure.groups import UNGATED, Reader, Structure
from bayesprune.structure.layers import CONVOLUTION, TRANSPOSED, weight_of
from bayesprune.structure.modes import evaluating, hooked
from bayesprune.structure.selectors import plain_name

COUNTED = (nn.Linear, CONVOLUTION)
"""Layers whose multiply-accumulates are counted: everything with a weight that is multiplied by inputs."""


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
        positions: how often the weight is used: output positions, of a transposed convolution input
            positions.
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
def layer_costs(network: nn.Module, example: Tensor) -> tuple[LayerCost, ...]:
    """Count every linear and convolution layer's cost for one sample of example [B, ...], as they are run.

    What layers of other kinds multiply (attention, recurrent layers) is not counted.
    """
    positions: dict[str, int] = {}

    def watch(name: str) -> Any:
        def hook(layer: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
            features = arguments[0] if isinstance(layer, TRANSPOSED) else output
            width = weight_of(layer).shape[0]
            positions[name] = positions.get(name, 0) + features.numel() // (len(features) * width)

        return hook

    layers = {name: module for name, module in network.named_modules() if isinstance(module, COUNTED)}
    watching = (module.register_forward_hook(watch(name)) for name, module in layers.items())
    with hooked(watching), evaluating(network):
        network(example)
    return tuple(_layer_cost(name, layers[name], count) for name, count in positions.items())


def _layer_cost(name: str, layer: nn.Module, positions: int) -> LayerCost:
    """A layer's cost when its weight is used at the given number of positions."""
    kind = "features" if isinstance(layer, nn.Linear) else "channels"
    inputs, outputs = getattr(layer, f"in_{kind}"), getattr(layer, f"out_{kind}")
    params = sum(parameter.numel() for parameter in layer.parameters(recurse=False))
    weights = weight_of(layer).numel()
    return LayerCost(name, type(layer).__name__, inputs, outputs, params, positions * weights, positions, weights)


@dataclass(frozen=True, eq=False)
class _Term:
    """One parameter's part: unit times the expected number of its open pairs (written, read).

    Attributes:
        unit: parameters a pair; `unit_macs` multiply-accumulates a pair.
        written: gate of each position written, or None.
        arriving, selection: gates of each position read, or None.
        common: for each position read, the positions written that have the same gate; None where there are
            none.
    """

    unit: float
    unit_macs: float
    written: Tensor | None
    arriving: Tensor | None
    selection: Tensor | None
    common: Tensor | None

    def expected(self, padded: Tensor) -> Tensor:
        """Expected number of open pairs at theta padded with a 1."""
        writes = padded.new_ones(()) if self.written is None else padded[self.written].sum()
        if self.arriving is None:
            return writes
        open_reads = padded[self.arriving]
        reads = open_reads if self.selection is None else open_reads * padded[self.selection]
        if self.common is None:
            return writes * reads.sum()
        # A gate is its own square, so given that a position is read, the written ones of its gate are open.
        return (reads * (writes + self.common.to(padded) * (1 - open_reads))).sum()


class ExpectedCost:
    """Expected multiply-accumulates and parameters of a gated network, in closed form.

    With independent gates, open with probability theta, the expectation of every layer's cost is multilinear
    in theta (methods note, section 7C): the product of the expected numbers of its inputs and outputs, and
    where a layer reads and writes the same group (a convolution between two points of one residual stream) a
    gate's pairs with itself count once and not squared. It is exact; at theta in {0, 1} it is the compacted
    network's cost.

    Args:
        network: in its present shape.
        structure: its groups.
        positions: how often each counted layer's weight is used, by name (`LayerCost.positions`).
    """

    def __init__(self, network: nn.Module, structure: Structure, positions: Mapping[str, int]) -> None:
        written = {(axis.layer, axis.tensor): axis.gates for axis in structure.axes}
        readers = {reader.layer: reader for reader in structure.readers}
        self._terms = [
            _term(parameter.numel(), written.get((layer_name, name)), reader, used)
            for layer_name, layer in network.named_modules()
            for name, parameter in layer.named_parameters(recurse=False)
            for reader, used in [_weight_use(layer_name, layer, name, readers, positions)]
        ]

    def __call__(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Expected (macs per sample, params) at inclusion probabilities theta [J]; differentiable."""
        padded = torch.cat([theta, theta.new_ones(1)])
        macs = params = theta.new_zeros(())
        for term in self._terms:
            pairs = term.expected(padded)
            params = params + term.unit * pairs
            macs = macs + term.unit_macs * pairs
        return macs, params


def _weight_use(
    layer_name: str, layer: nn.Module, name: str, readers: Mapping[str, Reader], positions: Mapping[str, int]
) -> tuple[Reader | None, int]:
    """What a counted layer's weight reads and how often it is used; nothing for other parameters."""
    if name != "weight" or not isinstance(layer, COUNTED):
        return None, 0
    return readers.get(layer_name), positions.get(layer_name, positions.get(plain_name(layer_name), 0))


def _term(size: int, written: Tensor | None, reader: Reader | None, used: int) -> _Term:
    """A parameter's term."""
    arriving = None if reader is None else reader.arriving[reader.selected]
    unit = size / max(1, (1 if written is None else len(written)) * (1 if arriving is None else len(arriving)))
    common = None
    if written is not None and arriving is not None:
        length = 2 + int(torch.cat([written, arriving]).max())
        same = written[written != UNGATED].bincount(minlength=length)[arriving]  # the last entry: no gate
        common = same if bool(same.any()) else None
    return _Term(unit, unit * used, written, arriving, None if reader is None else reader.selection, common)

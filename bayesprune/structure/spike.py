"""The node spike: a closed node's incoming weights and bias are zero, instead of its channel being unread.

It is what spike-and-slab methods over weights speak of. A gate on the consumers' inputs is the same thing
only where the path from the node to its consumers maps 0 to 0 (rectifier, pooling). A sigmoid or a
normalisation's shift turns a spiked node into a constant, which can be folded into the consumers' biases
where it reaches every output alike.
"""

from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from bayesprune.batches import Batch, call
from bayesprune.errors import UnsupportedLayerError
from bayesprune.structure.copying import copied
from bayesprune.structure.groups import Structure
from bayesprune.structure.matrices import COUNTED
from bayesprune.structure.members import Axis, Reader
from bayesprune.structure.modes import evaluating, hooked

TOLERANCE = 1e-6
"""Largest variation of a constant, relative to its size, that is taken for rounding."""


@torch.no_grad()
def spike_outputs(network: nn.Module, structure: Structure, open_gates: Tensor) -> nn.Module:
    """A copy in which the incoming weights and biases of all closed nodes are zero.

    A closed node of a group is spiked in every linear or convolution layer that writes it. A closed input (or
    flattened) feature has no incoming weights; the weights that read it are zero instead.

    Args:
        network: what the structure was found in.
        structure: its groups.
        open_gates: bool [J].
    """
    spiked = copied(network)
    padded = torch.cat([open_gates, open_gates.new_ones(1)])
    for axis in structure.axes:
        if isinstance(spiked.get_submodule(axis.layer), COUNTED):
            _zero(spiked.get_parameter(axis.parameter), axis.axis, ~padded[axis.gates])
    for reader in structure.readers:
        if reader.selection is not None:
            weight = spiked.get_parameter(reader.parameter)
            _zero(weight, reader.weight_axis, ~padded[reader.selection])
    return spiked


def maps_zero_to_zero(network: nn.Module, structure: Structure, example: Batch) -> dict[str, bool]:
    """Whether each group's spiked nodes reach every consumer as 0, so that spike and gate are the same.

    Decided in numbers, for the network's present weights in evaluation mode: all of a group's nodes are
    spiked, and what its consumers then read of them on example [B, ...] is looked at. Where a layer normalises over
    them, or reads them by a weight that functions use, it counts as no.
    """
    answers, hidden = {}, _hidden_gates(structure)
    for name, place in structure.slices().items():
        if bool(hidden[place].any()):
            answers[name] = False
            continue
        open_gates = torch.ones(structure.gate_count, dtype=torch.bool)
        open_gates[place] = False
        spiked = spike_outputs(network, structure, open_gates)
        seen = _closed_features(spiked, structure, open_gates, example)
        answers[name] = all(not bool(features.any()) for calls in seen.values() for features in calls)
    return answers


@torch.no_grad()
def fold_spikes(
    network: nn.Module, structure: Structure, open_gates: Tensor, example: Batch
) -> tuple[nn.Module, Structure]:
    """Fold the constants that spiked nodes leave at their consumers into the consumers' biases.

    The result says the same as `spike_outputs` (in evaluation mode) and no consumer reads a closed node, so
    that it can be compacted by the same gates.

    Args:
        network: what the structure was found in.
        structure: its groups.
        open_gates: bool [J].
        example: inputs [B, ...], best B > 1: what varies over them is no constant.

    Returns:
        A copy of the network, and its structure (a consumer that had no bias got one).

    Raises:
        UnsupportedLayerError: a consumer's response to the constant differs from place to place, such as a
            padded convolution's, which reads zeros at the border; the message names it. Or a layer normalises over
            closed nodes, or reads them by a weight that functions use.
    """
    if bool((_hidden_gates(structure) & ~open_gates).any()):
        raise UnsupportedLayerError(
            f"{_hiding(structure, open_gates)} normalises over spiked nodes, or reads them by a weight that is used "
            "past its layer, so their constants cannot be folded: close them by their gates"
        )
    folded = spike_outputs(network, structure, open_gates)
    seen = _closed_features(folded, structure, open_gates, example)
    axes = list(structure.axes)
    for reader in (reader for reader in structure.readers if not reader.by_weight):
        layer = folded.get_submodule(reader.layer)
        responses = [_response(layer, reader, features) for features in seen[reader.layer]]
        if any(bool(response.any()) for response in responses):
            had_bias = layer.bias is not None
            _add_bias(layer, _constant(reader.layer, responses))
            written = next((axis for axis in axes if axis.layer == reader.layer and axis.tensor == "weight"), None)
            if written is not None and not had_bias:
                axes.append(Axis(reader.layer, "bias", 0, written.gates))
        _zero(layer.get_parameter("weight"), reader.weight_axis, ~reader.open_positions(open_gates))
    return folded, replace(structure, axes=tuple(axes))


def _hidden_gates(structure: Structure) -> Tensor:
    """Gates, bool [J], of nodes that meet others in a normalisation, or are read where no hook sees them."""
    hidden = torch.zeros(structure.gate_count + 1, dtype=torch.bool)
    for gates in (*(norm.gates for norm in structure.norms), *(r.arriving for r in structure.readers if r.by_weight)):
        hidden[gates] = True
    return hidden[:-1]


def _hiding(structure: Structure, open_gates: Tensor) -> str:
    """The first layer for which that holds of a closed node."""
    closed = torch.cat([~open_gates, open_gates.new_zeros(1)])
    norms = [(norm.layer, norm.gates) for norm in structure.norms]
    reads = [(reader.parameter, reader.arriving) for reader in structure.readers if reader.by_weight]
    return next(repr(name) for name, gates in (*norms, *reads) if bool(closed[gates].any()))


@torch.no_grad()
def _closed_features(
    network: nn.Module, structure: Structure, open_gates: Tensor, example: Batch
) -> dict[str, list[Tensor]]:
    """What each reader reads at each of its calls, with everything but the closed channels set to 0."""
    readers = [reader for reader in structure.readers if not reader.by_weight]
    seen: dict[str, list[Tensor]] = {reader.layer: [] for reader in readers}
    padded = torch.cat([open_gates, open_gates.new_ones(1)])

    def watch(reader: Reader) -> Any:
        closed = ~padded[reader.arriving[reader.selected]]

        def hook(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            features = arguments[0].transpose(reader.feature_axis, -1) * closed.to(arguments[0])
            seen[reader.layer].append(features.transpose(reader.feature_axis, -1))

        return network.get_submodule(reader.layer).register_forward_pre_hook(hook)

    with hooked(watch(reader) for reader in readers), evaluating(network):
        call(network, example)
    return seen


def _response(layer: nn.Module, reader: Reader, features: Tensor) -> Tensor:
    """What a layer makes of the features without its bias: [..., outputs]."""
    unbiased = deepcopy(layer).double()  # so that sums in another order differ by less than the tolerance
    unbiased.register_parameter("bias", None)
    response: Tensor = unbiased(features.double())
    return response.transpose(reader.feature_axis, -1)


def _constant(layer: str, responses: list[Tensor]) -> Tensor:
    """The one value [outputs] that all responses have at all places.

    Raises:
        UnsupportedLayerError: they differ.
    """
    values = torch.cat([response.reshape(-1, response.shape[-1]) for response in responses])
    if bool((values - values[0]).abs().max() > TOLERANCE * values.abs().max()):
        raise UnsupportedLayerError(
            f"layer {layer!r} does not answer a spiked node's constant alike at all places (padding with "
            "zeros does that): close the node by its gate, or use a path that maps 0 to 0"
        )
    return values.mean(0)


def _add_bias(layer: nn.Module, constant: Tensor) -> None:
    """Add to a layer's bias; it gets one if it has none."""
    former, constant = layer._parameters["bias"], constant.to(layer.get_parameter("weight").dtype)
    layer.register_parameter("bias", nn.Parameter(constant if former is None else former + constant))


def _zero(tensor: Tensor, axis: int, closed: Tensor) -> None:
    """Set the closed positions along an axis to 0."""
    tensor.index_fill_(axis, closed.nonzero().flatten().to(tensor.device), 0.0)

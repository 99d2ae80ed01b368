"""Putting selectors in front of layers, and spreading what layers write, where channels are removed."""

from collections.abc import MutableMapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bayesprune.structure.groups import Structure
from bayesprune.structure.layers import CONVOLUTION
from bayesprune.structure.members import Axis, Normaliser, Reader
from bayesprune.structure.selectors import SelectChannels, Selected, Spread, SpreadChannels, is_wrapper

ByName = Sequence[MutableMapping[str, Any]]
"""What is named after parameters."""


def wrapped(network: nn.Module, structure: Structure, open_gates: Tensor, by_name: ByName) -> Structure:
    """Wrap the layers that select or spread once the closed gates are removed; or change what they have already.

    Whether there is a wrapper depends on what was kept only, not on the number of compactions that led there.

    Args:
        network: changed in place; a wrapped layer moves from "fc1" to "fc1.layer".
        structure: its groups.
        open_gates: bool [J].
        by_name: changed in place, what is named after parameters that move.

    Returns:
        The structure with the new names.
    """
    for number in range(len(structure.readers)):  # the names change on the way
        structure = _select(network, structure, structure.readers[number], open_gates, by_name)
    for layer in sorted(structure.spread):
        structure = _spread(network, structure, layer, open_gates, by_name)
    return structure


def _select(network: nn.Module, structure: Structure, reader: Reader, open_gates: Tensor, by_name: ByName) -> Structure:
    """Let a reader select the features that it goes on reading, where others arrive."""
    if reader.selection is None and not structure.behind_spread(reader):
        return structure
    stays, arrives = reader.open_positions(open_gates), structure.arrives(reader, open_gates)
    kept = (arrives.cumsum(0) - 1)[reader.selected[stays]]
    layer, (parent, leaf) = network.get_submodule(reader.layer), _place(network, reader.layer)
    if isinstance(parent, Selected):
        parent.select.kept = kept.to(parent.select.kept.device)
        return structure
    padded = torch.cat([open_gates, open_gates.new_ones(1)])
    own = reader.selection is not None and not bool(padded[reader.selection].all())
    if not own and not (structure.behind_spread(reader) and len(kept) < int(arrives.sum())):
        return structure
    select = SelectChannels(kept.to(_device(layer)), reader.feature_axis)
    if isinstance(parent, Spread):
        holder, name = _place(network, reader.layer.rpartition(".")[0])
        _put(holder, name, Selected(select, layer, parent.spread), layer)
        return structure
    _put(parent, leaf, Selected(select, layer), layer)
    return _moved(structure, reader.layer, by_name)


def _spread(network: nn.Module, structure: Structure, name: str, open_gates: Tensor, by_name: ByName) -> Structure:
    """Let a layer hand out zeros for the channels of closed gates; a normalisation gets zeros for them, too."""
    layer, (parent, leaf) = network.get_submodule(name), _place(network, name)
    norm = next((norm for norm in structure.norms if norm.layer == name), None)
    stays = _stays(structure, name, open_gates)
    known = getattr(parent, "spread", None) if is_wrapper(parent) else None
    if isinstance(known, SpreadChannels):
        spread = SpreadChannels(known.kept[stays.to(known.index.device)], known.index.numel(), known.axis)
    elif bool(stays.all()):
        return structure
    else:
        kept = stays.nonzero().flatten().to(_device(network))
        axis = norm.feature_axis if norm is not None else 1 if isinstance(layer, CONVOLUTION) else -1
        spread = SpreadChannels(kept, len(stays), axis)
    if norm is not None:
        select = SelectChannels(spread.kept, spread.axis)
        if isinstance(parent, Selected):
            parent.select, parent.spread = select, spread
            return structure
        _put(parent, leaf, Selected(select, layer, spread), layer)
        return _moved(structure, name, by_name)
    if isinstance(parent, Spread):
        parent.spread = spread
        return structure
    if isinstance(parent, Selected):
        parent.add_module("spread", spread)
        return structure
    _put(parent, leaf, Spread(layer, spread), layer)
    return _moved(structure, name, by_name)


def _stays(structure: Structure, layer: str, open_gates: Tensor) -> Tensor:
    """Which of the positions that a layer writes, or normalises, stay."""
    places: list[Axis | Normaliser] = [*structure.norms, *structure.axes]
    written = next(one for one in places if one.layer == layer)
    return torch.cat([open_gates, open_gates.new_ones(1)])[written.gates]


def _place(network: nn.Module, layer: str) -> tuple[nn.Module, str]:
    """The module that holds a layer, and its name there."""
    holder, _, leaf = layer.rpartition(".")
    return network.get_submodule(holder), leaf


def _put(holder: nn.Module, name: str, wrapper: nn.Module, layer: nn.Module) -> None:
    """Put a wrapper where a layer was."""
    wrapper.train(layer.training)
    setattr(holder, name, wrapper)


def _moved(structure: Structure, layer: str, by_name: ByName) -> Structure:
    """Names after a layer moved into a wrapper."""
    renamed = f"{layer}.layer"
    for named in by_name:
        for name in [name for name in named if name.startswith(f"{layer}.")]:
            named[renamed + name[len(layer) :]] = named.pop(name)
    return structure.renamed(layer, renamed)


def _device(module: nn.Module) -> torch.device:
    return next(module.parameters()).device

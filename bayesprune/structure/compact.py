"""Slicing closed channels out of a network in place, with everything that is shaped like its parameters."""

from collections.abc import Iterable, MutableMapping
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from bayesprune.errors import SettingError
from bayesprune.structure.groups import UNGATED, Axis, Group, Reader, Structure
from bayesprune.structure.selectors import SelectChannels, Selected

Cuts = dict[str, list[tuple[int, Tensor]]]
"""For each tensor of the network the axes to cut and the positions to keep."""


def compact(
    network: nn.Module,
    structure: Structure,
    open_gates: Tensor,
    *,
    optimizers: Iterable[Optimizer] = (),
    masks: MutableMapping[str, Tensor] | None = None,
) -> Structure:
    """Remove the channels whose gates are closed, in place.

    Parameters stay the same objects, so optimizers keep hold of them; their moments are cut alike, and so are masks
    (name of a parameter -> tensor of its shape).

    Args:
        network: what the structure was found in; its layers change shape.
        structure: the groups as they are now.
        open_gates: bool [J].
        optimizers: whose per-parameter state is cut along.
        masks: cut along, in place.

    Returns:
        The structure of the smaller network, original indices carried along.

    Raises:
        SettingError: the gates have the wrong number, or a group would be emptied.
    """
    if open_gates.shape != (structure.gate_count,):
        raise SettingError(f"{tuple(open_gates.shape)} gates for a structure that has {structure.gate_count}")
    for name, place in structure.slices().items():
        if place.stop > place.start and not open_gates[place].any():
            raise SettingError(f"group {name!r} would be emptied: keep at least one of its channels open")
    for reader in structure.readers:
        structure = _select(network, structure, reader, open_gates)
    parameters = dict(network.named_parameters(remove_duplicate=False))
    for name, cuts in _cuts(structure, open_gates).items():
        _cut_tensor(network, name, cuts)
        if name in parameters:
            _cut_state(parameters[name], cuts, optimizers)
        if masks is not None and name in masks:
            masks[name] = _cut(masks[name], cuts)
    smaller = _renumbered(structure, open_gates)
    for layer in {axis.layer for axis in structure.axes} | {reader.layer for reader in structure.readers}:
        _update_sizes(network.get_submodule(layer))
    return smaller


@torch.no_grad()
def reestimate_batchnorm(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Estimate the running statistics of every batch normalisation anew from batches of inputs."""
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta, was_training = [norm.momentum for norm in norms], network.training
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    for inputs in batches:
        network(inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.train(was_training)


def _select(network: nn.Module, structure: Structure, reader: Reader, open_gates: Tensor) -> Structure:
    """Put a selector before a reader some of whose own input features close, or update the one that is there."""
    if reader.selection is None:
        return structure
    padded = torch.cat([open_gates, open_gates.new_ones(1)])
    arrives = padded[reader.arriving]
    position = arrives.cumsum(0) - 1
    kept = position[reader.selected[reader.open_positions(open_gates)]]
    layer = network.get_submodule(reader.layer)
    parent_name, _, leaf = reader.layer.rpartition(".")
    parent = network.get_submodule(parent_name)
    if isinstance(parent, Selected):
        parent.select = SelectChannels(kept, reader.feature_axis)
        return structure
    if len(kept) == int(arrives.sum()):
        return structure
    wrapped = Selected(SelectChannels(kept, reader.feature_axis), layer)
    wrapped.train(layer.training)
    setattr(parent, leaf, wrapped)
    return structure.renamed(reader.layer, f"{reader.layer}.layer")


def _cuts(structure: Structure, open_gates: Tensor) -> Cuts:
    """What to cut from which tensor."""
    padded = torch.cat([open_gates, open_gates.new_ones(1)])
    cuts: Cuts = {}
    for axis in structure.axes:
        stays = padded[axis.gates].nonzero().flatten()
        cuts.setdefault(f"{axis.layer}.{axis.tensor}", []).append((axis.axis, stays))
    for reader in structure.readers:
        stays = reader.open_positions(open_gates).nonzero().flatten()
        cuts.setdefault(f"{reader.layer}.weight", []).append((reader.weight_axis, stays))
    return cuts


def _cut(tensor: Tensor, cuts: list[tuple[int, Tensor]]) -> Tensor:
    """Keep the given positions along the given axes."""
    for axis, stays in cuts:
        if len(stays) < tensor.shape[axis]:
            tensor = tensor.index_select(axis, stays)
    return tensor


def _cut_tensor(network: nn.Module, name: str, cuts: list[tuple[int, Tensor]]) -> None:
    """Cut a parameter (the object stays) or a buffer."""
    layer_name, _, tensor_name = name.rpartition(".")
    layer = network.get_submodule(layer_name)
    tensor = getattr(layer, tensor_name)
    if isinstance(tensor, nn.Parameter):
        replace_data(tensor, _cut(tensor.data, cuts))
    else:
        setattr(layer, tensor_name, _cut(tensor, cuts))


def replace_data(parameter: nn.Parameter, data: Tensor) -> None:
    """Give a parameter data of another shape; it stays the same object.

    While a graph of an earlier step is alive, torch keeps the parameter's gradient accumulator with the old shape and
    the next backward pass fails. Only a change of type makes torch forget it, hence the detour.
    """
    parameter.grad = None
    other = torch.float32 if data.dtype == torch.float64 else torch.float64
    parameter.data = torch.empty(0, dtype=other)
    parameter.data = data


def _cut_state(parameter: nn.Parameter, cuts: list[tuple[int, Tensor]], optimizers: Iterable[Optimizer]) -> None:
    """Cut what optimizers remember in the parameter's former shape (momentum, Adam's two moments)."""
    for optimizer in optimizers:
        for key, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor) and value.dim() == parameter.dim() > 0:
                optimizer.state[parameter][key] = _cut(value, cuts)


def _renumbered(structure: Structure, open_gates: Tensor) -> Structure:
    """The structure in the numbering of the gates that stay."""
    padded = torch.cat([open_gates, open_gates.new_ones(1)])
    number = torch.where(open_gates, open_gates.cumsum(0) - 1, UNGATED)
    number = torch.cat([number, number.new_tensor([UNGATED])])

    def follow(gates: Tensor) -> Tensor:
        return number[gates[padded[gates]]]

    groups: list[Group] = []
    for group, place in zip(structure.groups, structure.slices().values(), strict=True):
        groups.append(replace(group, kept=group.kept[open_gates[place]]))
    axes = [Axis(axis.layer, axis.tensor, axis.axis, follow(axis.gates)) for axis in structure.axes]
    readers = []
    for reader in structure.readers:
        arrives, stays = padded[reader.arriving], reader.open_positions(open_gates)
        selected = (arrives.cumsum(0) - 1)[reader.selected[stays]]
        selection = None if reader.selection is None else number[reader.selection[stays]]
        readers.append(replace(reader, arriving=follow(reader.arriving), selected=selected, selection=selection))
    return Structure(tuple(groups), tuple(axes), tuple(readers))


def _update_sizes(layer: nn.Module) -> None:
    """Make a layer's size attributes agree with its tensors."""
    if isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = layer.weight.shape
    elif isinstance(layer, nn.modules.conv._ConvTransposeNd):
        layer.in_channels, layer.out_channels = layer.weight.shape[:2]
    elif isinstance(layer, nn.modules.conv._ConvNd):
        if layer.groups > 1:
            layer.groups = layer.in_channels = layer.weight.shape[0]
        else:
            layer.in_channels = layer.weight.shape[1]
        layer.out_channels = layer.weight.shape[0]
    elif isinstance(layer, nn.PReLU):
        layer.num_parameters = layer.weight.numel()
    elif isinstance(layer, nn.modules.batchnorm._NormBase):
        carried = layer.weight if layer.weight is not None else layer.running_mean
        layer.num_features = layer.num_features if carried is None else carried.numel()

"""Slicing closed channels out of a network in place, with everything that is shaped like its parameters."""

from collections.abc import Iterable, MutableMapping
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from bayesprune.errors import SettingError
from bayesprune.structure.groups import Structure, key_of
from bayesprune.structure.kinds import kind_of
from bayesprune.structure.kinds.attention import leave_fast_path
from bayesprune.structure.layers import resize
from bayesprune.structure.members import UNGATED, Axis, Group
from bayesprune.structure.selectors import plain_name
from bayesprune.structure.wrapping import wrapped

Cuts = dict[str, list[tuple[int, Tensor]]]
"""For each tensor of the network the axes to cut and the positions to keep."""


def compact(
    network: nn.Module,
    structure: Structure,
    open_gates: Tensor,
    *,
    optimizers: Iterable[Optimizer] = (),
    masks: MutableMapping[str, Tensor] | None = None,
    alike: MutableMapping[str, list[nn.Parameter]] | None = None,
) -> Structure:
    """Remove the channels whose gates are closed, and closed sections' branches, in place; gradients are dropped.

    Parameters stay the same objects, so optimizers keep hold of them; their moments are cut alike, and so are
    masks (name of a parameter -> tensor of its shape) and parameters outside the network that have the shape of one of
    its own, such as standard deviations of its weights. A layer that gets a selector in front of it
    (`SelectChannels`), or is spread (`SpreadChannels`), moves from "fc1" to "fc1.layer", and what is named after it
    with it.

    Args:
        network: what the structure was found in; its layers change shape.
        structure: the groups as they are now.
        open_gates: bool [J].
        optimizers: whose per-parameter state is cut along.
        masks: cut along, in place.
        alike: by the name of a parameter of the network, others of its shape, cut along with their optimizer state.

    Returns:
        The structure of the smaller network, original indices carried along.

    Raises:
        SettingError: the gates have the wrong number or type, or a group would be emptied.
    """
    open_gates = open_gates.cpu()
    _check(structure, open_gates)
    optimizers, masks = tuple(optimizers), {} if masks is None else masks
    alike = {} if alike is None else alike
    if structure.sections:
        from bayesprune.sections.absent import without_closed  # it stands on this package

        structure = without_closed(network, structure, open_gates, optimizers, (masks, alike))
    for norm in structure.norms:
        kind_of(network.get_submodule(norm.layer))  # told while weights and attributes agree
    structure = wrapped(network, structure, open_gates, (masks, alike))
    network.zero_grad()
    parameters = dict(network.named_parameters(remove_duplicate=False))
    whole = {id(parameter): parameter.shape for parameter in parameters.values()}
    for name, cuts in _cuts(structure, open_gates).items():
        if name not in parameters:
            _cut_buffer(network, name, cuts)
        elif parameters[name].shape == whole[id(parameters[name])]:  # else cut by another name of it, in the same way
            _cut_parameter(parameters[name], cuts, optimizers)
        if name in masks:
            masks[name] = _cut(masks[name], cuts)
        for other in alike.get(name, ()):
            _cut_parameter(other, cuts, optimizers)
    smaller = _renumbered(structure, open_gates)
    _resize(network, smaller)
    return smaller


@torch.no_grad()
def replace_data(parameter: nn.Parameter, data: Tensor) -> None:
    """Give a parameter data of another shape; the object stays, its gradient goes.

    A graph that is still referenced (a loss that somebody holds) keeps the parameter's gradient accumulator
    alive, which remembers the former shape and would refuse the next gradient. torch drops it when the type
    changes only, so the type changes for a moment.
    """
    parameter.grad = None
    parameter.data = data.new_empty(0, dtype=torch.float16 if data.dtype != torch.float16 else torch.float32)
    parameter.data = data


def _resize(network: nn.Module, structure: Structure) -> None:
    """Let all layers, and those that hold them, agree with their tensors."""
    sizes: dict[str, int | None] = {reader.layer: None for reader in structure.readers}
    sizes |= {axis.layer: len(axis.gates) for axis in structure.axes}
    sizes |= {norm.layer: len(norm.gates) for norm in structure.norms}
    for layer, channels in sizes.items():
        resize(network.get_submodule(layer), channels)
    for holder in dict.fromkeys(plain_name(layer).rpartition(".")[0] for layer in sizes):
        if holder not in sizes:  # such as an attention whose projections are layers of their own
            resize(network.get_submodule(holder), None)
    _follow_counts(network, structure)
    leave_fast_path(network)


def _follow_counts(network: nn.Module, structure: Structure) -> None:
    """Set the attributes that say how many channels groups have to the numbers that are left."""
    modules = dict(network.named_modules())
    for group in structure.groups:
        for path in group.counted:
            owner, _, name = path.rpartition(".")
            if owner in modules:  # else it went with a closed section
                setattr(modules[owner], name, len(group.kept))


def _check(structure: Structure, open_gates: Tensor) -> None:
    """Refuse gates that do not fit, or that leave a group or a layer with nothing."""
    if open_gates.shape != (structure.gate_count,):
        raise SettingError(f"{tuple(open_gates.shape)} gates for a structure that has {structure.gate_count}")
    if open_gates.dtype != torch.bool:
        raise SettingError(f"open gates must be bool, not {open_gates.dtype}: compare them, such as theta > 0.5")
    excused = structure.excused(open_gates)
    for name, place in structure.slices().items():
        if place.stop > place.start and key_of(name) not in excused and not open_gates[place].any():
            raise SettingError(f"group {name!r} would be emptied: keep at least one of its channels open")
    for layer, gates in structure.partial_writers:
        if layer not in excused and not open_gates[gates].any():
            raise SettingError(f"layer {layer!r} would be emptied: keep at least one of its channels open")
    for reader in structure.readers:
        if reader.layer not in excused and not reader.open_positions(open_gates).any():
            groups = [group.name for group in structure.groups if reader.layer in group.consumers]
            raise SettingError(
                f"layer {reader.layer!r} would have nothing left to read: "
                f"open a gate of {' or '.join(map(repr, groups))}"
            )
        if reader.by_weight and (structure.behind_spread(reader) or reader.selection is not None):
            raise SettingError(
                f"layer {reader.layer!r} would have to select what it reads, and only its weight is gated: keep the "
                "layers that write it (keep=...)"
            )
    for norm in structure.norms:
        if not torch.cat([open_gates, open_gates.new_ones(1)])[norm.gates].any():
            raise SettingError(f"layer {norm.layer!r} would have nothing left to normalise: open one of its gates")


def _cuts(structure: Structure, open_gates: Tensor) -> Cuts:
    """What to cut from which tensor."""
    padded = torch.cat([open_gates, open_gates.new_ones(1)])
    cuts: Cuts = {}
    for axis in structure.axes:
        if axis.tensor:
            stays = padded[axis.gates].nonzero().flatten()
            cuts.setdefault(axis.parameter, []).append((axis.axis, stays))
    for reader in structure.readers:
        stays = reader.open_positions(open_gates).nonzero().flatten()
        cuts.setdefault(reader.parameter, []).append((reader.weight_axis, stays))
    return cuts


def _cut(tensor: Tensor, cuts: list[tuple[int, Tensor]]) -> Tensor:
    """Keep the given positions along the given axes; a tensor with channels last stays one."""
    last = tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()
    for axis, stays in cuts:
        if len(stays) < tensor.shape[axis]:
            tensor = tensor.index_select(axis, stays.to(tensor.device))
    return tensor.contiguous(memory_format=torch.channels_last) if last else tensor


def _cut_parameter(parameter: nn.Parameter, cuts: list[tuple[int, Tensor]], optimizers: tuple[Optimizer, ...]) -> None:
    """Cut a parameter, and what optimizers remember in its shape (momentum, Adam's two moments)."""
    former = parameter.shape
    data = _cut(parameter.data, cuts)
    if data.shape == former:
        return
    replace_data(parameter, data)
    for optimizer in optimizers:
        memory = optimizer.state.get(parameter, {})
        for key, value in memory.items():
            if isinstance(value, Tensor) and value.shape == former:
                memory[key] = _cut(value, cuts)


def _cut_buffer(network: nn.Module, name: str, cuts: list[tuple[int, Tensor]]) -> None:
    """Cut a buffer."""
    layer_name, _, tensor_name = name.rpartition(".")
    layer = network.get_submodule(layer_name)
    setattr(layer, tensor_name, _cut(getattr(layer, tensor_name), cuts))


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
    norms = [replace(norm, gates=follow(norm.gates)) for norm in structure.norms]
    readers = []
    for reader in structure.readers:
        arrives, stays = structure.arrives(reader, open_gates), reader.open_positions(open_gates)
        selected = (arrives.cumsum(0) - 1)[reader.selected[stays]]
        selection = None if reader.selection is None else number[reader.selection[stays]]
        arriving = number[reader.arriving[arrives]]
        readers.append(replace(reader, arriving=arriving, selected=selected, selection=selection))
    return replace(structure, groups=tuple(groups), axes=tuple(axes), readers=tuple(readers), norms=tuple(norms))

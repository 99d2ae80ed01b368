"""How many weights go with a channel, as L0 regularisation prices them, and prices by group."""

from collections.abc import Mapping

import torch
from torch import Tensor

from bayesprune.errors import SettingError
from bayesprune.structure import Structure
from bayesprune.structure.members import UNGATED
from bayesprune.training import TrainState


def carried_weights(state: TrainState) -> Tensor:
    """For each gate [J] the weights that it carries, in float32.

    As in the public code of L0 regularisation a gate of a linear layer's input carries the weights that read it, and a
    filter's gate the weights that make it.
    """
    count = state.structure.gate_count
    reading, making = torch.zeros(2, count + 1)  # the last entry takes what belongs to no gate
    for reader in state.structure.readers:
        weight = state.network.get_parameter(reader.parameter)
        column = weight.numel() / weight.shape[reader.weight_axis]
        owner = reader.arriving[reader.selected]
        if reader.selection is not None:
            owner = torch.where(reader.selection == UNGATED, owner, reader.selection)
        reading.index_add_(0, owner % (count + 1), torch.full((len(owner),), column))
    for axis in state.structure.axes:
        if axis.tensor == "weight":
            weight = state.network.get_parameter(f"{axis.layer}.weight")
            if weight.dim() > 2:  # a convolution's
                column = weight.numel() / weight.shape[axis.axis]
                making.index_add_(0, axis.gates % (count + 1), torch.full((len(axis.gates),), column))
    return torch.where(making > 0, making, reading)[:-1]


def by_group(name: str, value: float | Mapping[str, float], structure: Structure) -> Tensor:
    """A number for each gate [J]: the same for all, or that of its group.

    Args:
        name: of the option, for errors.
        value: one number, or one for every group by its name.
        structure: with the groups.

    Raises:
        SettingError: the names are not those of the groups.
    """
    if not isinstance(value, Mapping):
        return torch.full((structure.gate_count,), float(value))
    groups = [group.name for group in structure.groups]
    if differ := sorted({*groups} ^ {*value}):
        raise SettingError(
            f"{name} must name every group, and no other: it differs in {differ}; the groups are {groups}"
        )
    return torch.cat([torch.full((len(group.kept),), float(value[group.name])) for group in structure.groups])

"""The weights of every draw: the network's own, 0 where the draw closes a gate."""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bayesprune.errors import SettingError
from bayesprune.run.tree.chains import Chains
from bayesprune.structure import Structure
from bayesprune.structure.members import UNGATED
from bayesprune.structure.selectors import plain_name

if TYPE_CHECKING:
    import xarray

    from bayesprune.run.pruned import Pruned

MOST = 2**28
"""Numbers that a tree takes for weights, at most: a gibibyte."""


def weight_draws(chains: Chains) -> "xarray.Dataset":
    """Every parameter [chain, draw, ...] by its name; an axis of gated channels is named after its group.

    Its coordinates are original indices. Channels that another restart kept are 0.

    Raises:
        SettingError: a network is not at hand, or there are too many numbers.
    """
    import xarray

    networks = [chains.network(chain, "the weights of a draw") for chain in range(len(chains.z))]
    numbers = chains.z.shape[1] * sum(sum(part.numel() for part in one.network.parameters()) for one in networks)
    if numbers > MOST:
        raise SettingError(
            f"the weights of all draws are {numbers:,} numbers, and a tree takes {MOST:,} at most: give fewer draws"
        )
    rows = [
        _of_chain(pruned, torch.from_numpy(chains.z[chain][:, chains.left[chain]]))
        for chain, pruned in enumerate(networks)
    ]
    return xarray.concat(rows, "chain", join="outer", fill_value=0.0)


def _of_chain(pruned: "Pruned", gates: Tensor) -> "xarray.Dataset":
    """The parameters of one network under gates [D, J]."""
    import xarray

    axes, found = _gated_axes(pruned.structure), {}
    padded = torch.cat([gates, gates.new_ones(len(gates), 1)], 1).float()
    for name, parameter in pruned.network.named_parameters():
        layer, _, tensor = name.rpartition(".")
        plain = f"{plain_name(layer)}.{tensor}" if layer else tensor
        values = parameter.detach().cpu().float().expand(len(gates), *parameter.shape).clone()
        dims, coords = ["draw"], dict[str, Any]()
        for place, size in enumerate(parameter.shape):
            axis = axes.get((layer, tensor, place), _Axis((), torch.full((size,), UNGATED)))
            for way in axis.ways:
                values *= padded[:, way].reshape(-1, *[1] * place, size, *[1] * (parameter.dim() - place - 1))
            other = f"{plain}_dim_{place}"
            dim, labels = _named(pruned.structure, axis.names, other)
            dims.append(other if dim in dims else dim)  # twice: a layer between two points of one residual stream
            coords |= {} if labels is None else {dims[-1]: labels}
        found[plain] = xarray.DataArray(values.numpy(), dims=dims, coords=coords)
    return xarray.Dataset(found)


@dataclass(frozen=True, eq=False)
class _Axis:
    """An axis of a parameter: gates [n] that multiply its positions, each in turn, and those that name them."""

    ways: tuple[Tensor, ...]
    names: Tensor


def _gated_axes(structure: Structure) -> dict[tuple[str, str, int], _Axis]:
    """The gated axes of all parameters, by layer, tensor and place."""
    found = {(axis.layer, axis.tensor, axis.axis): _Axis((axis.gates,), axis.gates) for axis in structure.axes}
    for reader in structure.readers:
        arriving = reader.arriving[reader.selected]
        own = reader.selection
        if own is None:
            axis = _Axis((arriving,), arriving)
        else:
            axis = _Axis((arriving, own), own if bool((own != UNGATED).all()) else arriving)
        found[reader.layer, reader.tensor, reader.weight_axis] = axis
    return found


def _named(structure: Structure, gates: Tensor, other: str) -> tuple[str, list[int] | list[str] | None]:
    """Name and coordinates of an axis with a gate a position; its group and original indices where that is all of it.

    Else positions are called `conv2[3].0`, `conv2[3].1`, ... Without gates they have no names.
    """
    if bool((gates == UNGATED).all()):
        return other, None
    for group, place in zip(structure.groups, structure.slices().values(), strict=True):
        if torch.equal(gates.cpu(), torch.arange(place.start, place.stop)):
            return group.name, group.kept.tolist()
    own = [f"{group.name}[{index}]" for group in structure.groups for index in group.kept.tolist()]
    seen: Counter[int] = Counter()
    labels = []
    for gate in gates.tolist():
        labels.append(f"{own[gate]}.{seen[gate]}" if gate != UNGATED else f"free.{seen[gate]}")
        seen[gate] += 1
    return other, labels

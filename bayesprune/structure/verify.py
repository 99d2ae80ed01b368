"""Refusing structures for which a compacted network would not be the gated one."""

from copy import deepcopy

import torch
from torch import Tensor, nn

from bayesprune.errors import UnsupportedLayerError
from bayesprune.structure.compact import compact
from bayesprune.structure.gating import Gating
from bayesprune.structure.groups import Structure

TOLERANCE = 1e-4
"""Largest difference allowed, relative to the largest output."""


def verify(network: nn.Module, structure: Structure, example: Tensor) -> None:
    """Close random gates in two copies, by gating and by slicing, and compare what they say.

    Raises:
        UnsupportedLayerError: the two differ; the message names the group.
    """
    gates = _random_gates(structure, structure.gate_count)
    if structure.gate_count == 0 or _agrees(network, structure, example, gates):
        return
    for group, place in zip(structure.groups, structure.slices().values(), strict=True):
        alone = torch.ones_like(gates)
        alone[place] = gates[place]
        if not _agrees(network, structure, example, alone):
            raise UnsupportedLayerError(
                f"closing channels of group {group.name!r} is not the same as removing them: something between "
                f"{list(group.producers)} and {list(group.consumers)} mixes channels; name {group.name!r} in keep=[...]"
            )
    raise UnsupportedLayerError(f"the groups {list(structure.slices())} cannot be removed together exactly")


@torch.no_grad()
def _agrees(network: nn.Module, structure: Structure, example: Tensor, gates: Tensor) -> bool:
    """Whether gating and slicing give the same outputs."""
    gated, sliced = deepcopy(network).eval(), deepcopy(network).eval()
    gating = Gating(gated, structure)
    with gating.applied(gates.to(example.dtype)):
        expected = gated(example)
    try:
        compact(sliced, structure, gates)
        got = sliced(example)
    except (RuntimeError, ValueError, IndexError):
        return False
    if got.shape != expected.shape:
        return False
    return bool((got - expected).abs().max() <= TOLERANCE * expected.abs().max().clamp_min(1e-6))


def _random_gates(structure: Structure, count: int) -> Tensor:
    """Half of the gates open, none of the groups empty; the global random state is left alone."""
    random = torch.rand(count, generator=torch.Generator().manual_seed(0))
    return structure.protect(random < 0.5, random)

"""Refusing structures for which a compacted network would not be the gated one."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from bayesprune.errors import UnsupportedLayerError
from bayesprune.structure.compact import compact
from bayesprune.structure.gating import Gating
from bayesprune.structure.groups import Structure

TOLERANCE = 1e-4
"""Largest difference allowed, relative to the largest output."""

DENSITIES = (0.5, 0.25, 0.75)
"""Shares of open gates tried: channels that are split in halves can fit by chance once."""


def verify(network: nn.Module, structure: Structure, example: Tensor) -> None:
    """Close random gates in two copies, by gating and by slicing, and compare what they say.

    Raises:
        UnsupportedLayerError: the two differ; the message names the group.
    """
    if structure.gate_count == 0:
        return
    stirred = _stirred(network)
    for density in DENSITIES:
        gates = _random_gates(structure, density)
        if not _agrees(stirred, structure, example, gates):
            _refuse(stirred, structure, example, gates)


def _refuse(network: nn.Module, structure: Structure, example: Tensor, gates: Tensor) -> None:
    """Say which group's gates are to blame."""
    for group, place in zip(structure.groups, structure.slices().values(), strict=True):
        alone = torch.ones_like(gates)
        alone[place] = gates[place]
        alone = structure.protect(alone, alone.float())
        if not _agrees(network, structure, example, alone):
            between = f"between {list(group.producers)} and {list(group.consumers)}"
            raise UnsupportedLayerError(
                f"closing channels of group {group.name!r} is not the same as removing them: something {between} "
                f"mixes or rearranges channels, or counts on their number; name {group.name!r} in keep=[...]"
            )
    raise UnsupportedLayerError(f"the groups {list(structure.slices())} cannot be removed together exactly")


@torch.no_grad()
def _agrees(network: nn.Module, structure: Structure, example: Tensor, gates: Tensor) -> bool:
    """Whether gating and slicing give the same outputs."""
    gated, sliced = deepcopy(network), deepcopy(network)
    dtype = example.dtype if example.is_floating_point() else torch.get_default_dtype()
    with Gating(gated, structure).applied(gates.to(example.device, dtype)):
        expected = list(_tensors(gated(example)))
    try:
        compact(sliced, structure, gates)
        got = list(_tensors(sliced(example)))
    except (RuntimeError, ValueError, IndexError):
        return False
    return all(_close(*pair) for pair in zip(got, expected, strict=True))


def _close(got: Tensor, expected: Tensor) -> bool:
    """Whether two outputs agree."""
    if got.shape != expected.shape:
        return False
    return bool((got - expected).abs().max() <= TOLERANCE * expected.abs().max().clamp_min(1e-6))


def _random_gates(structure: Structure, density: float) -> Tensor:
    """So many gates open, none of the groups empty; the global random state is left alone."""
    random = torch.rand(structure.gate_count, generator=torch.Generator().manual_seed(0))
    return structure.protect(random < density, random)


@torch.no_grad()
def _stirred(network: nn.Module) -> nn.Module:
    """A copy in evaluation mode in which no tensor has equal entries, as a fresh normalisation's have.

    Equal entries would hide that a layer was cut at the wrong channels; zeros would hide a whole branch.
    """
    copy = deepcopy(network).eval()
    generator = torch.Generator().manual_seed(1)
    for tensor in (*copy.parameters(), *copy.buffers()):
        if tensor.is_floating_point() and tensor.numel() > 1 and bool((tensor == tensor.flatten()[0]).all()):
            scale = 1.0 if tensor.dim() == 1 else (len(tensor) / tensor.numel()) ** 0.5
            random = torch.rand(tensor.shape, generator=generator, dtype=torch.float64).add_(0.5).mul_(scale)
            tensor.copy_(random)
    return copy


def _tensors(outputs: Any) -> Iterator[Tensor]:
    """The tensors in nested tuples, lists and dictionaries."""
    if isinstance(outputs, Tensor):
        yield outputs
    elif isinstance(outputs, (tuple, list, dict)):
        for part in outputs.values() if isinstance(outputs, dict) else outputs:
            yield from _tensors(part)

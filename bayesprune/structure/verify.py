"""Refusing structures for which a compacted network would not be the gated one."""

from copy import deepcopy

import torch
from torch import Tensor, nn

from bayesprune.errors import UnsupportedLayerError
from bayesprune.structure.compact import compact
from bayesprune.structure.gating import Gating
from bayesprune.structure.groups import Structure
from bayesprune.structure.nodes import tensors_in

TRIALS = ((0.7, 1.0), (0.6, 10.0), (0.6, 1.0))
"""Shares of gates left open in successive compactions, and factors of the example.

Channels split in halves can fit by chance once, and what mixes channels can be weak where activations are
small.
"""


def verify(network: nn.Module, structure: Structure, example: Tensor) -> None:
    """Close random gates in two copies, by gating and by slicing, and compare what they say.

    Raises:
        UnsupportedLayerError: the two differ; the message names the group.
    """
    if structure.gate_count == 0:
        return
    gated = _stirred(network)
    sliced, smaller = deepcopy(gated), structure
    for density, factor in TRIALS:
        inputs = example * factor if example.is_floating_point() else example
        gates = _random_gates(smaller, density)
        open_gates = torch.isin(structure.original_gates(), smaller.original_gates()[gates])
        expected = _gated(gated, structure, inputs, open_gates)
        compacted = _compacted(sliced, smaller, gates, inputs, expected)
        if compacted is None:
            raise UnsupportedLayerError(_blame(gated, structure, inputs, open_gates))
        smaller = compacted


def _blame(network: nn.Module, structure: Structure, example: Tensor, open_gates: Tensor) -> str:
    """Which group's gates the difference comes from."""
    for group, place in zip(structure.groups, structure.slices().values(), strict=True):
        alone = torch.ones_like(open_gates)
        alone[place] = open_gates[place]
        alone = structure.protect(alone, alone.float())
        expected = _gated(network, structure, example, alone)
        if _compacted(deepcopy(network), structure, alone, example, expected) is None:
            return (
                f"closing channels of group {group.name!r} is not the same as removing them: something "
                f"between {list(group.producers)} and {list(group.consumers)} mixes or rearranges channels, "
                f"or counts on their number; name {group.name!r} in keep=[...]"
            )
    return f"the groups {list(structure.slices())} cannot be removed together exactly"


@torch.no_grad()
def _compacted(
    network: nn.Module, structure: Structure, open_gates: Tensor, example: Tensor, expected: list[Tensor]
) -> Structure | None:
    """Compact a network; its structure then, or None when it does not say what is expected."""
    try:
        smaller = compact(network, structure, open_gates)
        got = list(tensors_in(network(example)))
    except Exception:  # the network's own code meets channels it did not count on
        return None
    agrees = len(got) == len(expected) and all(_close(*pair) for pair in zip(got, expected, strict=True))
    return smaller if agrees else None


@torch.no_grad()
def _gated(network: nn.Module, structure: Structure, example: Tensor, open_gates: Tensor) -> list[Tensor]:
    """The outputs of a network under gates."""
    dtype = example.dtype if example.is_floating_point() else torch.get_default_dtype()
    gating = Gating(network, structure)
    with gating.applied(open_gates.to(example.device, dtype)):
        outputs = list(tensors_in(network(example)))
    gating.remove()
    return outputs


def _close(got: Tensor, expected: Tensor) -> bool:
    """Whether two outputs agree up to rounding; values that are not finite must be so in both."""
    if got.shape != expected.shape:
        return False
    if not expected.is_floating_point():
        return torch.equal(got, expected)
    finite = expected.isfinite()
    if not torch.equal(finite, got.isfinite()):
        return False
    difference, size = (got - expected)[finite].abs(), expected[finite].abs()
    if not len(size):
        return True
    tolerance = max(1e-9, 200 * torch.finfo(expected.dtype).eps)
    return bool(difference.max() <= tolerance * size.max().clamp_min(1e-6))


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
        if tensor.is_floating_point() and tensor.numel() > 1 and bool(tensor.amax() == tensor.amin()):
            scale = 1.0 if tensor.dim() == 1 else (len(tensor) / tensor.numel()) ** 0.5
            random = torch.rand(tensor.shape, generator=generator, dtype=torch.float64).add_(0.5).mul_(scale)
            tensor.copy_(random)
    return copy

"""Comparing gated and compacted copies of a network on random gates."""

from functools import partial

import torch
from torch import Tensor, nn

from bayesprune.batches import Batch, each
from bayesprune.errors import NetworkError
from bayesprune.structure.blame import Blame, agree, gated_outputs, groups_to_blame
from bayesprune.structure.compact import compact
from bayesprune.structure.copying import copied
from bayesprune.structure.groups import Structure
from bayesprune.structure.labels.code import failing_line
from bayesprune.structure.members import Group
from bayesprune.structure.nesting import tensors_in
from bayesprune.structure.passes import Passes, is_random
from bayesprune.structure.refusals import Refusal

TRIALS = ((0.7, 1.0), (0.6, 10.0), (0.6, 1.0))
"""Shares of gates left open in successive compactions, and factors of the example.

Channels split in halves can fit by chance once, and what mixes channels can be weak where activations are
small.
"""


def blamed(network: nn.Module, structure: Structure, example: Batch, passes: Passes) -> list[Blame]:
    """Close random gates by gating and by slicing, and compare what a network and its compact copy say.

    Args:
        network: a copy; tensors whose entries are all equal get random ones.
        structure: its groups.
        example: inputs [B, ...].
        passes: how to run it.

    Returns:
        The groups that are to blame where the two differ, else nothing.

    Raises:
        NetworkError: the network's outputs are random in evaluation mode, so that nothing can be compared.
    """
    if structure.gate_count == 0:
        return []
    _stir(network)
    sliced, smaller = copied(network), structure
    for density, factor in TRIALS:
        inputs = each(partial(_scaled, factor=factor), example)
        gates = _random_gates(smaller, density)
        open_gates = torch.isin(structure.original_gates(), smaller.original_gates()[gates])
        expected = gated_outputs(network, structure, inputs, open_gates, passes)
        compacted = _compacted(sliced, smaller, gates, inputs, expected, passes)
        if isinstance(compacted, str):
            del sliced
            _refuse_random(network, inputs)
            return groups_to_blame(network, structure, inputs, open_gates, passes)
        smaller = compacted
    return []


def _scaled(part: Tensor, factor: float) -> Tensor:
    """Inputs times a factor, where they can be multiplied."""
    return part * factor if _is_measured(part) else part


def _is_measured(part: Tensor) -> bool:
    """Whether inputs are measurements, which can be multiplied; whole numbers may be indices, such as token ids."""
    return part.is_floating_point() and bool((part != part.round()).any())


def _refuse_random(network: nn.Module, example: Batch) -> None:
    """Refuse a network that says something else each time: no layer is to blame for that."""
    if is_random(network, example):
        raise NetworkError(
            "the network's outputs are random in evaluation mode, so it cannot be checked which channels can be "
            "removed: let its noise depend on self.training"
        )


def refused(group: Group, network: nn.Module) -> Refusal:
    """Why a group cannot be removed, and by which name it is kept."""
    names = {name for name, _ in network.named_modules()} | ({group.name} if group.kind != "channels" else set())
    keep = next(name for name in (group.name, *group.producers) if name in names)
    where = f"between {list(group.producers)} and" if group.producers else "before"
    said = (
        f"closing channels of group {group.name!r} is not the same as removing them: something {where} "
        f"{list(group.consumers)} mixes or rearranges channels, or counts on their number"
    )
    return Refusal("", group.name, said, keep)


@torch.no_grad()
def _compacted(
    network: nn.Module,
    structure: Structure,
    open_gates: Tensor,
    example: Batch,
    expected: list[Tensor],
    passes: Passes,
) -> Structure | str:
    """Compact a network; its structure then, where it fails, or "" when it does not say what is expected."""
    try:
        smaller = compact(network, structure, open_gates)
        got = list(tensors_in(passes(network, example)))
    except Exception as error:  # the network's own code meets channels it did not count on
        return failing_line(error)
    return smaller if agree(got, expected) else ""


def _random_gates(structure: Structure, density: float) -> Tensor:
    """So many gates open, none of the groups empty; the global random state is left alone.

    The first gate of a group is closed and its last one open, so that code that counts channels from either end is
    found out.
    """
    random = torch.rand(structure.gate_count, generator=torch.Generator().manual_seed(0))
    open_gates = random < density
    for place in structure.slices().values():
        if place.stop - place.start > 2:
            open_gates[place.start], open_gates[place.stop - 1] = False, True
    return structure.protect(open_gates, random)


@torch.no_grad()
def _stir(network: nn.Module) -> None:
    """Give tensors whose entries are all equal, as a fresh normalisation's are, random ones.

    Equal entries would hide that a layer was cut at the wrong channels; zeros would hide a whole branch.
    """
    generator = torch.Generator().manual_seed(1)
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.is_floating_point() and tensor.numel() > 1 and bool(tensor.amax() == tensor.amin()):
            scale = 1.0 if tensor.dim() == 1 else (len(tensor) / tensor.numel()) ** 0.5
            random = torch.rand(tensor.shape, generator=generator, dtype=torch.float64).add_(0.5).mul_(scale)
            tensor.copy_(random)

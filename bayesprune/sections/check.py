"""Trying sections: a network with a closed gate must be the network without the branch."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bayesprune.batches import Batch
from bayesprune.sections.absent import without_closed
from bayesprune.sections.gating import closed_sections
from bayesprune.sections.value import Section
from bayesprune.structure.copying import copied
from bayesprune.structure.nesting import tensors_in
from bayesprune.structure.passes import Passes, look

_TOLERANCE = 1e-5
"""Of what the two say, relative to the largest number."""


def not_exact(network: nn.Module, sections: Sequence[Section], example: Batch) -> dict[str, str]:
    """The sections whose deletion would change the function, by name, each with the reason.

    Args:
        network: a copy; it stays as it is.
        sections: to try.
        example: inputs [B, ...].
    """
    if not sections:
        return {}
    passes = look(network, example)
    if _reason(network, sections, example, passes) is None:
        return {}
    reasons = {one.name: _reason(network, [one], example, passes) for one in sections}
    return {name: reason for name, reason in reasons.items() if reason is not None}


@torch.no_grad()
def _reason(network: nn.Module, sections: Sequence[Section], example: Batch, passes: Passes) -> str | None:
    """What is wrong with deleting sections together; None where nothing is."""
    from bayesprune.sections.find import with_sections
    from bayesprune.structure.groups import Structure

    structure = with_sections(Structure((), (), ()), sections)
    shorter = copied(network)
    without_closed(shorter, structure, torch.zeros(len(sections), dtype=torch.bool), (), ())
    try:
        with closed_sections(network, sections):
            gated = passes(network, example)
        deleted = passes(shorter, example)
    except Exception as error:  # whatever the network's own code raises of zeros
        return f"without its branch the network fails: {' '.join(str(error).split())[:120]}"
    same = all(_agree(one, other) for one, other in zip(tensors_in(gated), tensors_in(deleted), strict=True))
    return None if same else "without its branch the network is not what it is with the gate closed"


def _agree(one: Tensor, other: Tensor) -> bool:
    """Whether two outputs are the same but for rounding."""
    if one.shape != other.shape:
        return False
    one, other = one.double(), other.double()
    return bool((one - other).abs().max() <= _TOLERANCE * one.abs().max().clamp_min(1.0)) if one.numel() else True

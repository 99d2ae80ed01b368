"""Whether gates may differ from example to example: whether every reader's input has the examples along axis 0."""

import torch
from torch import Tensor, nn

from bayesprune.batches import Batch, head, parts, repeated
from bayesprune.structure.gating import Gating
from bayesprune.structure.groups import Structure
from bayesprune.structure.nesting import tensors_in
from bayesprune.structure.passes import Passes

TOLERANCE = 1e-4
"""Largest difference, relative to the outputs, that is taken for rounding."""


@torch.no_grad()
def examples_come_first(network: nn.Module, structure: Structure, example: Batch, passes: Passes) -> bool:
    """Whether two examples under gates of their own say what each says when all gates are its own.

    It does not where code between the layers moves the examples to another axis, or splits them in windows. Decided in
    numbers, for one example twice.

    Args:
        network: that the structure was found in.
        structure: its groups.
        example: a batch of inputs.
        passes: how to run it.
    """
    if structure.gate_count == 0 or not structure.per_example:
        return True
    one = head(example, 1)
    generator = torch.Generator().manual_seed(0)
    gates = torch.rand(2, structure.gate_count, generator=generator).add_(0.2).to(parts(example)[0].device)
    gating = Gating(network, structure)
    try:
        both = _under(gating, gates, network, repeated(one, 2), passes)
        each = [_under(gating, own, network, one, passes) for own in gates]
    except Exception:  # gates for two examples do not fit what is no batch of two
        return False
    finally:
        gating.remove()
    return all(
        len(together) == 2 and _close(together, torch.cat(apart)) for together, *apart in zip(both, *each, strict=True)
    )


def _under(gating: Gating, gates: Tensor, network: nn.Module, inputs: Batch, passes: Passes) -> list[Tensor]:
    with gating.applied(gates):
        return list(tensors_in(passes(network, inputs)))


def _close(got: Tensor, expected: Tensor) -> bool:
    if got.shape != expected.shape or not got.is_floating_point():
        return got.shape == expected.shape
    scale = expected.abs().amax().nan_to_num().clamp_min(1e-12)
    return bool(((got - expected).nan_to_num().abs() <= TOLERANCE * scale).all())

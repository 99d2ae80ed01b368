"""Channels by the scale that batch normalisation gives them: network slimming (arXiv 1708.06519)."""

import torch
from torch import Tensor, nn

from bayesprune.errors import NetworkError
from bayesprune.pruners.problem import Problem, check_finite
from bayesprune.structure import Structure
from bayesprune.structure.members import UNGATED

_BATCHNORM = nn.modules.batchnorm._BatchNorm


@torch.no_grad()
def batchnorm_scale(problem: Problem) -> Tensor:
    """|gamma| of the batch normalisations that write each channel, summed: scores [J].

    Liu et al., *Learning Efficient Convolutional Networks through Network Slimming* (arXiv 1708.06519), cut all
    layers at one threshold; train with `ScaleSparsity` before, which makes the scales comparable.

    A channel that no affine batch normalisation writes (input and flattened features, layers without one) has no
    scale. It is scored above all that have one (the largest score plus 1), so it stays until no other is left.

    Raises:
        NetworkError: no gated channel is written by an affine batch normalisation, or a scale is not finite.
    """
    scales = channel_scales(problem.network, problem.structure)
    check_finite("scales", {name: gamma.detach() for name, (gamma, _) in scales.items()})
    count = problem.structure.gate_count
    totals, writers = torch.zeros(count + 1), torch.zeros(count + 1)
    for gamma, gates in scales.values():
        totals.index_add_(0, gates % len(totals), gamma.abs().cpu().float())  # the last entry: no gate
        writers.index_add_(0, gates % len(totals), torch.ones(len(gates)))
    scored, totals = writers[:-1] > 0, totals[:-1]
    return totals.where(scored, totals[scored].max() + 1)


def channel_scales(network: nn.Module, structure: Structure) -> dict[str, tuple[nn.Parameter, Tensor]]:
    """The scales gamma [n] of the batch normalisations that write gated channels, with their gates [n], by name.

    Raises:
        NetworkError: there are none.
    """
    found = {
        f"{axis.layer}.weight": (network.get_parameter(f"{axis.layer}.weight"), axis.gates)
        for axis in structure.axes
        if axis.tensor == "weight" and isinstance(network.get_submodule(axis.layer), _BATCHNORM)
    }
    if not any(bool((gates != UNGATED).any()) for _, gates in found.values()):
        raise NetworkError(
            "no channel that can be removed is written by a batch normalisation with learnt scales, so there are none "
            "to prune by: use another score (l1-units, geometric-median, taylor), or put BatchNorm after the layers"
        )
    return found

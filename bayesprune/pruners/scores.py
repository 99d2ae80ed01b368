"""Scores that need no data: magnitudes, norms and chance."""

import torch
from torch import Tensor, nn

from bayesprune.pruners.problem import Problem
from bayesprune.structure import Structure
from bayesprune.structure.layers import making_weights


def magnitude(problem: Problem) -> dict[str, Tensor]:
    """|w| (Han et al., arXiv 1506.02626)."""
    return {name: weight.detach().abs() for name, weight in problem.weights().items()}


def random_scores(problem: Problem) -> dict[str, Tensor]:
    """Uniform random numbers."""
    return {name: torch.rand_like(weight) for name, weight in problem.weights().items()}


def l1_norms(problem: Problem) -> Tensor:
    """L1 norm of each channel's incoming weights [J] (Li et al., arXiv 1608.08710).

    A channel written by several layers adds their norms. Input (and flattened) features have no incoming
    weights; theirs is the norm of the weights that read them.
    """
    return l1_norms_of(problem.network, problem.structure)


def l1_norms_of(network: nn.Module, structure: Structure) -> Tensor:
    """`l1_norms` of a network with this structure, on the CPU."""
    norms = torch.zeros(structure.gate_count + 1)
    for weight, axis, gates in making_weights(network, structure):
        _add_norms(norms, weight, axis, gates)
    for reader in structure.readers:
        if reader.selection is not None:
            _add_norms(norms, network.get_parameter(reader.parameter), reader.weight_axis, reader.selection)
    return norms[:-1]


def random_units(problem: Problem) -> Tensor:
    """Uniform random scores [J]."""
    return torch.rand(problem.structure.gate_count)


@torch.no_grad()
def _add_norms(scores: Tensor, weight: Tensor, axis: int, gates: Tensor) -> None:
    """Add the L1 norms of a weight's slices along an axis to their gates' (the last entry: no gate)."""
    others = [dimension for dimension in range(weight.dim()) if dimension != axis]
    scores.index_add_(0, gates % len(scores), weight.abs().sum(others).to(scores))

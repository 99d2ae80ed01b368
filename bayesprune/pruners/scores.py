"""Scores of weights and of channels: the larger, the longer it stays."""

from typing import Protocol

import torch
from torch import Tensor, nn

from bayesprune.structure import Structure
from bayesprune.structure.cost import COUNTED


class WeightScore(Protocol):
    """Scores every weight of a network."""

    def __call__(self, network: nn.Module) -> dict[str, Tensor]:
        """Scores shaped like the weights, by parameter name."""
        ...


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """The weights (not biases) of linear and convolution layers by parameter name."""
    return {
        f"{name}.weight" if name else "weight": module.weight.detach()
        for name, module in network.named_modules()
        if isinstance(module, COUNTED)
    }


def magnitude(network: nn.Module) -> dict[str, Tensor]:
    """|w| (Han et al. 2015)."""
    return {name: weight.abs() for name, weight in weights_of(network).items()}


def relative_magnitude(network: nn.Module) -> dict[str, Tensor]:
    """|w| over the standard deviation of its layer's weights.

    One threshold over these scores is, in each layer, a threshold on |w| in proportion to the layer's
    deviation: the "class-distributed" rule of See et al. (arXiv 1606.09274).
    """
    return {
        name: weight.abs() / weight.std(correction=0).clamp_min(1e-12) for name, weight in weights_of(network).items()
    }


def random_scores(network: nn.Module) -> dict[str, Tensor]:
    """Uniform random numbers from torch's global generator."""
    return {name: torch.rand_like(weight) for name, weight in weights_of(network).items()}


def l1_units(network: nn.Module, structure: Structure) -> Tensor:
    """Rank of each channel in its group by `unit_norms`, between 0 and 1: scores [J].

    Li et al., *Pruning Filters for Efficient ConvNets* (arXiv 1608.08710) rank filters within a layer by the
    L1 norm of their kernels; as ranks, one threshold removes the same share of every group. One threshold on
    norms relative to the group's mean was tried as well: it empties narrow layers first and is far worse
    on LeNet-300-100 (validation accuracy 72 % against 93 % at 8,000 multiply-accumulates on mnist5k).
    """
    norms, ranks = unit_norms(network, structure), torch.zeros(structure.gate_count)
    for place in structure.slices().values():
        order = norms[place].argsort(stable=True).argsort()
        ranks[place] = (order + 0.5) / max(place.stop - place.start, 1)
    return ranks


def unit_norms(network: nn.Module, structure: Structure) -> Tensor:
    """L1 norm of each channel's incoming weights [J].

    A channel written by several layers adds their norms. Input (and flattened) features have no incoming
    weights; theirs is the norm of the weights that read them.
    """
    norms = torch.zeros(structure.gate_count + 1)
    for axis in structure.axes:
        if axis.tensor == "weight" and isinstance(network.get_submodule(axis.layer), COUNTED):
            _add_norms(norms, network.get_submodule(axis.layer), axis.axis, axis.gates)
    for reader in structure.readers:
        if reader.selection is not None:
            _add_norms(norms, network.get_submodule(reader.layer), reader.weight_axis, reader.selection)
    return norms[:-1]


def random_units(network: nn.Module, structure: Structure) -> Tensor:
    """Uniform random scores [J] from torch's global generator."""
    return torch.rand(structure.gate_count)


@torch.no_grad()
def _add_norms(scores: Tensor, layer: nn.Module, axis: int, gates: Tensor) -> None:
    """Add the L1 norms of a weight's slices along an axis to their gates' (the last entry: no gate)."""
    weight = layer.get_parameter("weight")
    others = [dimension for dimension in range(weight.dim()) if dimension != axis]
    scores.index_add_(0, gates % len(scores), weight.abs().sum(others))

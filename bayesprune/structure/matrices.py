"""Which tensors a layer multiplies what arrives by, and which of their entries are weights at all."""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from bayesprune.structure.kinds import kind_of
from bayesprune.structure.kinds.base import HIDDEN, INPUT
from bayesprune.structure.layers import CONVOLUTION

__all__ = ["CHOICES", "COUNTED", "fixed_masks", "matrices_of", "multiplied", "weight_sizes", "weights_of"]

COUNTED = (nn.Linear, CONVOLUTION)
"""Layers with one weight that multiplies what arrives once for every output position."""

CHOICES: Mapping[str, frozenset[str] | None] = {
    "all": None,
    "recurrent": frozenset({INPUT, HIDDEN}),
    INPUT: frozenset({INPUT}),
    HIDDEN: frozenset({HIDDEN}),
}
"""Which matrices single weights are removed from, by name: None for those of every layer."""


def multiplied(layer: nn.Module) -> tuple[str, ...]:
    """The names of the tensors that a layer multiplies what arrives by; of recurrent layers they are several."""
    if isinstance(layer, COUNTED):
        return ("weight",)
    kind = kind_of(layer)
    return () if kind is None else tuple(kind.matrices(layer))


def weights_of(network: nn.Module, layers: Collection[str] | None = None) -> dict[str, nn.Parameter]:
    """The weights (not biases) of linear, convolution and recurrent layers by parameter name; a shared one once.

    Weights that are computed from other parameters (weight norm) are none of them.

    Args:
        network: any.
        layers: names of the layers that count, as those that run (`layer_costs`); None for all.
    """
    chosen = {
        id(layer._parameters.get(tensor))
        for name, layer in network.named_modules()
        if layers is None or name in layers
        for tensor in multiplied(layer)
    }
    return {name: weight for name, weight in network.named_parameters() if id(weight) in chosen}


def matrices_of(network: nn.Module, choice: str) -> set[str]:
    """The parameters of a network's recurrent layers that a choice other than "all" is about, by name."""
    wanted = CHOICES[choice]
    assert wanted is not None  # all weights need no choice
    return {
        _joined(name, tensor)
        for name, layer in network.named_modules()
        if (kind := kind_of(layer)) is not None
        for tensor, which in kind.matrices(layer).items()
        if which in wanted
    }


def fixed_masks(network: nn.Module) -> dict[str, Tensor]:
    """Where the layers of a network have weights [bool], by parameter name, for those that have fixed masks.

    An entry outside of such a mask is no weight: it is not counted, not pruned, and never grows.
    """
    found = {}
    for name, layer in network.named_modules():
        kind = kind_of(layer)
        for tensor, mask in ({} if kind is None else kind.fixed(layer)).items():
            found[_joined(name, tensor)] = mask.detach().cpu() != 0
    return found


def weight_sizes(network: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, int]:
    """How many weights the tensors have, by parameter name: their entries, those outside of fixed masks left out."""
    fixed = fixed_masks(network)
    return {
        name: int(torch.count_nonzero(fixed[name])) if name in fixed else weight.numel()
        for name, weight in weights.items()
    }


def _joined(layer: str, tensor: str) -> str:
    return f"{layer}.{tensor}" if layer else tensor

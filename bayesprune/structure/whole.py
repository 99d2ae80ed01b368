"""Which layers stay whole, and why, so that none is left out in silence."""

from collections.abc import Set

from torch import nn

from bayesprune.structure.groups import Structure
from bayesprune.structure.layers import CONVOLUTION, is_source, sharing_layers, trouble
from bayesprune.structure.passes import Passes
from bayesprune.structure.tracing import Coupled

KEPT, OUTPUTS = "named in keep", "its channels are outputs of the network"
"""Reasons that surprise nobody: the user's own, and what every network has."""


def left_whole(
    network: nn.Module, structure: Structure, coupled: list[Coupled], kept: Set[str], passes: Passes
) -> dict[str, str]:
    """Every linear and convolution layer that writes no channel with a gate, and the reason."""
    shared = sharing_layers(network)
    producing = {name for group in structure.groups for name in group.producers}
    ends = {name for each in coupled if each.ends for name in each.names()}
    read = {name for each in coupled if any(m.reads for m in each.members) for name in each.names()}

    def reason(name: str, layer: nn.Module) -> str:
        if name in kept:
            return KEPT
        if name in passes.functional:
            return "its weight is used through torch.nn.functional and the layer is not called: call the layer"
        if name not in passes.run:
            return "it is never run"
        if name in ends:
            return OUTPUTS
        if said := trouble(layer, shared):
            return said
        if name in read:
            return "its channels are tied to those of a layer that stays whole, or could not be followed one by one"
        return "no layer was found that reads its channels"

    layers = {n: m for n, m in network.named_modules() if n and (is_source(m) or isinstance(m, CONVOLUTION))}
    return {name: reason(name, layer) for name, layer in layers.items() if name not in producing}

"""The end of edge selection: which weights stay, as masks, and which units nothing feeds or reads any more."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bayesprune.inference.objective import guide_of
from bayesprune.inference.spike_slab.edge_guide import EdgeGuide
from bayesprune.pruners.trimming import trim
from bayesprune.structure import Structure
from bayesprune.structure.matrices import COUNTED
from bayesprune.structure.spike import maps_zero_to_zero
from bayesprune.training import Memory, TrainState


@dataclass
class LastEdges(Memory):
    """Layers none of whose weights was more likely there than not; the likeliest one of each stayed."""

    names: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class KeepEdges:
    """A phase's start: weights and biases with g > 1/2 stay, the others are masked.

    Of a layer whose weights would all go the likeliest one stays.

    Attributes:
        trims: whether to remove what nothing reads or feeds any more.
    """

    trims: bool

    @torch.no_grad()
    def __call__(self, state: TrainState) -> None:
        """Decide."""
        found, masks = edge_guide(state).inclusion(), {}
        for name, chance in found.items():
            keep = chance > 0.5
            if name.endswith("weight") and not bool(keep.any()) and bool(chance.any()):
                keep.view(-1)[chance.argmax()] = True
                state.memory(LastEdges).names.append(name.removesuffix(".weight"))
            masks[name] = keep.to(chance.dtype)
        state.masks = {**state.masks, **masks}
        state.apply_masks()
        if self.trims:
            trim_edges(state)


def trim_edges(state: TrainState) -> None:
    """Remove units and inputs that no weight reads, and those that no weight feeds where 0 stays 0 on the way.

    The network stays the same function.
    """
    gates = state.structure.gate_count + 1
    while state.structure.gate_count < gates:
        gates = state.structure.gate_count
        silence(state, unfed_gates(state.structure, state.masks, _silent_groups(state)))
        trim(state)


def unfed_gates(structure: Structure, masks: Mapping[str, Tensor], groups: Mapping[str, bool]) -> Tensor:
    """The gates, bool [J], of units all of whose incoming weights and biases are masked.

    Args:
        structure: the groups as they are now.
        masks: by parameter name, of every parameter of the layers that write units.
        groups: whether a unit that says 0 reaches its consumers as 0; those of other groups are not looked at.
    """
    fed = torch.ones(structure.gate_count + 1, dtype=torch.bool)  # one more, for units that have no gate
    for name, place in structure.slices().items():
        fed[place] = not groups.get(name, False)
    for axis in structure.axes:
        mask = masks.get(axis.parameter)
        if mask is not None:
            there = (mask != 0).movedim(axis.axis, 0).reshape(len(axis.gates), -1).any(1)
            fed[axis.gates[there.cpu()]] = True
    return ~fed[:-1]


def silence(state: TrainState, closed: Tensor) -> None:
    """Mask the weights that read closed gates (bool [J]), whose features are 0 anyway."""
    padded = torch.cat([closed, closed.new_zeros(1)])
    for reader in state.structure.readers:
        mask = state.masks.get(reader.parameter)
        places = padded[reader.arriving[reader.selected]].nonzero().flatten()
        if mask is not None and len(places):
            mask.index_fill_(reader.weight_axis, places.to(mask.device), 0.0)
    state.apply_masks()


def _silent_groups(state: TrainState) -> dict[str, bool]:
    """The groups whose units are written by linear and convolution layers, and reach their consumers as 0 from 0."""
    found = maps_zero_to_zero(state.network, state.structure, state.example)
    for group in state.structure.groups:
        layers = [layer for layer in group.producers if isinstance(state.network.get_submodule(layer), COUNTED)]
        found[group.name] = found[group.name] and group.kind == "channels" and bool(layers)
    return found


def edge_guide(state: TrainState) -> EdgeGuide:
    """The guide among the state's modules."""
    guide = guide_of(state)
    assert isinstance(guide, EdgeGuide)
    return guide

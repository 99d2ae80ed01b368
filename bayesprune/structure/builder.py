"""Numbering gates while groups, written axes and readers are collected."""

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn

from bayesprune.errors import UnsupportedLayerError
from bayesprune.structure.groups import UNGATED, Axis, Group, Reader, Structure
from bayesprune.structure.layers import TRANSPOSED, channel_count, is_source, written_tensors
from bayesprune.structure.tracing import Member


class StructureBuilder:
    """Collects groups; gates are numbered in the order in which they are added.

    Args:
        order: the place of every layer in the network, by name.

    Attributes:
        arriving: for each reading layer the gate of every feature that arrives.
    """

    def __init__(self, order: dict[str, int]) -> None:
        self.arriving: dict[str, Tensor] = {}
        self._order = order
        self._groups: list[Group] = []
        self._selection: dict[str, Tensor] = {}
        self._axes: dict[tuple[str, str], tuple[int, Tensor]] = {}
        self._reads: dict[str, tuple[int, int]] = {}

    def add_channels(self, members: list[Member]) -> None:
        """A group of coupled channels; nothing when no layer reads it or none makes it.

        Raises:
            UnsupportedLayerError: a member cannot be cut.
        """
        writers = self._names(member for member in members if not member.reads)
        readers = self._names(member for member in members if member.reads)
        sources = self._names(m for m in members if not m.reads and m.module is not None and is_source(m.module))
        if not readers or not sources:
            return
        for member in members:
            _refuse(member, sources[0])
        for member in members:
            if not (self._read(member) if member.reads else self._write(member)):
                raise UnsupportedLayerError(
                    f"the channels of layer {member.name!r} are not those of {sources[0]!r} one by one; "
                    f"name {sources[0]!r} in keep=[...]"
                )
        taken = {group.name for group in self._groups}
        name = next((n for n in (*sources, *writers) if n not in taken), f"{sources[0]}.{len(taken)}")
        size = 1 + max(max(member.channels) for member in members)
        self._groups.append(Group(name, size, torch.arange(size), writers, readers))

    def add_selection(self, name: str, kind: str, layer: str, feature_axis: int, features: int) -> None:
        """A group over features that a selector in front of the layer can leave out.

        Raises:
            UnsupportedLayerError: two layers read the same group with different numbers of features.
        """
        number = next((n for n, group in enumerate(self._groups) if group.name == name), len(self._groups))
        if number == len(self._groups):
            self._groups.append(Group(name, features, torch.arange(features), (), (), kind))
        known = self._groups[number]
        if known.size != features:
            raise UnsupportedLayerError(
                f"layer {layer!r} reads {features} input features and another {known.size}; name {name!r} in keep=[...]"
            )
        start = sum(group.size for group in self._groups[:number])
        self.arriving.setdefault(layer, torch.full((features,), UNGATED))
        self._selection[layer] = torch.arange(start, start + features)
        self._reads[layer] = (1, feature_axis)
        self._groups[number] = replace(known, consumers=(*known.consumers, layer))

    def build(self) -> Structure:
        """The structure of everything added."""
        axes = [Axis(layer, tensor, axis, gates) for (layer, tensor), (axis, gates) in self._axes.items()]
        readers = [
            Reader(layer, *self._reads[layer], arriving, torch.arange(len(arriving)), self._selection.get(layer))
            for layer, arriving in self.arriving.items()
        ]
        return Structure(tuple(self._groups), tuple(axes), tuple(readers))

    def _names(self, members: Iterable[Member]) -> tuple[str, ...]:
        """The names of members, each once, in network order."""
        return tuple(sorted({member.name for member in members}, key=lambda name: self._order.get(name, -1)))

    def _write(self, member: Member) -> bool:
        """Note along which axis of its tensors a layer writes the channels; False when they do not match."""
        layer = member.module
        assert layer is not None
        matches = True
        for tensor in written_tensors(layer):
            axis = 1 if isinstance(layer, TRANSPOSED) and tensor == "weight" else 0
            width = channel_count(layer, tensor, axis)
            place = self._axes.setdefault((member.name, tensor), (axis, torch.full((width,), UNGATED)))
            matches &= self._assign(member, place[1])
        return matches

    def _read(self, member: Member) -> bool:
        """Note along which axes of weight and input a layer reads them; False when they do not match."""
        layer = member.module
        assert layer is not None
        axis = 0 if isinstance(layer, TRANSPOSED) else 1
        self._reads[member.name] = (axis, -1 if isinstance(layer, nn.Linear) else 1)
        width = layer.get_parameter("weight").shape[axis]
        return self._assign(member, self.arriving.setdefault(member.name, torch.full((width,), UNGATED)))

    def _assign(self, member: Member, gates: Tensor) -> bool:
        """Give positions their gates; False when there are too few, or a position would have two gates."""
        index = torch.tensor(member.positions)
        misplaced = int(index.max()) >= len(gates)
        if misplaced or len(index.unique()) < len(index) or bool((gates[index] != UNGATED).any()):
            return False
        gates[index] = sum(group.size for group in self._groups) + torch.tensor(member.channels)
        return True


def _refuse(member: Member, source: str) -> None:
    """Refuse a member that cannot be cut, by name."""
    if member.module is None:
        raise UnsupportedLayerError(f"parameter {member.name!r} {member.trouble}: name {source!r} in keep=[...]")
    if member.trouble is not None:
        kind = type(member.module).__name__
        raise UnsupportedLayerError(f"{kind} {member.name!r} {member.trouble}: name it in keep=[...]")

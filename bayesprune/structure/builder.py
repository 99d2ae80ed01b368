"""Numbering gates while groups, written axes and readers are collected."""

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor

from bayesprune.structure.groups import UNGATED, Axis, Group, Reader, Structure
from bayesprune.structure.layers import channel_count, is_source, read_axes, written_axes
from bayesprune.structure.refusals import Refusal
from bayesprune.structure.tracing import Member


class StructureBuilder:
    """Collects groups; gates are numbered in the order in which they are added.

    Args:
        order: the place of every layer in the network, by name.

    Attributes:
        arriving: for each reading layer the gate of every feature that arrives.
        refusals: why some channels cannot be a group; the structure is not exact when there are any.
    """

    def __init__(self, order: dict[str, int]) -> None:
        self.arriving: dict[str, Tensor] = {}
        self.refusals: list[Refusal] = []
        self._order = order
        self._groups: list[Group] = []
        self._selection: dict[str, Tensor] = {}
        self._axes: dict[tuple[str, str], tuple[int, Tensor]] = {}
        self._reads: dict[str, tuple[int, int]] = {}

    def add_channels(self, members: list[Member]) -> None:
        """A group of coupled channels; nothing when no layer reads it or none makes it."""
        writers = self._names(member for member in members if not member.reads)
        readers = self._names(member for member in members if member.reads)
        sources = self._names(m for m in members if not m.reads and m.module is not None and is_source(m.module))
        if not readers or not sources:
            return
        troubled = [_refusal(member, sources[0]) for member in members if member.trouble is not None]
        if troubled:
            self.refusals += troubled
            return
        if _is_lost(members):
            return
        matches = [self._read(member) if member.reads else self._write(member) for member in members]
        if not all(matches):
            self.refusals.append(_mismatch(writers, readers, sources[0]))
            return
        taken = {group.name for group in self._groups}
        name = next((n for n in (*sources, *writers) if n not in taken), f"{sources[0]}.{len(taken)}")
        size = 1 + max(max(member.channels) for member in members)
        self._groups.append(Group(name, size, torch.arange(size), writers, readers))

    def add_selection(self, name: str, kind: str, layer: str, feature_axis: int, features: int) -> None:
        """A group over features that a selector in front of the layer can leave out."""
        number = next((n for n, group in enumerate(self._groups) if group.name == name), len(self._groups))
        if number == len(self._groups):
            self._groups.append(Group(name, features, torch.arange(features), (), (), kind))
        known = self._groups[number]
        if known.size != features:
            said = f"group {name!r} has {known.size} features and layer {layer!r} reads {features} of them"
            self.refusals.append(Refusal("", name, said, name))
            return
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
        for tensor, axis in written_axes(layer).items():
            width = channel_count(layer, tensor, axis)
            place = self._axes.setdefault((member.name, tensor), (axis, torch.full((width,), UNGATED)))
            matches &= self._assign(member, place[1])
        return matches

    def _read(self, member: Member) -> bool:
        """Note along which axes of weight and input a layer reads them; False when they do not match."""
        layer = member.module
        assert layer is not None
        axis, _ = self._reads[member.name] = read_axes(layer)
        width = layer.get_parameter("weight").shape[axis]
        return self._assign(member, self.arriving.setdefault(member.name, torch.full((width,), UNGATED)))

    def _assign(self, member: Member, gates: Tensor) -> bool:
        """Give positions their gates; False where one is out of range, or would have two gates."""
        if min(member.positions) < 0 or max(member.positions) >= len(gates):
            return False
        index = torch.tensor(member.positions)
        if len(index.unique()) < len(index) or bool((gates[index] != UNGATED).any()):
            return False
        gates[index] = sum(group.size for group in self._groups) + torch.tensor(member.channels)
        return True


def _is_lost(members: list[Member]) -> bool:
    """Whether the trace followed one of a layer's many channels only; it would have to stay in any case."""
    written = {channel for member in members for channel in member.channels}
    widths = [
        channel_count(member.module, tensor, axis)
        for member in members
        if not member.reads and member.module is not None and is_source(member.module)
        for tensor, axis in written_axes(member.module).items()
    ]
    return len(written) == 1 and max(widths) > 1


def _mismatch(writers: tuple[str, ...], readers: tuple[str, ...], source: str) -> Refusal:
    """Channels that are not the same ones, one by one, wherever they are written and read."""
    said = (
        f"between {_listed(writers)}, which write channels, and {_listed(readers)}, which read them, channels are "
        "padded, repeated, sliced, broadcast or used in another way than one by one"
    )
    return Refusal("", source, said, source)


def _listed(names: tuple[str, ...], most: int = 4) -> str:
    """The names, or the first ones of many."""
    shown = ", ".join(map(repr, names[:most]))
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _refusal(member: Member, source: str) -> Refusal:
    """A member that cannot be cut, by name."""
    assert member.trouble is not None
    if member.module is None:
        return Refusal("parameter", member.name, member.trouble, source)
    return Refusal(type(member.module).__name__, member.name, member.trouble, member.name)

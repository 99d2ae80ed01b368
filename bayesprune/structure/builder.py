"""Numbering gates while groups, written axes and readers are collected."""

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn

from bayesprune.structure.groups import UNGATED, Axis, Group, Normaliser, Reader, Structure
from bayesprune.structure.labels.classes import Classes, Found
from bayesprune.structure.refusals import Refusal


class StructureBuilder:
    """Collects groups; gates are numbered in the order in which they are added.

    Args:
        classes: of the network's channels.

    Attributes:
        arriving: for each linear layer that reads channels the gate of every feature that arrives.
        refusals: why some features cannot be a group.
    """

    def __init__(self, classes: Classes) -> None:
        self.refusals: list[Refusal] = []
        self._classes = classes
        self._groups: list[Group] = []
        self._selection: dict[str, Tensor] = {}
        self._selecting: dict[str, tuple[int, int]] = {}
        self._gate_of: dict[int, int] = {}

    def add_channels(self, found: Found) -> None:
        """A group of channels."""
        start, taken = self._count(), {group.name for group in self._groups}
        self._gate_of |= {label: start + place for place, label in enumerate(found.classes.tolist())}
        name = next((n for n in (found.name, *found.makers, *found.producers) if n and n not in taken), None)
        size = len(found.classes)
        name = name or f"{found.name}.{len(taken)}"
        self._groups.append(Group(name, size, torch.arange(size), found.producers, found.consumers))

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
        self._selection[layer] = torch.arange(start, start + features)
        self._selecting[layer] = (feature_axis, features)
        self._groups[number] = replace(known, consumers=(*known.consumers, layer))

    def flattened(self, network: nn.Module) -> list[tuple[str, int]]:
        """The linear layers that read several features of one channel: name and number of features."""
        found = []
        for layer, _, _, gates, by_weight in self._gated_reads():
            gated = gates[gates != UNGATED]
            is_linear = isinstance(network.get_submodule(layer), nn.Linear) and not by_weight
            if is_linear and len(gated) > len(gated.unique()):
                found.append((layer, len(gates)))
        return found

    def build(self) -> Structure:
        """The structure of everything added."""
        record = self._classes.trace.record
        axes = [
            Axis(layer, tensor, axis, gates)
            for (layer, tensor, axis), labels in record.writes.items()
            if bool(((gates := self._gates(labels)) != UNGATED).any())
        ]
        for element in self._classes.elements:
            gates = self._gates(element.labels)
            if bool((gates != UNGATED).any()):
                axes.append(Axis(element.own.layer, element.own.tensor, element.axis, gates))
        norms = [Normaliser(layer, self._gates(labels), axis) for layer, (labels, axis) in record.norms.items()]
        norms = [norm for norm in norms if bool((norm.gates != UNGATED).any())]
        return Structure(tuple(self._groups), tuple(axes), tuple(self._readers()), norms=tuple(norms))

    def _readers(self) -> Iterable[Reader]:
        """The layers that read features with gates, those with gates of their own first."""
        reads = {(layer, tensor): (axis, gates, by_weight) for layer, (tensor, axis), _, gates, by_weight in self._all()}
        for layer, (feature_axis, features) in self._selecting.items():
            _, arriving, _ = reads.pop((layer, "weight"), (1, torch.full((features,), UNGATED), False))
            everything = torch.arange(features)
            yield Reader(layer, 1, feature_axis, arriving, everything, self._selection[layer])
        for layer, (tensor, axis), feature_axis, gates, by_weight in self._gated_reads():
            if layer not in self._selecting:
                everything = torch.arange(len(gates))
                yield Reader(layer, axis, feature_axis, gates, everything, None, tensor, by_weight)

    def _gated_reads(self) -> list[tuple[str, tuple[str, int], int, Tensor, bool]]:
        """What layers read along which axis of which tensor, where some of it has gates."""
        return [one for one in self._all() if bool((one[3] != UNGATED).any())]

    def _all(self) -> list[tuple[str, tuple[str, int], int, Tensor, bool]]:
        reads = self._classes.trace.record.reads.items()
        return [
            (layer, (tensor, axis), one.feature_axis, self._gates(one.labels), one.by_weight)
            for (layer, tensor, axis), one in reads
        ]

    def _gates(self, labels: Tensor) -> Tensor:
        """The gate of each label."""
        found = self._classes.canonical(labels).tolist()
        return torch.tensor([self._gate_of.get(label, UNGATED) for label in found], dtype=torch.long)

    def _count(self) -> int:
        return sum(group.size for group in self._groups)

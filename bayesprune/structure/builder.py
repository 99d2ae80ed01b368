"""Numbering gates while groups, written axes and readers are collected."""

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn

from bayesprune.structure.groups import Structure
from bayesprune.structure.labels.classes import Classes, Found
from bayesprune.structure.layers import CONVOLUTION
from bayesprune.structure.members import UNGATED, Axis, Group, Normaliser, Reader
from bayesprune.structure.refusals import Refusal


class StructureBuilder:
    """Collects groups; gates are numbered in the order in which they are added.

    Args:
        classes: of the network's channels.

    Attributes:
        arriving: for each linear layer that reads channels the gate of every feature that arrives.
        refusals: why some features cannot be a group.
        found_names: by the names of groups those of what was found.
    """

    def __init__(self, classes: Classes) -> None:
        self.refusals: list[Refusal] = []
        self._classes = classes
        self._groups: list[Group] = []
        self._selection: dict[str, Tensor] = {}
        self._selecting: dict[str, tuple[int, int]] = {}
        self._table = torch.full((classes.trace.universe.count,), UNGATED)
        self._spread: dict[int, tuple[str, ...]] = {}
        self.found_names: dict[str, str] = {}

    def add_channels(self, found: Found, *, spread: bool = False, counted: tuple[str, ...] = ()) -> None:
        """A group of channels; those that are spread are written by the layers that make them only."""
        start, taken = self._count(), {group.name for group in self._groups}
        self._table[found.classes.long()] = torch.arange(start, start + len(found.classes))
        name = next((n for n in (found.name, *found.makers, *found.producers) if n and n not in taken), None)
        size = len(found.classes)
        name = name or f"{found.name}.{len(taken)}"
        self.found_names[name] = found.name
        if spread:
            layers = (*found.makers, *self._normalising(found))
            self._spread |= dict.fromkeys(found.classes.tolist(), layers)
        everything = torch.arange(size)
        self._groups.append(Group(name, size, everything, found.producers, found.consumers, counted=counted))

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
            if bool(((gates := self._gates(labels, layer)) != UNGATED).any())
        ]
        for element in self._classes.elements:
            gates = self._gates(element.labels, element.own.name)
            if bool((gates != UNGATED).any()):
                axes.append(Axis(element.own.layer, element.own.tensor, element.axis, gates))
        norms = [Normaliser(layer, self._gates(labels, layer), axis) for layer, (labels, axis) in record.norms.items()]
        norms = [norm for norm in norms if bool((norm.gates != UNGATED).any())]
        spread = frozenset(layer for layers in self._spread.values() for layer in layers)
        return Structure(
            tuple(self._groups),
            tuple(axes),
            tuple(self._readers()),
            norms=tuple(norms),
            spread=spread,
            examples_first=record.examples_first,
        )

    def _readers(self) -> Iterable[Reader]:
        """The layers that read features with gates, those with gates of their own first."""
        reads = {
            (layer, tensor, axis): (gates, by_weight) for layer, (tensor, axis), _, gates, by_weight in self._all()
        }
        for layer, (feature_axis, features) in self._selecting.items():
            arriving, _ = reads.pop((layer, "weight", 1), (torch.full((features,), UNGATED), False))
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

    def can_spread(self, network: nn.Module, name: str) -> bool:
        """Whether all that make the channels of a group can hand out zeros, and all that read them can select.

        A normalisation does both; it must have no channels of other groups.
        """
        record, found = self._classes.trace.record, next(one for one in self._classes.found if one.name == name)
        makers = [network.get_submodule(layer) for layer in found.makers]
        return (
            all(isinstance(maker, (nn.Linear, CONVOLUTION, nn.Embedding)) for maker in makers)
            and {*found.makers} <= record.called
            and all(bool(self._has(found, record.norms[layer][0]).all()) for layer in self._normalising(found))
            and not any(one.by_weight and bool(self._has(found, one.labels).any()) for one in record.reads.values())
        )

    def is_normalised(self, name: str) -> bool:
        """Whether statistics run over the channels of a group, which then costs more to spread."""
        return bool(self._normalising(next(one for one in self._classes.found if one.name == name)))

    def _normalising(self, found: Found) -> tuple[str, ...]:
        """The layers whose statistics run over channels of a group."""
        norms = self._classes.trace.record.norms.items()
        return tuple(layer for layer, (labels, _) in norms if bool(self._has(found, labels).any()))

    def _has(self, found: Found, labels: Tensor) -> Tensor:
        """Which labels are channels of a group."""
        return torch.isin(self._classes.canonical(labels), found.classes)

    def _gates(self, labels: Tensor, layer: str | None = None) -> Tensor:
        """The gate of each label; for a layer that writes them, of those that it has to cut."""
        found = self._classes.canonical(labels).long()
        gates = self._table[found]
        if layer is not None and self._spread:
            stay = [label in self._spread and layer not in self._spread[label] for label in found.tolist()]
            gates = gates.masked_fill(torch.tensor(stay), UNGATED)
        return gates

    def _count(self) -> int:
        return sum(group.size for group in self._groups)

"""The values that describe what can be removed from a network."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from bayesprune.devices import CPU
from bayesprune.errors import SettingError

UNGATED = -1
"""Marks a channel that belongs to no gate."""


@dataclass(frozen=True, eq=False)
class Group:
    """Channels that are removed together.

    Attributes:
        name: its first producing layer, or "inputs", or "<layer>.inputs" for flattened features.
        size: channels at the start.
        kept: original indices [K] of the channels still there, ascending.
        producers: layers that write the channels (convolutions, linear and normalisation layers).
        consumers: layers that read them.
        kind: "channels", "inputs" or "flatten".
    """

    name: str
    size: int
    kept: Tensor
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    kind: str = "channels"


@dataclass(frozen=True, eq=False)
class Axis:
    """An axis along which a layer writes channels.

    Attributes:
        layer: its name in the network.
        tensor: its parameter or buffer; "" for a normalisation that has none.
        axis: of the tensor.
        gates: the gate [n] of each position, `UNGATED` where there is none.
    """

    layer: str
    tensor: str
    axis: int
    gates: Tensor

    @property
    def parameter(self) -> str:
        """The name of the parameter or buffer."""
        return f"{self.layer}.{self.tensor}" if self.layer else self.tensor


@dataclass(frozen=True, eq=False)
class Reader:
    """A layer that reads gated channels. Several of its positions may have one gate.

    Attributes:
        layer: its name in the network.
        weight_axis: the input axis of its weight.
        feature_axis: the axis of its input along which the features lie.
        arriving: gate [A] of each feature that arrives, `UNGATED` where there is none.
        selected: positions [n] among the arriving features that are read.
        selection: gate [n] of each read feature in a group of its own (network inputs, flattened features),
            or None.
        tensor: the parameter that reads them; a layer may have several, each a reader.
        by_weight: gates multiply the weight's axis and not the layer's input, because the features are not the first
            argument that the layer is called with (attention, recurrent layers, functions of torch).
    """

    layer: str
    weight_axis: int
    feature_axis: int
    arriving: Tensor
    selected: Tensor
    selection: Tensor | None
    tensor: str = "weight"
    by_weight: bool = False

    @property
    def parameter(self) -> str:
        """The name of the parameter that reads."""
        return f"{self.layer}.{self.tensor}" if self.layer else self.tensor

    def open_positions(self, open_gates: Tensor) -> Tensor:
        """Which of the n read features stay when the gates [J] (bool) are open: bool [n]."""
        padded = torch.cat([open_gates, open_gates.new_ones(1)])
        stays = padded[self.arriving[self.selected]]
        return stays if self.selection is None else stays & padded[self.selection]

    def best_gates(self, open_gates: Tensor, preference: Tensor) -> Tensor:
        """The gates to open so that one feature is read: the most preferred, best of an open channel."""
        arriving = self.arriving[self.selected]
        own = arriving if self.selection is None else self.selection
        open_channel = torch.cat([open_gates, open_gates.new_ones(1)])[arriving]
        value = torch.cat([preference, preference.new_zeros(1)])[own]
        among = open_channel if bool(open_channel.any()) else torch.ones_like(open_channel)
        best = int(value.where(among, value.new_tensor(float("-inf"))).argmax())
        gates = torch.stack([arriving[best], own[best]])
        return gates[gates != UNGATED]


@dataclass(frozen=True, eq=False)
class Normaliser:
    """A layer normalisation over gated features, whose statistics run over the open ones only.

    Attributes:
        layer: its name in the network: a LayerNorm or RMSNorm over one axis.
        gates: gate [n] of each normalised feature, `UNGATED` where there is none.
        feature_axis: of the input that is normalised; 1 for a subclass that moves the channels of maps to the end.
    """

    layer: str
    gates: Tensor
    feature_axis: int = -1


@dataclass(frozen=True, eq=False)
class Structure:
    """Every group of a network, with the places where its channels are written and read.

    Gates are numbered 0..J-1, group after group, in the order of `groups`; after a compaction they are
    numbered anew and `Group.kept` remembers the original indices.

    Attributes:
        groups: of channels that are removed together.
        axes: where layers write them.
        readers: the layers that read them.
        whole: linear and convolution layers that keep all their channels, each with the reason.
        norms: normalisations over gated features.
        spread: writing layers that go on handing out all their channels once compacted, zeros where one is removed,
            because what lies behind counts on their number; their readers select.
        examples_first: whether every reader's input has the examples along its first axis.
    """

    groups: tuple[Group, ...]
    axes: tuple[Axis, ...]
    readers: tuple[Reader, ...]
    whole: Mapping[str, str] = field(default_factory=dict)
    norms: tuple[Normaliser, ...] = ()
    spread: frozenset[str] = frozenset()
    examples_first: bool = True

    @property
    def per_example(self) -> bool:
        """Whether every example can have gates of its own; a weight that is gated is the same for all."""
        return self.examples_first and not any(reader.by_weight for reader in self.readers)

    @property
    def gate_count(self) -> int:
        """The number of gates that are there now."""
        return sum(len(group.kept) for group in self.groups)

    @property
    def initial_gate_count(self) -> int:
        """The number of gates at the start."""
        return sum(group.size for group in self.groups)

    def slices(self) -> dict[str, slice]:
        """Where each group's gates lie among the present ones."""
        return _slices({group.name: len(group.kept) for group in self.groups})

    def initial_slices(self) -> dict[str, slice]:
        """Where each group's gates lie among the initial ones."""
        return _slices({group.name: group.size for group in self.groups})

    def original_gates(self) -> Tensor:
        """The initial number [J] of every gate that is there now."""
        starts = self.initial_slices()
        parts = [group.kept + starts[group.name].start for group in self.groups]
        return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.long)

    def kept(self) -> dict[str, list[int]]:
        """For each group the original indices that are still there."""
        return {group.name: group.kept.tolist() for group in self.groups}

    def open_from_kept(self, kept: dict[str, list[int]]) -> Tensor:
        """The open gates (bool [J]) that leave exactly `kept`.

        Raises:
            SettingError: a group is unknown, or an index is not there.
        """
        unknown = set(kept) ^ {group.name for group in self.groups}
        if unknown:
            raise SettingError(f"groups {sorted(unknown)} do not match the network's; it has {list(self.slices())}")
        masks = []
        for group in self.groups:
            wanted = torch.tensor(kept[group.name], dtype=torch.long)
            mask = torch.isin(group.kept, wanted)
            if int(mask.sum()) != len(wanted):
                raise SettingError(f"group {group.name!r} has no channels {kept[group.name]}: it has {group.size}")
            masks.append(mask)
        return torch.cat(masks) if masks else torch.zeros(0, dtype=torch.bool)

    def protect(self, open_gates: Tensor, preference: Tensor) -> Tensor:
        """Reopen, in every group that would be emptied, the gate with the highest preference [J].

        The same holds for a layer that writes or normalises only some of a group's channels (one of several that are
        concatenated), and for a layer that would be left with nothing to read (all its open channels'
        features closed).
        """
        if open_gates.device.type != CPU:
            return self.protect(open_gates.cpu(), preference.cpu()).to(open_gates.device)
        protected = open_gates.clone()
        if self.passes_on(open_gates):
            return protected
        for place in self.slices().values():
            if place.stop > place.start and not protected[place].any():
                protected[place.start + int(preference[place].argmax())] = True
        for gates in self.parts:
            if not protected[gates].any():
                protected[gates[int(preference[gates].argmax())]] = True
        for reader in self.readers:
            if not reader.open_positions(protected).any():
                protected[reader.best_gates(protected, preference)] = True
        return protected

    def passes_on(self, open_gates: Tensor) -> bool:
        """Whether `protect` has nothing to reopen at open_gates [J] (bool): asked after every step, so in few calls."""
        open_gates = open_gates.cpu()
        sets, others = self.needed
        if not bool(sets.mv(open_gates.to(sets)).all()):
            return False
        return all(bool(reader.open_positions(open_gates).any()) for reader in others)

    @cached_property
    def needed(self) -> tuple[Tensor, tuple[Reader, ...]]:
        """Sets of gates [S, J] (0 or 1), one of each of which must be open, and readers that two gates a feature shut.

        Of sets that contain another one only the smaller counts.
        """
        candidates = [torch.arange(place.start, place.stop) for place in self.slices().values()]
        candidates += list(self.parts)
        both = []
        for reader in self.readers:
            ways = [way for way in (reader.arriving[reader.selected], reader.selection) if way is not None]
            gated = [way for way in ways if bool((way != UNGATED).any())]
            if len(gated) > 1:
                both.append(reader)
            elif gated and not bool((gated[0] == UNGATED).any()):
                candidates.append(gated[0].unique())
        kept: list[set[int]] = []
        for gates in sorted((set(gates.tolist()) for gates in candidates if len(gates)), key=len):
            if not any(smaller <= gates for smaller in kept):
                kept.append(gates)
        sets = torch.zeros(len(kept), self.gate_count)
        for row, gates in zip(sets, kept, strict=True):
            row[sorted(gates)] = 1.0
        return sets, tuple(both)

    @cached_property
    def partial_writers(self) -> tuple[tuple[str, Tensor], ...]:
        """Layers that write no more than a part of a group, with the gates of that part."""
        places = [place for place in self.slices().values() if place.stop > place.start]

        def is_partial(gates: Tensor) -> bool:
            inside = [((gates >= place.start) & (gates < place.stop)).sum() for place in places]
            return all(int(n) < place.stop - place.start for n, place in zip(inside, places, strict=True))

        written = dict.fromkeys((axis.layer, tuple(axis.gates.unique().tolist())) for axis in self.axes)
        found = [(layer, torch.tensor(gates)) for layer, gates in written if gates and gates[0] != UNGATED]
        return tuple((layer, gates) for layer, gates in found if is_partial(gates))

    @cached_property
    def parts(self) -> tuple[Tensor, ...]:
        """Sets of gates, one of each of which must be open, besides the groups: what one layer writes or normalises."""
        normalised = [norm.gates.unique() for norm in self.norms]
        return (
            *(gates for _, gates in self.partial_writers),
            *(gates for gates in normalised if len(gates) and gates[0] != UNGATED),
        )

    @cached_property
    def spread_gates(self) -> Tensor:
        """Gates whose channels go on arriving once they are removed: bool [J + 1], the last one of no gate."""
        found = torch.zeros(self.gate_count + 1, dtype=torch.bool)
        for axis in self.axes:
            if axis.layer in self.spread:
                found[axis.gates] = True
        found[-1] = False
        return found

    def arrives(self, reader: Reader, open_gates: Tensor) -> Tensor:
        """Which of the A features reach a reader when the gates [J] (bool) are open: bool [A]."""
        padded = torch.cat([open_gates, open_gates.new_ones(1)])
        return (padded | self.spread_gates)[reader.arriving]

    def behind_spread(self, reader: Reader) -> bool:
        """Whether a reader gets zeros for channels that are removed, and so has to select."""
        return bool(self.spread_gates[reader.arriving].any())

    def consistent(self, open_gates: Tensor) -> Tensor:
        """Close also what has no use when the closed gates of open_gates [J] (bool) are closed.

        These are the gates of flattened features whose channel is closed, and channels none of whose
        flattened features is read. The gated network stays the same function; no group is emptied by it. Call
        it after `protect`.
        """
        if open_gates.device.type != CPU:
            return self.consistent(open_gates.cpu()).to(open_gates.device)
        needed, used = torch.zeros(2, self.gate_count + 1, dtype=torch.long)
        for reader in self.readers:
            arriving = reader.arriving[reader.selected]
            stays = reader.open_positions(open_gates).long()
            for gates in (arriving,) if reader.selection is None else (arriving, reader.selection):
                needed.index_add_(0, gates % len(needed), torch.ones_like(stays))
                used.index_add_(0, gates % len(used), stays)
        for norm in self.norms:  # closing a channel changes the statistics of the others
            used[norm.gates % len(used)] += 1
        useful: Tensor = open_gates & ~((needed > 0) & (used == 0))[:-1]
        parts = [torch.arange(place.start, place.stop) for place in self.slices().values()]
        for gates in (*parts, *self.parts):
            if not useful[gates].any():
                useful[gates] = open_gates[gates]
        return useful

    def renamed(self, old: str, new: str) -> "Structure":
        """The structure after the layer `old` got the name `new`, and what is inside of it with it."""

        def name(layer: str) -> str:
            return new + layer[len(old) :] if layer == old or layer.startswith(f"{old}.") else layer

        return replace(
            self,
            axes=tuple(replace(axis, layer=name(axis.layer)) for axis in self.axes),
            readers=tuple(replace(reader, layer=name(reader.layer)) for reader in self.readers),
            norms=tuple(replace(norm, layer=name(norm.layer)) for norm in self.norms),
            spread=frozenset(map(name, self.spread)),
        )


def _slices(sizes: dict[str, int]) -> dict[str, slice]:
    """Consecutive slices of the given sizes."""
    places, start = {}, 0
    for name, size in sizes.items():
        places[name] = slice(start, start + size)
        start += size
    return places

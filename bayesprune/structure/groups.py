"""The structure of a network: all that can be removed from it, and what must stay open."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from bayesprune.devices import CPU
from bayesprune.errors import SettingError
from bayesprune.sections.value import KIND, Section
from bayesprune.structure.members import UNGATED, Axis, Group, Normaliser, Reader


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
        sections: whose branches have a gate each, the only one of the group of that name.
    """

    groups: tuple[Group, ...]
    axes: tuple[Axis, ...]
    readers: tuple[Reader, ...]
    whole: Mapping[str, str] = field(default_factory=dict)
    norms: tuple[Normaliser, ...] = ()
    spread: frozenset[str] = frozenset()
    examples_first: bool = True
    sections: tuple[Section, ...] = ()

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

    def why_no_groups(self) -> str:
        """What is said of a network without any, and what to do: with the first reason that is no network's own."""
        usual = ("named in keep", "its channels are outputs of the network")
        found = next((f"{name!r}: {why}" for name, why in self.whole.items() if why not in usual), "")
        reason = f" ({found}; take a method that masks single weights, such as magnitude)" if found else ""
        return f"the network has no groups to prune: `keep` or its layers exclude all of them{reason}"

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
        features closed). What lies inside a closed section needs nothing, and a section may close.
        """
        if open_gates.device.type != CPU:
            return self.protect(open_gates.cpu(), preference.cpu()).to(open_gates.device)
        protected = open_gates.clone()
        if self.passes_on(open_gates):
            return protected
        excused = self.excused(open_gates)
        for name, place in self.slices().items():
            if place.stop > place.start and key_of(name) not in excused and not protected[place].any():
                protected[place.start + int(preference[place].argmax())] = True
        for layer, gates in self.parts:
            if layer not in excused and not protected[gates].any():
                protected[gates[int(preference[gates].argmax())]] = True
        for reader in self.readers:
            if reader.layer not in excused and not reader.open_positions(protected).any():
                protected[reader.best_gates(protected, preference)] = True
        return protected

    def passes_on(self, open_gates: Tensor) -> bool:
        """Whether `protect` has nothing to reopen at open_gates [J] (bool): asked after every step, so in few calls."""
        open_gates = open_gates.cpu()
        sets, others = self.needed
        given = open_gates.to(sets)
        if not bool((sets.mv(given) + self.excuses.mv(1 - given)).all()):
            return False
        excused = self.excused(open_gates)
        return all(reader.layer in excused or bool(reader.open_positions(open_gates).any()) for reader in others)

    @cached_property
    def needed(self) -> tuple[Tensor, tuple[Reader, ...]]:
        """Sets of gates [S, J] (0 or 1), one of each of which must be open, and readers that two gates a feature shut.

        Of sets that contain another one only the smaller counts, unless a section can excuse that one alone.
        """
        sets, _, both = self._needs
        return sets, both

    @property
    def excuses(self) -> Tensor:
        """For each set of `needed` the gates [S, J] (0 or 1) of sections that hold it: a closed one excuses it."""
        return self._needs[1]

    @cached_property
    def _needs(self) -> tuple[Tensor, Tensor, tuple[Reader, ...]]:
        """`needed`, with the excuses between."""
        excuses_of = self.excusing
        candidates = [
            (torch.arange(place.start, place.stop), excuses_of.get(key_of(name), frozenset()))
            for name, place in self.slices().items()
            if key_of(name) not in self.section_keys
        ]
        candidates += [(gates, excuses_of.get(layer, frozenset())) for layer, gates in self.parts]
        both = []
        for reader in self.readers:
            ways = [way for way in (reader.arriving[reader.selected], reader.selection) if way is not None]
            gated = [way for way in ways if bool((way != UNGATED).any())]
            if len(gated) > 1:
                both.append(reader)
            elif gated and not bool((gated[0] == UNGATED).any()):
                candidates.append((gated[0].unique(), excuses_of.get(reader.layer, frozenset())))
        kept: list[tuple[set[int], frozenset[int]]] = []
        for gates, excuses in sorted(((set(g.tolist()), e) for g, e in candidates if len(g)), key=lambda c: len(c[0])):
            if not any(smaller <= gates and fewer <= excuses for smaller, fewer in kept):
                kept.append((gates, excuses))
        sets, shut = torch.zeros(2, len(kept), self.gate_count)
        for row, other, (gates, excuses) in zip(sets, shut, kept, strict=True):
            row[sorted(gates)], other[sorted(excuses)] = 1.0, 1.0
        return sets, shut, tuple(both)

    @cached_property
    def section_keys(self) -> frozenset[str]:
        """The groups that are gates of sections, also of those that are gone, as `key_of` names them."""
        return frozenset(key_of(group.name) for group in self.groups if group.kind == KIND)

    @cached_property
    def section_gates(self) -> Tensor:
        """The gate [S] of each section, in their order."""
        places = self.slices()
        return torch.tensor([places[one.name].start for one in self.sections], dtype=torch.long)

    @cached_property
    def excusing(self) -> Mapping[str, frozenset[int]]:
        """For each layer, and each group (`key_of`), the gates of sections any of which, closed, takes it along."""
        if not self.sections:
            return {}
        found: dict[str, set[int]] = {}
        gates = list(zip(self.sections, self.section_gates.tolist(), strict=True))
        for section, gate in gates:
            layers = {axis.layer for axis in self.axes} | {reader.layer for reader in self.readers}
            layers |= {norm.layer for norm in self.norms}
            for layer in filter(section.holds, layers):
                found.setdefault(layer, set()).add(gate)
            found[key_of(section.name)] = {outer for one, outer in gates if {*section.layers} <= {*one.layers}}
        for name, place in self.slices().items():
            writers = [
                {gate for one, gate in gates if one.holds(axis.layer, axis.tensor)}
                for axis in self.axes
                if bool(((axis.gates >= place.start) & (axis.gates < place.stop)).any())
            ]
            if writers:
                found[key_of(name)] = set.intersection(*writers)
        return {name: frozenset(each) for name, each in found.items() if each}

    def excused(self, open_gates: Tensor) -> frozenset[str]:
        """Layers and groups that need nothing when the gates [J] (bool) are open: sections may close."""
        if not self.sections:
            return self.section_keys
        closed = {gate for gate in self.section_gates.tolist() if not open_gates[gate]}
        return frozenset(name for name, gates in self.excusing.items() if gates & closed) | self.section_keys

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
    def parts(self) -> tuple[tuple[str, Tensor], ...]:
        """Layers, with gates one of which must be open besides those of groups: what one writes or normalises."""
        normalised = [(norm.layer, norm.gates.unique()) for norm in self.norms]
        return (
            *self.partial_writers,
            *((layer, gates) for layer, gates in normalised if len(gates) and gates[0] != UNGATED),
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
        flattened features is read, and all that lies inside a closed section. The gated network stays the same
        function; no group outside of closed sections is emptied by it. Call it after `protect`.
        """
        if open_gates.device.type != CPU:
            return self.consistent(open_gates.cpu()).to(open_gates.device)
        excused = self.excused(open_gates)
        needed, used = torch.zeros(2, self.gate_count + 1, dtype=torch.long)
        for reader in self.readers:
            arriving = reader.arriving[reader.selected]
            stays = reader.open_positions(open_gates).long() * (reader.layer not in excused)
            for gates in (arriving,) if reader.selection is None else (arriving, reader.selection):
                needed.index_add_(0, gates % len(needed), torch.ones_like(stays))
                used.index_add_(0, gates % len(used), stays)
        for norm in self.norms:  # closing a channel changes the statistics of the others
            used[norm.gates % len(used)] += 1
        useful: Tensor = open_gates & ~((needed > 0) & (used == 0))[:-1]
        parts = [(key_of(name), torch.arange(place.start, place.stop)) for name, place in self.slices().items()]
        for name, gates in (*parts, *self.parts):
            if name not in excused and not useful[gates].any():
                useful[gates] = open_gates[gates]
        closed = ~open_gates[self.section_gates]
        for name, gates in parts if bool(closed.any()) else ():
            if self.excusing.get(name, frozenset()) & {*self.section_gates[closed].tolist()}:
                useful[gates] = False
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
            sections=tuple(one.renamed(name) for one in self.sections),
        )


def key_of(group: str) -> str:
    """A name for a group that no layer has."""
    return f"group {group}"


def _slices(sizes: dict[str, int]) -> dict[str, slice]:
    """Consecutive slices of the given sizes."""
    places, start = {}, 0
    for name, size in sizes.items():
        places[name] = slice(start, start + size)
        start += size
    return places

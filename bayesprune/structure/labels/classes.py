"""From labels to groups: which classes of channels can go, and which layers make, pass on and read them."""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from bayesprune.structure.labels.follow import OUTPUTS
from bayesprune.structure.labels.record import Own
from bayesprune.structure.labels.trace import Trace
from bayesprune.structure.labels.universe import Cause


@dataclass(frozen=True, eq=False)
class Found:
    """Classes of channels that some layers make.

    Attributes:
        name: of the group.
        classes: canonical labels, in the order of the channels.
        makers: names of the layers that make them.
        producers: layers that make or pass them on, in network order.
        consumers: layers that read them, in network order.
        whole: why they stay, or None.
    """

    name: str
    classes: Tensor
    makers: tuple[str, ...]
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    whole: str | None


@dataclass(frozen=True, eq=False)
class ElementAxis:
    """An axis of a parameter that is used element by element, along which channels lie."""

    own: Own
    axis: int
    labels: Tensor


class Classes:
    """The classes of a network's channels.

    Args:
        trace: of the network.
        order: the place of every layer in the network.

    Attributes:
        found: groups, and sets that have to stay.
        elements: axes of parameters that are used element by element.
    """

    def __init__(self, trace: Trace, order: Mapping[str, int]) -> None:
        self.trace, self._order = trace, order
        self._made = {name: self.canonical(labels) for name, labels in trace.record.made.items()}
        self.elements = self._element_axes()
        self._pins, self._mixes = trace.universe.pins(), trace.universe.mixes()
        self.found = self._groups()

    def canonical(self, labels: Tensor) -> Tensor:
        """The labels that stand for the classes."""
        return self.trace.universe.canonical(labels)

    def reason(self, labels: Tensor) -> Cause | None:
        """The first cause that keeps any of these channels, or None."""
        first = min((int(self._pins[label]) for label in labels.tolist()), default=None)
        return None if first is None or self.trace.universe.is_free(first) else self.trace.universe.causes[first]

    def reasons(self, labels: Tensor) -> set[str]:
        """What all causes that keep these channels say."""
        numbers = {int(number) for number in self._pins[labels.numpy()]}
        return {
            self.trace.universe.causes[number].said for number in numbers if not self.trace.universe.is_free(number)
        }

    def refusing(self, found: Found) -> list[Cause]:
        """What is not understood and reads channels that the layers of a group make."""
        names = [name for name in self._made if self.trace.record.maker[name] in found.makers]
        numbers = {int(n) for name in names for n in self._pins[self._made[name].numpy()]}
        causes = self.trace.universe.causes
        return [causes[n] for n in sorted(numbers) if not self.trace.universe.is_free(n) and causes[n].refused]

    def mixing(self, labels: Tensor) -> Cause | None:
        """The first cause that made these channels one class, or None."""
        first = min((int(self._mixes[label]) for label in labels.tolist()), default=None)
        return None if first is None or self.trace.universe.is_free(first) else self.trace.universe.causes[first]

    def writers(self, found: Found) -> set[str]:
        """All layers that write the channels of a group, those among them that hold a parameter used by element."""
        layers = {*found.producers, *found.makers}
        owners = {one.own.layer for one in self.elements if bool(torch.isin(one.labels, found.classes).any())}
        return layers | owners

    def _element_axes(self) -> list[ElementAxis]:
        """The axis of each parameter used element by element along which its classes lie; others are pinned."""
        universe, found = self.trace.universe, []
        made = torch.cat([torch.zeros(0, dtype=torch.int32), *self._made.values()]).unique()
        for own, labels in self.trace.record.elements.values():
            canonical = self.canonical(labels)
            free = torch.isin(canonical, made)
            if not bool(free.any()):
                continue
            masked = canonical.where(free, torch.zeros_like(canonical))
            axes = [axis for axis in range(masked.dim()) if masked.shape[axis] > 1 and _is_along(masked, axis)]
            if axes:
                axis = axes[0]
                found.append(ElementAxis(own, axis, masked.movedim(axis, 0).reshape(masked.shape[axis], -1)[:, 0]))
            else:
                universe.pin(
                    masked, Cause(f"are combined with the elements of {own.name!r}, not along one of its axes")
                )
        return found

    def _groups(self) -> list[Found]:
        """Sets of classes that are connected by layers that make them, in network order."""
        names = list(self._made)
        if not names:
            return []
        classes, places = np.unique(torch.cat([self._made[name] for name in names]).numpy(), return_inverse=True)
        rows = np.repeat(np.arange(len(names)), [len(self._made[name]) for name in names])
        size = len(names) + len(classes)
        free = self.trace.universe.is_free
        joins = np.array([free(int(pin)) for pin in self._pins[classes]])[places]
        graph = coo_array(
            (np.ones(int(joins.sum()), dtype=np.int8), (rows[joins], places[joins] + len(names))), (size, size)
        )
        _, parts = connected_components(graph, directed=False)
        grouped: dict[int, list[str]] = {}
        for name, part in zip(names, parts[: len(names)], strict=True):
            grouped.setdefault(int(part), []).append(name)
        part_of = np.full(self.trace.universe.count, -1)
        part_of[classes] = parts[len(names) :]
        part_of[[not free(int(pin)) for pin in self._pins]] = -1
        layers = self._layers(part_of)
        found = [self._group(sorted(members, key=self._place), layers.get(part)) for part, members in grouped.items()]
        return sorted(found, key=self._first)

    def _group(self, members: list[str], layers: tuple[set[str], set[str]] | None) -> Found:
        """One group, of the sets of channels that these layers make."""
        none = self.trace.universe.none
        free = {
            name: self._made[name][torch.from_numpy(self._pins[self._made[name].numpy()] == none)] for name in members
        }
        all_free = torch.cat([free[name] for name in members])
        covering = next((name for name in members if len(free[name].unique()) == len(all_free.unique())), None)
        ordered = free[covering] if covering else all_free
        classes = torch.tensor(list(dict.fromkeys(ordered.tolist())), dtype=torch.int32)
        makers = tuple(dict.fromkeys(self.trace.record.maker[name] for name in members))
        producers, consumers = (self._sorted(names) for names in layers or (set(), set()))
        widest = max(len(self._made[name]) for name in members)
        whole = self._whole(members, classes, widest, consumers)
        return Found(members[0], classes, makers, producers or makers, consumers, whole)

    def _whole(self, members: list[str], classes: Tensor, widest: int, consumers: tuple[str, ...]) -> str | None:
        """Why the channels that these layers make stay, or None."""
        if len(classes) <= 1 and widest > 1:
            every = torch.cat([self._made[name] for name in members]).unique()
            if self._is_output(every):
                return OUTPUTS
            cause = self.reason(every) or self.mixing(every)
            return "its channels can only go all together" if cause is None else str(cause)
        if not len(classes):
            every = torch.cat([self._made[name] for name in members]).unique()
            return OUTPUTS if self._is_output(every) else str(self.reason(every))
        return None if consumers else "no layer was found that reads its channels"

    def _is_output(self, labels: Tensor) -> bool:
        return OUTPUTS in self.reasons(labels)

    def _layers(self, part_of: np.ndarray[Any, Any]) -> dict[int, tuple[set[str], set[str]]]:
        """For each set of classes the layers that write it, and those that read it."""
        record = self.trace.record
        written = [(record.maker[name], labels) for name, labels in self._made.items()]
        written += list(record.passed.items())
        read = [(layer, one.labels) for (layer, _, _), one in record.reads.items()]
        found: dict[int, tuple[set[str], set[str]]] = {}
        for place, layers in enumerate((written, read)):
            for name, labels in layers:
                for part in np.unique(part_of[self.canonical(labels).numpy()]).tolist():
                    found.setdefault(part, (set(), set()))[place].add(name)
        return found

    def _sorted(self, names: Set[str]) -> tuple[str, ...]:
        return tuple(sorted(names, key=self._place))

    def _place(self, name: str) -> int:
        layer = self.trace.record.maker.get(name, name)
        return self._order.get(layer, len(self._order))

    def _first(self, found: Found) -> Any:
        members = {*found.producers, *found.consumers}
        return min(map(self._place, members)), self._place(found.name)


def _is_along(labels: Tensor, axis: int) -> bool:
    """Whether labels are a function of the index along one axis."""
    rows = labels.movedim(axis, 0).reshape(labels.shape[axis], -1)
    return bool((rows == rows[:, :1]).all())

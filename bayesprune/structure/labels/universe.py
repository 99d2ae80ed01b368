"""Labels of channels, and which of them can only go together."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

NEUTRAL, FIXED = 0, 1
"""Labels of values that fit whatever they meet, and of values that are there and cannot be removed."""

_FIRST = 2
_NONE = np.iinfo(np.int32).max


@dataclass(frozen=True)
class Cause:
    """Why channels stay whole.

    Attributes:
        said: what happens to them.
        module: the module in whose code it happens, "" for the network's own.
        where: "file.py:12", or "" where no code of the user's has a part in it.
        refused: whether it is an operator that is not understood, so that the user has to say what to do.
    """

    said: str
    module: str = ""
    where: str = ""
    refused: bool = False

    def __str__(self) -> str:
        said = f"its channels {self.said}" if self.said.startswith(("are ", "meet ")) else self.said
        places = [f"in {self.module!r}" if self.module else "", f"at {self.where}" if self.where else ""]
        place = " ".join(filter(None, places))
        return f"{said} ({place})" if place else said


class Universe:
    """All labels, the classes that they form, and what keeps some of them from being removed.

    Tensors of labels are int32 of any shape; an axis along which they are constant may have size 1.

    Attributes:
        causes: in the order in which they were met.
    """

    def __init__(self) -> None:
        self.causes: list[Cause] = []
        self._canon = np.arange(_FIRST, dtype=np.int32)
        self._pinned = np.full(_FIRST, _NONE, dtype=np.int32)
        self._mixed = np.full(_FIRST, _NONE, dtype=np.int32)

    def fresh(self, count: int) -> Tensor:
        """So many new labels, each a class of its own."""
        start, end = len(self._canon), len(self._canon) + count
        new = np.arange(start, end, dtype=np.int32)
        self._canon = np.concatenate([self._canon, new])
        self._pinned, self._mixed = (
            np.concatenate([old, np.full(count, _NONE, dtype=np.int32)]) for old in (self._pinned, self._mixed)
        )
        return torch.from_numpy(new.copy())

    def canonical(self, labels: Tensor) -> Tensor:
        """The label that stands for the class of each."""
        return torch.from_numpy(np.asarray(self._canon[labels.numpy()]))  # of one label NumPy gives a number

    def unite(self, one: Tensor, other: Tensor, cause: Cause) -> None:
        """Let two tensors of labels that broadcast to each other go together, element by element.

        What meets a fixed value is pinned.
        """
        one, other = torch.broadcast_tensors(self.canonical(one), self.canonical(other))
        differ = one != other
        if not bool(differ.any()):
            return
        first, second = one[differ].numpy(), other[differ].numpy()
        low, high = np.minimum(first, second), np.maximum(first, second)
        if bool((low == FIXED).any()):
            self.pin(torch.from_numpy(high[low == FIXED]), cause)
        both = low >= _FIRST
        if bool(both.any()):
            self._join(low[both], high[both])

    def fold(self, labels: Tensor, axes: tuple[int, ...], cause: Cause | None) -> Tensor:
        """Unite the labels along some axes.

        Args:
            labels: of any shape.
            axes: to unite along.
            cause: what does it, noted for the classes that it unites; None where that is no reason for anything.

        Returns:
            The labels that stand for them, with size 1 along these axes.
        """
        labels = thin(self.canonical(labels))
        if all(labels.shape[axis] == 1 for axis in axes):
            return labels
        most = labels.amax(axes, keepdim=True)
        least = labels.where(labels >= _FIRST, most).amin(axes, keepdim=True)
        mixed = most[(most != least)]
        self.unite(labels.where(labels != NEUTRAL, most), most, cause or Cause("meet what stays whole"))
        if cause is not None and len(mixed):
            self.note(mixed, cause)
        return thin(self.canonical(most))

    def pin(self, labels: Tensor, cause: Cause) -> None:
        """Keep the classes of labels from being removed."""
        self._mark(self._pinned, labels, cause)

    def note(self, labels: Tensor, cause: Cause) -> None:
        """Remember what united the channels of a class."""
        self._mark(self._mixed, labels, cause)

    def pins(self) -> np.ndarray[Any, Any]:
        """By label the number of the first cause that keeps its class whole; the largest int32 where none does."""
        return self._first_of_class(self._pinned)

    def mixes(self) -> np.ndarray[Any, Any]:
        """By label the number of the first cause that united channels in its class, likewise."""
        return self._first_of_class(self._mixed)

    @property
    def count(self) -> int:
        """The number of labels."""
        return len(self._canon)

    @property
    def none(self) -> int:
        """What stands for no cause in `pins` and `mixes`."""
        return int(_NONE)

    def is_used(self, label: int) -> bool:
        """Whether a label that stood alone is pinned, or goes together with others."""
        return int(self._pinned[label]) != _NONE or int((self._canon == self._canon[label]).sum()) > 1

    def used(self, labels: Tensor) -> Tensor:
        """Which labels, each of which stood alone, are pinned or go together with others."""
        sizes = np.bincount(self._canon, minlength=len(self._canon))
        pinned = self.pins() != _NONE
        return torch.from_numpy(np.asarray(pinned[labels.numpy()] | (sizes[self._canon[labels.numpy()]] > 1)))

    def is_free(self, cause: int) -> bool:
        """Whether a number out of `pins` or `mixes` stands for no cause."""
        return cause == _NONE

    def _first_of_class(self, marks: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        least = np.full(len(marks), _NONE, dtype=np.int32)
        np.minimum.at(least, self._canon, marks)
        found: np.ndarray[Any, Any] = least[self._canon]
        return found

    def _mark(self, marks: np.ndarray[Any, Any], labels: Tensor, cause: Cause) -> None:
        found = np.unique(labels.numpy())
        found = found[found >= _FIRST]
        if len(found):
            if not self.causes or self.causes[-1] != cause:
                self.causes.append(cause)
            marks[found] = np.minimum(marks[found], len(self.causes) - 1)

    def _join(self, one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> None:
        """Join the classes of pairs of canonical labels; the lowest label stands for the whole."""
        keys = np.unique(one.astype(np.int64) << 32 | other)
        pairs = np.stack([keys >> 32, keys & 0xFFFFFFFF])
        nodes, places = np.unique(pairs, return_inverse=True)
        places = places.reshape(2, -1)
        graph = coo_array((np.ones(places.shape[1], dtype=np.int8), (places[0], places[1])), (len(nodes), len(nodes)))
        _, parts = connected_components(graph, directed=False)
        lowest = np.full(parts.max() + 1, _NONE, dtype=np.int64)
        np.minimum.at(lowest, parts, nodes)
        table = np.arange(len(self._canon), dtype=np.int32)
        table[nodes] = lowest[parts]
        self._canon = table[self._canon]


def thin(labels: Tensor) -> Tensor:
    """The labels with size 1 along every axis along which they are constant."""
    for axis, size in enumerate(labels.shape):
        if size > 1:
            first = labels.narrow(axis, 0, 1)
            if labels.stride(axis) == 0 or _is_constant(labels, first, axis):
                labels = first
    return labels


def _is_constant(labels: Tensor, first: Tensor, axis: int) -> bool:
    """Whether labels are the first ones all along an axis; the last ones are looked at before the others."""
    return torch.equal(labels.narrow(axis, labels.shape[axis] - 1, 1), first) and bool((labels == first).all())


def varying(labels: Tensor) -> tuple[int, ...]:
    """The axes along which thin labels vary."""
    return tuple(axis for axis, size in enumerate(labels.shape) if size > 1)


def is_tracked(labels: Tensor) -> bool:
    """Whether there is a channel among them."""
    return bool((labels >= _FIRST).any())

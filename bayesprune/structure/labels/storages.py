"""Which labels the elements of every tensor have, kept by storage so that views need no rule."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from bayesprune.structure.labels.universe import FIXED, NEUTRAL, Universe, thin

_SWEEP = 64
"""Tensors after which those that are gone are forgotten."""

Form = tuple[tuple[int, ...], tuple[int, ...], int]
"""Shape, strides and offset of a tensor in its storage."""


@dataclass
class _Entry:
    """The labels of one storage: thin ones of a tensor that covers it, or one for every element."""

    alive: StorageWeakRef
    size: int
    form: Form
    labels: Tensor
    flat: Tensor | None = None

    def spread(self) -> Tensor:
        """One label for every element of the storage."""
        if self.flat is None:
            shape, strides, offset = self.form
            self.flat = torch.zeros(self.size, dtype=torch.int32)
            self.flat.as_strided(shape, strides, offset).copy_(self.labels.expand(shape))
        return self.flat


class Storages:
    """The labels of all tensors that are there.

    Args:
        universe: of the labels.
    """

    def __init__(self, universe: Universe) -> None:
        self._universe = universe
        self._entries: dict[int, _Entry] = {}
        self._set = 0

    def known(self, tensor: Tensor) -> bool:
        """Whether the labels of a tensor were ever given."""
        return self._entry(tensor) is not None

    def of(self, tensor: Tensor) -> Tensor:
        """The thin canonical labels of a tensor; values that nobody gave labels cannot be removed."""
        entry = self._entry(tensor)
        if entry is None or tensor.numel() == 0:
            return constant(tensor, FIXED if tensor.numel() > 1 else NEUTRAL)
        if entry.flat is None and entry.form == form(tensor):
            labels = entry.labels
        elif entry.flat is None and entry.labels.numel() == 1:
            return constant(tensor, int(self._universe.canonical(entry.labels)))
        elif entry.size != _elements(tensor):  # seen as another type of number
            return constant(tensor, FIXED)
        else:
            labels = entry.spread().as_strided(*form(tensor))
        return thin(self._universe.canonical(thin(labels)))

    def give(self, tensor: Tensor, labels: Tensor) -> None:
        """Give the elements of a tensor thin labels."""
        if labels.dim() > tensor.dim():
            labels = labels.amax().reshape([1] * tensor.dim())
        labels = labels.reshape([1] * (tensor.dim() - labels.dim()) + list(labels.shape))
        entry, size = self._entry(tensor), _elements(tensor)
        if entry is None or entry.size != size or (tensor.numel() == size or entry.form == form(tensor)):
            key = tensor.untyped_storage()._cdata
            self._entries[key] = _Entry(StorageWeakRef(tensor.untyped_storage()), size, form(tensor), labels)
        else:
            entry.spread().as_strided(*form(tensor)).copy_(labels.expand(tensor.shape))
        self._set += 1
        if self._set % _SWEEP == 0:
            self._entries = {key: one for key, one in self._entries.items() if not one.alive.expired()}

    def _entry(self, tensor: Tensor) -> _Entry | None:
        entry = self._entries.get(tensor.untyped_storage()._cdata)
        return None if entry is None or entry.alive.expired() else entry


def constant(tensor: Tensor, label: int) -> Tensor:
    """One label for all elements of a tensor."""
    return torch.full([1] * tensor.dim(), label, dtype=torch.int32)


def form(tensor: Tensor) -> Form:
    """Shape, strides and offset of a tensor in its storage."""
    return tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset())


def _elements(tensor: Tensor) -> int:
    """How many elements of its type a tensor's storage holds."""
    return tensor.untyped_storage().nbytes() // tensor.element_size()

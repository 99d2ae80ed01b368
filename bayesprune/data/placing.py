"""Data brought to where a run computes: whole where they fit, else batch by batch."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from torch import Tensor

from bayesprune.batches import each, parts
from bayesprune.data.splits import Split, TensorSplit
from bayesprune.data.value import Data
from bayesprune.devices import CPU, Place, free_memory

SHARE_OF_MEMORY = 0.5
"""Data that take more of a device's free memory stay where they are, and come batch by batch."""


def placed(data: Data, place: Place) -> Data:
    """The data as a run at a place takes them; the same value where they are there already.

    Splits in memory are copied to the device once where all of them fit, and batches are gathered there. Others, and
    those of loaders, are moved batch by batch, from pinned memory where the device can copy beside its work.
    """
    if place.is_usual:
        return data
    splits = [data.train, data.validation, data.test]
    fit = sum(map(_bytes, splits)) <= SHARE_OF_MEMORY * free_memory(place.device)
    train, validation, test = (_placed(split, place, fit=fit) for split in splits)
    return replace(data, train=train, validation=validation, test=test)


def _placed(split: Split, place: Place, *, fit: bool) -> Split:
    if isinstance(split, TensorSplit) and fit:
        return split.mapped(place.bring)
    return FarTensors(split, place) if isinstance(split, TensorSplit) else FarSplit(split, place)


def as_given(split: Split) -> Split:
    """The split that one at a place was made of, where its batches are moved one by one."""
    return split.given if isinstance(split, FarSplit) else split


def _bytes(split: Split) -> int:
    """Of a split in memory."""
    if not isinstance(split, TensorSplit):
        return 0
    tensors = (*parts(split.inputs), split.labels, *(() if split.weights is None else (split.weights,)))
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


class FarTensors(TensorSplit):
    """Examples in memory that go to a device batch by batch.

    Args:
        split: in memory.
        place: where its batches go.
    """

    def __init__(self, split: TensorSplit, place: Place) -> None:
        self.inputs, self.labels, self.weights, self._place = split.inputs, split.labels, split.weights, place

    def _chosen(self, choose: Callable[[Tensor], Tensor]) -> tuple[Any, Any]:
        return _brought(super()._chosen(choose), self._place)


class FarSplit:
    """Any other split, whose batches go to a device.

    Args:
        split: a loader's, or one of the user's own.
        place: where its batches go.
    """

    def __init__(self, split: Split, place: Place) -> None:
        self.given, self._place = split, place

    def __len__(self) -> int:
        return len(self.given)

    def __getattr__(self, name: str) -> Any:
        if name == "given":  # of a copy that is being made
            raise AttributeError(name)
        return getattr(self.given, name)

    def batches(self, batch_size: int, *, seed: int | None = None, start: int = 0) -> Iterator[tuple[Any, Any]]:
        """See `Split.batches`."""
        for batch in self.given.batches(batch_size, seed=seed, start=start):
            yield _brought(batch, self._place)


def _brought(batch: tuple[Any, Any], place: Place) -> tuple[Any, Any]:
    """Inputs and targets at a place."""

    def bring(tensor: Tensor) -> Tensor:
        from_here = place.device.type == "cuda" and tensor.device.type == CPU
        return place.bring(tensor.pin_memory() if from_here else tensor)

    inputs, targets = batch
    return each(bring, inputs), each(bring, targets)

"""Splits: the protocol by which training and evaluation get their batches, and the split in memory."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from bayesprune.batches import Batch, each, parts
from bayesprune.errors import DataError, SettingError


@runtime_checkable
class Split(Protocol):
    """A set of labelled examples that is walked through in batches, one epoch a call."""

    def __len__(self) -> int:
        """Number of examples."""
        ...

    def batches(self, batch_size: int, *, seed: int | None = None, start: int = 0) -> Iterator[tuple[Any, Any]]:
        """One epoch of (inputs, targets).

        Inputs are a tensor [B, ...] or a tuple or dict of such; targets are a tensor [B, ...] as the data's task has
        them, or a pair (targets, weights).

        Args:
            batch_size: examples a batch; the last batch holds what is left.
            seed: None for the order in which the examples lie; an integer shuffles by that seed alone.
            start: how many batches to skip, to go on in mid-epoch.
        """
        ...


class TensorSplit:
    """Examples in memory; shuffling draws from a generator of its own and never from torch's global one."""

    def __init__(self, inputs: Batch, labels: Tensor, weights: Tensor | None = None) -> None:
        """Keep the tensors (no copy, except of those made in inference mode, from which nothing can be learned).

        Args:
            inputs: [N, ...], already normalised: floats or int64, or a tuple or dict of such.
            labels: targets [N, ...], int64 or floats.
            weights: [N] or [N, ...] of the examples or of their targets; batches then have (labels, weights) in place
                of the labels.

        Raises:
            DataError: other types, or unequal lengths.
        """
        for tensor in (*parts(inputs), labels):
            if not (tensor.is_floating_point() or tensor.dtype == torch.int64):
                raise DataError(
                    f"a split needs inputs and targets of a floating type or int64, got {tensor.dtype} "
                    f"{list(tensor.shape)}; use bayesprune.data.from_tensors, which converts"
                )
        for part in parts(inputs):
            if len(part) != len(labels):
                raise DataError(
                    f"a split needs one label an input, got {len(part):,} inputs and {len(labels):,} labels"
                )
        with torch.inference_mode(False):
            self.inputs, self.labels = each(_learnable, inputs), _learnable(labels)
            self.weights = None if weights is None else _learnable(weights)

    def mapped(self, function: Callable[[Tensor], Tensor]) -> "TensorSplit":
        """A split with a function of every tensor, which leaves the examples as many as they are."""
        weights = None if self.weights is None else function(self.weights)
        return TensorSplit(each(function, self.inputs), function(self.labels), weights)

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    def batches(self, batch_size: int, *, seed: int | None = None, start: int = 0) -> Iterator[tuple[Any, Any]]:
        """One epoch; see `Split.batches`. Batches in order are views of the split: do not write into them."""
        check_batching(batch_size, start)
        return self._in_order(batch_size, start) if seed is None else self._shuffled(batch_size, seed, start)

    def _in_order(self, batch_size: int, start: int) -> Iterator[tuple[Any, Any]]:
        for first in range(start * batch_size, len(self), batch_size):
            yield self._chosen(partial(_piece, first=first, size=batch_size))

    def _shuffled(self, batch_size: int, seed: int, start: int) -> Iterator[tuple[Any, Any]]:
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed)).to(self.labels.device)
        for first in range(start * batch_size, len(self), batch_size):
            chosen = order[first : first + batch_size]
            yield self._chosen(partial(torch.index_select, dim=0, index=chosen))

    def _chosen(self, choose: Callable[[Tensor], Tensor]) -> tuple[Any, Any]:
        """Inputs and targets of some examples."""
        labels = choose(self.labels)
        return each(choose, self.inputs), labels if self.weights is None else (labels, choose(self.weights))


def _piece(tensor: Tensor, first: int, size: int) -> Tensor:
    return tensor[first : first + size]


def _learnable(tensor: Tensor) -> Tensor:
    return tensor.clone() if tensor.is_inference() else tensor


def check_batching(batch_size: int, start: int) -> None:
    """Refuse a batch size below 1 and a negative start.

    Raises:
        SettingError: names the value.
    """
    if batch_size < 1:
        raise SettingError(f"batch_size is {batch_size}; it must be at least 1")
    if start < 0:
        raise SettingError(f"start is {start}; it counts batches to skip and must not be negative")


def last_batch(split: Split, batch_size: int) -> int | None:
    """Examples in an epoch's last batch; None where only the split itself knows (a batch sampler of the user's)."""
    if isinstance(split, TensorSplit):
        return (len(split) - 1) % batch_size + 1
    own: int | None = getattr(split, "last_batch", None)
    return own


def steps_per_epoch(split: Split, batch_size: int) -> int:
    """Number of batches in one epoch: a loader's own count, for other splits N / batch_size rounded up."""
    check_batching(batch_size, 0)
    own = getattr(split, "steps", None)
    return int(own) if own is not None else -(-len(split) // batch_size)

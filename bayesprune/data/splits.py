"""Splits: the protocol by which training and evaluation get their batches, and the split in memory."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from bayesprune.errors import DataError, SettingError


@runtime_checkable
class Split(Protocol):
    """A set of labelled examples that is walked through in batches, one epoch a call."""

    def __len__(self) -> int:
        """Number of examples."""
        ...

    def batches(self, batch_size: int, *, seed: int | None = None, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch of (inputs float32 [B, ...], labels int64 [B]).

        Args:
            batch_size: examples a batch; the last batch holds what is left.
            seed: None for the order in which the examples lie; an integer shuffles by that seed alone.
            start: how many batches to skip, to go on in mid-epoch.
        """
        ...


class TensorSplit:
    """Examples in memory; shuffling draws from a generator of its own and never from torch's global one."""

    def __init__(self, inputs: Tensor, labels: Tensor) -> None:
        """Keep the tensors (no copy, except of those made in inference mode, from which nothing can be learned).

        Args:
            inputs: [N, ...] float32, already normalised.
            labels: [N] int64.

        Raises:
            DataError: other types, or unequal lengths.
        """
        if inputs.dtype != torch.float32 or labels.dtype != torch.int64 or labels.ndim != 1:
            raise DataError(
                f"a split needs float32 inputs and int64 labels [N], got {inputs.dtype} and "
                f"{labels.dtype} {list(labels.shape)}; use bayesprune.data.from_tensors, which converts"
            )
        if len(inputs) != len(labels):
            raise DataError(f"a split needs one label an input, got {len(inputs):,} inputs and {len(labels):,} labels")
        with torch.inference_mode(False):
            self.inputs, self.labels = (x.clone() if x.is_inference() else x for x in (inputs, labels))

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    def batches(self, batch_size: int, *, seed: int | None = None, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch; see `Split.batches`. Batches in order are views of the split: do not write into them."""
        check_batching(batch_size, start)
        return self._in_order(batch_size, start) if seed is None else self._shuffled(batch_size, seed, start)

    def _in_order(self, batch_size: int, start: int) -> Iterator[tuple[Tensor, Tensor]]:
        for first in range(start * batch_size, len(self), batch_size):
            yield self.inputs[first : first + batch_size], self.labels[first : first + batch_size]

    def _shuffled(self, batch_size: int, seed: int, start: int) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        for first in range(start * batch_size, len(self), batch_size):
            chosen = order[first : first + batch_size]
            yield self.inputs.index_select(0, chosen), self.labels.index_select(0, chosen)


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

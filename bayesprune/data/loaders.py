"""A user's own DataLoader as a split: one order a seed, and nobody else's random numbers disturbed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from bayesprune.batches import Batch, count, named_parts
from bayesprune.data.inputs import AnyNormalisation, form_of, formed
from bayesprune.data.normalisation import IDENTITY, Normalisation
from bayesprune.data.splits import check_batching
from bayesprune.errors import DataError
from bayesprune.tasks import Task

_ORDER_OF_EVALUATION = 0
_EXACT = (torch.float32, torch.float16, torch.bfloat16, torch.uint8)
"""Types whose values float32 holds exactly."""
_LOSS, _ROUNDING = 0.01, 4e-15
"""Share of a feature's variation that may be lost, and what variation counts as rounding, relative to the values."""


class LoaderSplit:
    """Wraps a DataLoader. Its batches are its own: the batch size asked for is not used.

    A seed makes the order reproducible: it seeds the loader's and the sampler's generators where they have
    one, and torch's global generator, whose state is put back after every batch, for samplers, transforms and
    workers that draw from there. Transforms that draw from Python's `random` or from numpy are not covered.
    Without a seed a shuffling loader gives one fixed order. Inputs come as the loader makes them: normalise
    in its transform.
    """

    def __init__(
        self,
        loader: "DataLoader[Any]",
        *,
        task: Task | None = None,
        name: str = "the loader",
        normalisation: AnyNormalisation = IDENTITY,
    ) -> None:
        """Wrap a loader.

        Args:
            loader: gives pairs (inputs, targets [B, ...]); inputs are a tensor [B, ...] or a tuple, list or dict of
                such.
            task: what is to be learnt, which checks the targets; None hands them on as they are.
            name: what messages call it.
            normalisation: applied in float64 to what the loader gives.

        Raises:
            DataError: the loader does not know its length or has no examples.
        """
        self.loader, self.task, self.name, self.normalisation = loader, task, name, normalisation
        if loader.batch_sampler is None:
            raise DataError(f"{name} makes no batches (batch_size=None); give it a batch_size")
        try:
            self.steps, self._examples = len(loader), _count_examples(loader)
        except TypeError:
            raise DataError(f"{name} does not know its length; its data set needs __len__") from None
        size = loader.batch_size
        self.last_batch = None if size is None else size if loader.drop_last else (self._examples - 1) % size + 1
        if self._examples == 0 or self.steps == 0:
            raise DataError(f"{name} has no examples, or fewer than one batch and drop_last=True")

    def __len__(self) -> int:
        return self._examples

    def batches(self, batch_size: int, *, seed: int | None = None, start: int = 0) -> Iterator[tuple[Any, Tensor]]:
        """One epoch, see `Split.batches`; `batch_size` is not used, skipped batches are still loaded."""
        check_batching(batch_size, start)
        return self._walk(_ORDER_OF_EVALUATION if seed is None else seed, start)

    def _walk(self, seed: int, start: int) -> Iterator[tuple[Any, Tensor]]:
        self._seed_own_generators(seed)
        stream = _Stream(seed)
        with stream.swapped_in():
            iterator = iter(self.loader)
        index = 0
        while True:
            with stream.swapped_in():
                batch = next(iterator, None)
            if batch is None:
                return
            if index >= start:
                yield self._checked(batch, index)
            index += 1

    def _seed_own_generators(self, seed: int) -> None:
        """Seed the generators of loader and samplers; a distributed sampler takes the seed as epoch."""
        batch_sampler = self.loader.batch_sampler
        owners = [self.loader, self.loader.sampler, batch_sampler, getattr(batch_sampler, "sampler", None)]
        for owner in owners:
            if isinstance(generator := getattr(owner, "generator", None), torch.Generator):
                generator.manual_seed(seed)
            if callable(set_epoch := getattr(owner, "set_epoch", None)):
                set_epoch(seed)

    def _checked(self, batch: Any, index: int) -> tuple[Batch, Tensor]:
        """The batch as the network and the task take it, or an error that says what is wrong with it."""
        where = f"batch {index} of {self.name}"
        inputs, labels = pair_of(batch, where)
        ready = formed(
            form_of(inputs),
            {name: self._narrowed(part, name, where) for name, part in named_parts(inputs).items()},
        )
        if labels.dim() < 1 or labels.is_complex() or len(labels) != count(ready):
            raise DataError(
                f"{where} has labels {labels.dtype} {list(labels.shape)}; {count(ready)} targets are needed, one an "
                "input"
            )
        if self.task is None:
            return ready, labels
        return ready, self.task.targets(as_numbers(labels), where)

    def _narrowed(self, inputs: Tensor, name: str, where: str) -> Tensor:
        """Normalised inputs as float32; refused where that would wipe out how a feature varies. Tokens stay whole."""
        if inputs.is_complex():
            raise DataError(f"{where} holds complex numbers; real ones are needed")
        chosen = (
            self.normalisation
            if isinstance(self.normalisation, Normalisation)
            else self.normalisation.by_name.get(name)
        )
        if chosen is None:
            raise DataError(f"{where} has an input {name!r} that the normalisation does not know")
        if chosen == IDENTITY and (inputs.dtype in _EXACT or _is_whole(inputs)):
            ready = inputs.to(torch.int64 if _is_whole(inputs) else torch.float32)
        else:
            ready = _without_loss(chosen.in_float64(inputs), inputs.dtype, where)
        if not bool(torch.isfinite(ready).all()):
            raise DataError(f"{where} holds {int((~torch.isfinite(ready)).sum()):,} values that are not finite")
        return ready


def _is_whole(inputs: Tensor) -> bool:
    """Whether inputs are tokens or indices."""
    return not inputs.is_floating_point() and inputs.dtype not in (torch.uint8, torch.bool)


def _without_loss(wide: Tensor, dtype: torch.dtype, where: str) -> Tensor:
    """float64 as float32; refused where that would wipe out how a feature varies."""
    result = wide.to(torch.float32)
    varies = wide.amax(0) - wide.amin(0)
    error = (result.double() - wide).abs().amax(0)
    if bool(((error > _LOSS * varies) & (varies > _ROUNDING * wide.abs().amax(0))).any()):
        raise DataError(
            f"{where} holds {dtype} values, which the network takes as float32, and some features lie so "
            "far from 0 that this wipes out how they vary: subtract the mean in the loader's transform, or give "
            "from_loaders(..., normalisation=bayesprune.data.Normalisation(mean, std))"
        )
    return result


def pair_of(batch: Any, where: str) -> tuple[Any, Tensor]:
    """Inputs and targets of what a loader gives.

    Raises:
        DataError: it is something else; says what came and what is needed.
    """
    needed = "a pair (inputs, targets) is needed, inputs a tensor, or a tuple or dict of tensors"
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        came = f"{type(batch).__name__} of {len(batch)}" if hasattr(batch, "__len__") else type(batch).__name__
        several = " (several inputs: ((x1, x2), y))" if isinstance(batch, tuple | list) and len(batch) > 2 else ""
        raise DataError(f"{where} is a {came}; {needed}{several}")
    inputs, targets = batch
    inputs = tuple(inputs) if isinstance(inputs, list) else inputs
    tensors = [inputs] if isinstance(inputs, Tensor) else inputs.values() if isinstance(inputs, dict) else inputs
    whole = isinstance(inputs, Tensor | tuple | dict) and all(isinstance(part, Tensor) for part in tensors)
    if not (whole and isinstance(targets, Tensor)):
        raise DataError(f"{where} has {type(inputs).__name__} and {type(targets).__name__}; {needed}, targets a tensor")
    return inputs, targets


def as_numbers(labels: Any) -> Any:
    """A tensor or array as a numpy array."""
    if not isinstance(labels, Tensor):
        return np.asarray(labels)
    plain = labels.detach().cpu()
    return (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy()


def _count_examples(loader: "DataLoader[Any]") -> int:
    """Examples of one epoch; with a batch sampler of the user's own, those of the data set."""
    if loader.batch_size is not None and loader.drop_last:
        return len(loader) * loader.batch_size
    sampler: Any = loader.sampler
    chosen: Any = sampler if loader.batch_size is not None and hasattr(sampler, "__len__") else loader.dataset
    return len(chosen)


class _Stream:
    """A stream of random numbers that takes the place of torch's global one while it is swapped in."""

    def __init__(self, seed: int) -> None:
        self._state = torch.Generator().manual_seed(seed).get_state()

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Put this stream into the global generator, and the global one's state back afterwards."""
        outside = torch.get_rng_state()
        torch.set_rng_state(self._state)
        try:
            yield
        finally:
            self._state = torch.get_rng_state()
            torch.set_rng_state(outside)

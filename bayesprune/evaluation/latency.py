"""How long one sample takes through a network on this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from time import perf_counter

import torch
from torch import nn

from bayesprune.batches import Batch, call, each, parts
from bayesprune.devices import fitting
from bayesprune.errors import DataError, SettingError
from bayesprune.structure import evaluating


def latency_ms(network: nn.Module, example: Batch, *, repeats: int = 50, warmup: int = 10) -> float:
    """Median wall time in milliseconds of one sample's forward pass, in evaluation mode on one thread.

    The number of threads and every module's training flag are as before afterwards.

    Args:
        network: any module; the sample is moved to where its first parameter lies.
        example: a batch [N, ...], or a tuple or dict of such; its first sample is used, as a batch of one.
        repeats: measured passes, at least 1.
        warmup: passes before them that are not counted, at least 0.

    Raises:
        SettingError: `repeats` is below 1 or `warmup` below 0.
        DataError: `example` holds no sample.
    """
    if repeats < 1 or warmup < 0:
        raise SettingError(f"repeats is {repeats} and warmup {warmup}: they must be at least 1 and 0")
    for part in parts(example):
        if part.ndim < 1 or part.shape[0] < 1:
            raise DataError(f"the example has shape {list(part.shape)}: it must hold at least one sample")
    sample = each(lambda part: fitting(network, part[:1]), example)
    with evaluating(network), _one_thread(), torch.inference_mode():
        for _ in range(warmup):
            call(network, sample)
        return 1e3 * median(_seconds(network, sample) for _ in range(repeats))


def _seconds(network: nn.Module, sample: Batch) -> float:
    """Wall time of one pass; an accelerator is waited for on both sides."""
    _wait(sample)
    start = perf_counter()
    call(network, sample)
    _wait(sample)
    return perf_counter() - start


def _wait(sample: Batch) -> None:
    for part in parts(sample):
        if part.device.type in ("cuda", "mps"):
            torch.get_device_module(part.device).synchronize()


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)

"""Torch's global settings while a run is made: a run's own inside, the user's again afterwards."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import RLock

import torch

from bayesprune.devices import CPU, Place, random_apart

_ONE_RUN = RLock()

_SMALLEST_NORMAL = torch.finfo(torch.float32).tiny


@contextmanager
def environment() -> Iterator[None]:
    """Give a run the process, and torch's settings as it needs them, whatever the user has set.

    Inside, one thread of the process at a time is at work, because random numbers, default type and default device
    belong to the process; gradients are on, float32 and the CPU are the defaults, autocast is off, and subnormal
    numbers count as zero: they make training with masks several times slower. Number of threads and random numbers
    may be set at will. Everything is put back at the end. May be entered again inside.
    """
    with ExitStack() as stack:
        for context in (
            _ONE_RUN,
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast("cpu", enabled=False),
        ):
            stack.enter_context(context)
        stack.enter_context(torch.random.fork_rng(devices=[]))
        if torch.get_default_device().type != "cpu":  # a default device makes every call to torch slower
            stack.enter_context(torch.device("cpu"))
        stack.callback(torch.set_num_threads, torch.get_num_threads())
        stack.callback(torch.set_default_dtype, torch.get_default_dtype())
        stack.callback(torch.set_flush_denormal, flushes_subnormal())
        torch.set_default_dtype(torch.float32)
        torch.set_flush_denormal(True)
        yield


@contextmanager
def computing_at(place: Place) -> Iterator[None]:
    """Inside `environment`: numbers are made in the precision of a place, and its random numbers are put back."""
    with ExitStack() as stack:
        if place.device.type != CPU:
            stack.enter_context(random_apart(place.device))
            stack.enter_context(torch.autocast(place.device.type, enabled=False))
        stack.callback(torch.set_default_dtype, torch.get_default_dtype())
        torch.set_default_dtype(place.dtype)
        yield


def flushes_subnormal() -> bool:
    """Whether this thread takes subnormal numbers for zero (`torch.set_flush_denormal`)."""
    smallest = torch.full((), _SMALLEST_NORMAL, dtype=torch.float32, device="cpu")
    return not bool((smallest * 0.5) * 2.0)

"""A worker process: it makes one run after another, and nothing but a pipe to its parent is shared."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from time import monotonic
from traceback import format_exception
from types import ModuleType
from typing import Any, NoReturn, TypeAlias

from bayesprune.errors import BayespruneError
from bayesprune.experiments.jobs import Job, UnderWay, execute
from bayesprune.training import Progress
from bayesprune.training.interrupt import Interrupt

REPORT_SECONDS = 0.1

_STOPPED, _STARTED_ANEW = 130, 131
"""Exit statuses of a worker: it was asked to stop and has saved its state; it ran a script that wants workers."""

_PLAIN = (RuntimeError, ValueError, TypeError, LookupError, KeyError, IndexError, AttributeError, MemoryError, OSError)
"""Errors that are made from their message alone."""


@dataclass(frozen=True)
class Task:
    """A run to be made; the fields are arguments of `execute`."""

    job: Job
    root: Path
    resume: bool
    sized_by: Mapping[str, Any] | None
    patient: bool


@dataclass(frozen=True)
class Failure:
    """An error of a run in a form that can be sent: an error with arguments of its own cannot.

    Attributes:
        kind: its class.
        message: what it says.
        details: its attributes.
        trace: where it was raised.
    """

    kind: type[Exception]
    message: str
    details: Mapping[str, Any]
    trace: str = ""

    @classmethod
    def of(cls, error: BaseException) -> "Failure":
        """An error of ours or of Python's as it is, and any other as a RuntimeError that names it."""
        kind, message, trace = type(error), str(error), "".join(format_exception(error))
        if isinstance(error, BayespruneError):
            return cls(type(error), message, vars(error), trace)
        if kind in _PLAIN:
            return cls(kind, message, {}, trace)
        return cls(RuntimeError, f"{kind.__name__}: {message}", {}, trace)

    def raise_again(self) -> NoReturn:
        """Raise the error in this process."""
        error = self.kind.__new__(self.kind)
        Exception.__init__(error, self.message)
        vars(error).update(self.details)
        if not isinstance(error, BayespruneError):
            error.add_note(f"In a worker process:\n{self.trace}")
        raise error


@dataclass(frozen=True)
class Ended:
    """A worker is no more.

    Attributes:
        status: its exit status; below 0 the signal that killed it.
    """

    status: int

    def raise_for(self, label: str) -> NoReturn:
        """Raise what it means that a worker ended while it was making a run."""
        if self.status in (_STOPPED, -signal.SIGTERM):
            raise KeyboardInterrupt
        if self.status == _STARTED_ANEW:
            raise BayespruneError(
                "a network of the script itself (__main__:...) makes every worker process run the script again: put "
                'what makes runs under `if __name__ == "__main__":`, or give workers=1'
            )
        how = "was killed (out of memory?)" if self.status < 0 else f"ended with status {self.status}"
        raise BayespruneError(
            f"a worker process {how} while it made {label}; finished runs are kept, and the same command goes on"
        )


Message: TypeAlias = Progress | Path | Failure | Ended | None
"""Progress, the folder of a finished run, what went wrong, or None: another process makes the run."""


class Worker:
    """The parent's end of a worker process.

    Args:
        with_script: let it run the user's script (not what stands under `if __name__ == "__main__"`), because a
            network is defined there; else a script needs no such line.
    """

    def __init__(self, with_script: bool) -> None:
        leave_if_started_anew()
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,))
        resource_tracker.ensure_running()  # when it starts the first worker it would let Ctrl-C through again
        with _interrupts_held(), nullcontext() if with_script else _without_script():
            self._process.start()
        theirs.close()

    def send(self, task: Task) -> None:
        """Have a run made; `receive` notices where the worker has died."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.pipe.send(task)

    def receive(self) -> Message:
        """The next message."""
        try:
            message: Message = self.pipe.recv()
        except (EOFError, OSError):
            self.close()
            return Ended(self._process.exitcode or 0)
        return message

    def stop(self) -> None:
        """Ask a busy worker to save its state and end."""
        self._process.terminate()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def close(self) -> None:
        """End an idle worker."""
        self.pipe.close()
        self._process.join()


def leave_if_started_anew() -> None:
    """End this process where it is a worker that runs the user's script, which is about to make the runs again."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        os._exit(_STARTED_ANEW)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C waits meanwhile, and never reaches a process that is started meanwhile: it inherits the mask."""
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


@contextmanager
def _without_script() -> Iterator[None]:
    """A process that is started meanwhile does not run the user's script."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


def _serve(pipe: Connection) -> None:
    """In a worker: make the runs that come through the pipe until it is closed.

    A signal that comes between two runs ends it at once, for there is nothing to save. Ctrl-C reaches it too but is
    for the parent to act on.
    """
    import torch

    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the parent has closed its end, or was killed
        while True:
            task = pipe.recv()
            with Interrupt():
                message = _make(pipe, task)
            pipe.send(message)


def _stop_with_parent() -> None:
    """A worker whose parent was killed saves its state and ends."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _make(pipe: Connection, task: Task) -> Message:
    """Make one run."""
    last = monotonic()

    def progress(now: Progress) -> None:
        nonlocal last
        if now.step == now.total or monotonic() - last >= REPORT_SECONDS:
            last = monotonic()
            with suppress(BrokenPipeError, ConnectionResetError):
                pipe.send(now)

    try:
        return execute(**vars(task), progress=progress)
    except UnderWay:
        return None
    except KeyboardInterrupt:
        sys.exit(_STOPPED)
    except (Exception, SystemExit) as error:
        return Failure.of(error)

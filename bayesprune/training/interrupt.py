"""Ctrl-C that waits for the end of a step, so that the state it saves is whole."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Interrupt:
    """While it is entered, SIGINT and SIGTERM are remembered; a second SIGINT takes effect at once.

    A signal that the process ignores stays ignored. Entered inside another one, it takes over what that one
    remembers, so that a signal which came before training stops the training; and it hands on what it did not raise
    itself. Outside of the main thread,
    where signals cannot be caught, it does nothing.
    """

    def __init__(self) -> None:
        self.asked = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._take_over(number)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
            outer = _of(handler)
            if outer is not None:
                outer.asked |= self.asked
        self._previous = {}

    def raise_if_asked(self) -> None:
        """Raise KeyboardInterrupt when a signal has come."""
        if self.asked:
            raise KeyboardInterrupt

    def _take_over(self, number: int) -> None:
        """Catch a signal from here on."""
        self._previous[number] = previous = signal.signal(number, self._remember)
        outer = _of(previous)
        self.asked |= outer is not None and outer.asked

    def _remember(self, number: int, frame: FrameType | None) -> None:
        """A second SIGINT is somebody's impatience; SIGTERM may be sent twice without any."""
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True


def _of(handler: object) -> Interrupt | None:
    """Whose handler of signals it is."""
    owner = getattr(handler, "__self__", None)
    return owner if isinstance(owner, Interrupt) else None

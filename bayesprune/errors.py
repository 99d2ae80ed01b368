"""The errors of bayesprune: one base class, and messages that name the value, the limit and the cure."""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path


class BayespruneError(Exception):
    """Base class of every error this library raises on purpose."""


class SettingError(BayespruneError, ValueError):
    """A setting has a value that cannot be used."""


class UnknownNameError(SettingError):
    """A name is in no table; the message offers the nearest ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = get_close_matches(name.lower(), names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        super().__init__(f"unknown {kind} {name!r}: {hint}there are {', '.join(names)}")
        self.kind, self.name, self.nearest = kind, name, near[0] if near else None


class BudgetError(SettingError):
    """A price, budget or density that no network of this kind can meet."""


class DataError(BayespruneError, ValueError):
    """Data that cannot be learned from: wrong shapes, not finite, labels out of range, damaged files."""


class DataUnavailableError(DataError):
    """A data set is not on this machine and cannot be fetched; the message says where its files go."""


class NetworkError(BayespruneError, ValueError):
    """A network, or a layer of it, that cannot be used as asked."""


class UnsupportedLayerError(NetworkError):
    """Layers whose channels cannot be gated and removed exactly; the message names them all.

    Attributes:
        keep: what to give as `keep` instead, so that the network is accepted.
        left: how many channels can be removed then; 0 also where that is not known.
    """

    def __init__(self, message: str, *, keep: Iterable[str] = (), left: int = 0) -> None:
        super().__init__(message)
        self.keep, self.left = tuple(keep), left


class InputShapeError(NetworkError):
    """The network cannot take inputs of this shape."""


class StoreError(BayespruneError, OSError):
    """A run folder or file that cannot be written, or that is damaged or was tampered with."""


class DivergenceError(BayespruneError, ArithmeticError):
    """The training loss is no longer finite."""

    def __init__(self, step: int, learning_rate: float, last_good: Path | None) -> None:
        kept = f"the last good state is {last_good}" if last_good else "no state had been saved yet"
        super().__init__(
            f"the loss is not finite at step {step} with learning rate {learning_rate:g}; {kept}; "
            "try a smaller learning rate or check the scale of the inputs"
        )
        self.step, self.learning_rate, self.last_good = step, learning_rate, last_good

"""Networks and data that are handed over as objects, for runs that are made in this process."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from bayesprune.data import Data
from bayesprune.data.cached import load_cached
from bayesprune.data.given import as_data
from bayesprune.experiments.run_settings import DRAWN
from bayesprune.run.given import Given
from bayesprune.run.method import Method
from bayesprune.run.networks import NetworkSpec, registered_name
from bayesprune.run.pruned import Pruned
from bayesprune.run.settings import RunSettings


@dataclass(frozen=True, eq=False)
class Subject:
    """What runs are made of; objects cannot be sent to another process.

    Attributes:
        network: a module, class or function; None for the network that the settings name.
        data: None for those that the settings name.
        method: None for the one that the settings name.
    """

    network: Given | None = None
    data: Data | None = None
    method: Method | None = None

    @property
    def draws(self) -> bool:
        """Whether the network is made anew for every run."""
        return self.network is not None and not isinstance(self.network, nn.Module)


NAMED = Subject()
"""Of runs whose settings name all."""


def with_method(subject: Subject, given: Method | str) -> Subject:
    """The subject of runs of a method: one that is an object is part of it."""
    return subject if isinstance(given, str) else replace(subject, method=given)


@dataclass(frozen=True)
class Beginning:
    """A run that can be made.

    Attributes:
        settings: in the form that names the run.
        spec: how its network is made without code of the user's; None where only the user can.
        network: makes it.
        given: whether the network was handed over, or made by code that no file names.
        drawn: whether such code drew its weights by the seed.
        fresh: makes it with the initial weights of another seed; None where its weights were given.
    """

    settings: RunSettings
    spec: NetworkSpec | None
    network: Callable[[], nn.Module]
    given: bool = False
    drawn: bool = False
    fresh: Callable[[int], nn.Module] | None = None

    @property
    def marks(self) -> dict[str, Any]:
        """What the run's settings say beside themselves."""
        return {DRAWN: True} if self.drawn else {}


def data_of(subject: Subject, settings: RunSettings) -> Data:
    """The data of a run."""
    return load_cached(settings.data, settings.task) if subject.data is None else subject.data


def subject_of(network: Any, data: Any, task: str | None) -> tuple[Subject, dict[str, Any]]:
    """Network and data as they were handed over, and their names as settings.

    Args:
        network: a name, a module, what `prune` gave back, or a class or function.
        data: whatever `bayesprune.data.given.as_data` takes.
        task: that the data are read for; None for what they suggest.

    Raises:
        DataError: the data are none.
    """
    network = network.network if isinstance(network, Pruned) else network
    if not isinstance(network, str):
        network = registered_name(network) or network
    given = None if isinstance(data, str) else as_data(data, task)
    kind = type(network) if isinstance(network, nn.Module) else network
    name = network if isinstance(network, str) else getattr(kind, "__name__", type(kind).__name__)
    names: dict[str, Any] = {"network": name, "data": data if given is None else given.name}
    if given is None and isinstance(network, str):
        return NAMED, names
    return Subject(None if isinstance(network, str) else network, given), names

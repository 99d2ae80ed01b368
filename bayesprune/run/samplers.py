"""Samplers by name, which the floors above fill: a result of this floor offers them as methods."""

from collections.abc import Callable
from typing import Any

from bayesprune.errors import SettingError

Sampler = Callable[..., Any]
"""From a `Pruned`, data and settings to draws."""

_SAMPLERS: dict[str, Sampler] = {}


def register_sampler(name: str, sampler: Sampler) -> None:
    """Enter a sampler; a later one of the same name takes its place."""
    _SAMPLERS[name] = sampler


def sampler(name: str) -> Sampler:
    """The sampler of a name.

    Raises:
        SettingError: none was entered.
    """
    if name not in _SAMPLERS:
        raise SettingError(f"no sampler {name!r} was entered: import bayesprune.experiments.facade first")
    return _SAMPLERS[name]

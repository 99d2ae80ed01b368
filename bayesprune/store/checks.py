"""Small checks from which the expected form of a stored JSON document is put together.

A check takes a value and the key it stands under, and raises `Fault` where the value is not as expected.
"""

import reprlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from bayesprune.errors import StoreError

Check: TypeAlias = Callable[[Any, str], None]


class Fault(ValueError):
    """A value is not what its key promises."""

    def __init__(self, key: str, expected: str, value: object) -> None:
        # reprlib and not repr: a damaged file can hold values of any size and depth.
        where = f"key {key!r}" if key else "the content"
        super().__init__(f"{where} must be {expected}, not {reprlib.repr(value)}")


class MissingKey(Fault):
    """A key that must be there is not."""

    def __init__(self, key: str) -> None:
        ValueError.__init__(self, f"key {key!r} is missing")


def validate(value: Any, check: Check, file: str | Path) -> None:
    """Check the content of `file`.

    Raises:
        StoreError: it is not as `check` expects; the message names the file and the key.
    """
    try:
        check(value, "")
    except Fault as fault:
        raise StoreError(f"{file}: {fault}; the file is incomplete or was changed, make it again") from fault


def text(value: Any, key: str) -> None:
    """Any text but the empty one."""
    if not isinstance(value, str) or not value:
        raise Fault(key, "text", value)


def anything(value: Any, key: str) -> None:
    """Any JSON value."""


def integer(low: int = 0, high: int | None = None, *, nullable: bool = False) -> Check:
    """A whole number from `low` to `high`."""
    expected = f"a whole number {_span(low, high)}" + (" or null" if nullable else "")

    def check(value: Any, key: str) -> None:
        if value is None and nullable:
            return
        if isinstance(value, bool) or not isinstance(value, int) or not _within(value, low, high):
            raise Fault(key, expected, value)

    return check


def number(low: float | None = None, high: float | None = None, *, nullable: bool = False) -> Check:
    """A number from `low` to `high`; null, where allowed, means not finite or unknown."""
    expected = f"a number {_span(low, high)}".rstrip() + (" or null" if nullable else "")

    def check(value: Any, key: str) -> None:
        if value is None and nullable:
            return
        if isinstance(value, bool) or not isinstance(value, int | float) or not _within(value, low, high):
            raise Fault(key, expected, value)

    return check


def list_of(item: Check, *, minimum: int = 0) -> Check:
    """A list of at least `minimum` such items."""

    def check(value: Any, key: str) -> None:
        if not isinstance(value, list) or len(value) < minimum:
            raise Fault(key, f"a list of at least {minimum}" if minimum else "a list", value)
        for place, entry in enumerate(value):
            item(entry, f"{key}[{place}]")

    return check


def table_of(item: Check) -> Check:
    """An object whose keys are free and whose values are such items."""

    def check(value: Any, key: str) -> None:
        for name, entry in _object(value, key).items():
            item(entry, _below(key, name))

    return check


def record(fields: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """An object that has at least these keys, perhaps the optional ones; others are let through for later versions."""
    known = {**fields, **(optional or {})}

    def check(value: Any, key: str) -> None:
        entries = _object(value, key)
        for name, field in known.items():
            if name in entries:
                field(entries[name], _below(key, name))
            elif name in fields:
                raise MissingKey(_below(key, name))

    return check


def _object(value: Any, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Fault(key, "an object", value)
    return value


def _below(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def _within(value: float, low: float | None, high: float | None) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)


def _span(low: float | None, high: float | None) -> str:
    if high is not None:
        return f"from {low} to {high}"
    return "" if low is None else f"of at least {low}"

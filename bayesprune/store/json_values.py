"""Values that JSON can hold, checked before they are written and while they are read."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, TypeAlias

from bayesprune.errors import a_kind

JSON: TypeAlias = "None | bool | int | float | str | Sequence[JSON] | Mapping[str, JSON]"


LARGEST_WHOLE = 2**63 - 1
"""Larger whole numbers are refused when they are read: no count of ours comes near, and none fits a float."""


def plain_json(value: object, key: str = "", *, non_finite_as_null: bool = False) -> Any:
    """A copy of `value` made of dict, list, str, int, float, bool and None only; tuples become lists.

    Args:
        value: what is to be written.
        key: the name of `value` in error messages.
        non_finite_as_null: NaN and infinities, for which JSON has no number, become None; otherwise refused.

    Raises:
        ValueError: something in `value` is not JSON; the message names its key and its type.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return _finite(value, key, non_finite_as_null)
    if isinstance(value, Mapping):
        _check_names(value, key)
        return {
            name: plain_json(item, f"{key}.{name}" if key else name, non_finite_as_null=non_finite_as_null)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [
            plain_json(item, f"{key}[{place}]", non_finite_as_null=non_finite_as_null)
            for place, item in enumerate(value)
        ]
    raise ValueError(f"{_named(key)} is {a_kind(value)}, which JSON cannot hold")


def parse_json(text: str | bytes, *, any_whole: bool = False) -> Any:
    """The value of a JSON text; NaN and infinities, in any spelling, are refused.

    Args:
        text: to be read.
        any_whole: take whole numbers of any size; otherwise those beyond 63 bits are refused.

    Raises:
        ValueError: the text is not JSON.
    """
    whole = int if any_whole else _parse_whole
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_parse_float, parse_int=whole)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _finite(value: float, key: str, non_finite_as_null: bool) -> float | None:
    if math.isfinite(value):
        return value
    if non_finite_as_null:
        return None
    raise ValueError(f"{_named(key)} is {value}, for which JSON has no number")


def _check_names(value: Mapping[Any, object], key: str) -> None:
    for name in value:
        if not isinstance(name, str):
            raise ValueError(f"{_named(key)} has the key {name!r}: keys must be text")


def _named(key: str) -> str:
    return f"key {key!r}" if key else "the value"


def _parse_float(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text)


def _parse_whole(text: str) -> int:
    if len(text) > 20 or abs(int(text)) > LARGEST_WHOLE:
        raise ValueError(f"a whole number of {len(text.lstrip('-'))} digits is too large")
    return int(text)


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a finite number")

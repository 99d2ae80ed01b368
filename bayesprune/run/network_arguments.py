"""Names of networks with arguments: "graphrnn(cell=lstm, graph=watts-strogatz:3)"."""

from collections.abc import Mapping
from functools import partial
from inspect import Parameter, signature
from typing import Any

from bayesprune.errors import SettingError, UnknownNameError

_WORDS: Mapping[str, Any] = {"none": None, "true": True, "false": False}

_OF_DATA = ("classes", "input_shape")
"""Arguments that a run fills in."""


def split_arguments(name: str) -> tuple[str, dict[str, Any]]:
    """The plain name and the arguments in parentheses behind it; none where there are no parentheses.

    Whole and decimal numbers, true, false and none are read as such, everything else as text.

    Raises:
        SettingError: the parentheses are not closed at the end, an argument is not KEY=VALUE, or is given twice.
    """
    plain, opened, inside = name.partition("(")
    if not opened:
        return name, {}
    parts = [part.strip() for part in inside.removesuffix(")").split(",") if part.strip()]
    pairs = [tuple(text.strip() for text in part.partition("=")[::2]) for part in parts]
    keys = [key for key, _ in pairs]
    if not inside.endswith(")") or not all(key.isidentifier() and value for key, value in pairs):
        raise SettingError(f"network {name!r}: write its arguments as NAME(KEY=VALUE, KEY=VALUE)")
    if len(set(keys)) < len(keys):
        raise SettingError(f"network {name!r}: give every argument once")
    return plain.strip(), {key: _value(text) for key, text in pairs}


def with_arguments(factory: Any, name: str, given: Mapping[str, Any]) -> Any:
    """A factory with arguments of its own.

    Raises:
        UnknownNameError: it takes no such argument.
        SettingError: the argument is one that the data say.
    """
    named = (key for key, one in signature(factory).parameters.items() if one.kind is not Parameter.VAR_KEYWORD)
    known = [key for key in named if key not in _OF_DATA]
    for key in given:
        if key in _OF_DATA:
            raise SettingError(f"network {name!r}: leave out {key}, which the data say")
        if key not in known:
            raise UnknownNameError(f"argument of {name}", key, known)
    return partial(factory, **given)


def _value(text: str) -> Any:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text

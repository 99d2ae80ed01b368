"""Parts of a method as lines of text, for run.json and tables."""

from typing import Any

import torch


def spoken(part: Any) -> str:
    """A part as one line: its class, or the function's name, and its plain settings."""
    if isinstance(part, str):
        return part
    function, given = getattr(part, "func", None), getattr(part, "keywords", None)
    if function is not None and given is not None:  # a partial
        words = [*map(_value, part.args), *(f"{name}={_value(value)}" for name, value in given.items())]
        return f"{spoken(function)}({', '.join(words)})"
    if isinstance(part, type) or hasattr(part, "__qualname__"):
        return str(part.__qualname__)
    held = {name: value for name, value in getattr(part, "__dict__", {}).items() if not name.startswith("_")}
    return f"{type(part).__name__}({', '.join(f'{name}={_value(value)}' for name, value in held.items())})"


def _value(value: Any) -> str:
    plain = value is None or isinstance(value, bool | int | float | str)
    if isinstance(value, torch.Tensor):
        return f"tensor{list(value.shape)}"
    return f"{value!r}" if plain else spoken(value)

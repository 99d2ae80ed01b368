"""The page of all settings, made from their docstrings: `python -m bayesprune.experiments.settings_page`."""

import inspect
import re
import sys
from dataclasses import MISSING, Field, fields
from typing import Any

from bayesprune.experiments.methods import METHODS
from bayesprune.run.settings import RunSettings

_INTRODUCTION = """# Settings

What a run can be told: as keyword arguments of `bayesprune.prune`, as flags on the command line
(`--batch-size 50`, options of a method as `--option NAME=VALUE`), and as keys of a study's TOML file (options of a
method in a table `options`). The classes are in `bayesprune`, as `bayesprune.RunSettings`.

This page is made from the docstrings: `python -m bayesprune.experiments.settings_page > docs/settings.md`.
"""
_ENTRY = re.compile(r"^    (\w[\w, ]*): (.*)$")


def settings_page() -> str:
    """The page as Markdown."""
    classes = {method.options: None for method in METHODS.values()}
    described = sorted(
        {base for kind in classes for base in _line(kind)}, key=lambda kind: (len(_line(kind)), kind.__name__)
    )
    parts = [_INTRODUCTION, _section(RunSettings, "Settings of every run", "")]
    parts += [_section(kind, f"`{kind.__name__}`", _methods_with(kind)) for kind in described]
    return "\n".join(parts)


def _line(kind: type[Any]) -> list[type[Any]]:
    """A class of options and those it extends, the first one first."""
    return [base for base in reversed(kind.__mro__) if hasattr(base, "__dataclass_fields__")]


def _methods_with(kind: type[Any]) -> str:
    """For which methods a class of options is, and which class it extends."""
    names = [f"`{name}`" for name, method in METHODS.items() if kind in _line(method.options)]
    above = [base for base in _line(kind) if base is not kind]
    also = f" It has the settings of `{above[-1].__name__}` too." if above else ""
    return f"Options of {', '.join(names)}.{also}\n"


def _section(kind: type[Any], heading: str, more: str) -> str:
    """One class: a row for each setting that it adds."""
    own = [field for field in fields(kind) if field.name in vars(kind).get("__annotations__", {})]
    meanings = meanings_of(kind)
    rows = [f"| `{field.name}` | {_default(field)} | {meanings[field.name]} |" for field in own]
    return "\n".join(
        [f"## {heading}\n", *([more] if more else []), "| name | default | meaning |", "|---|---|---|", *rows, ""]
    )


def meanings_of(kind: type[Any]) -> dict[str, str]:
    """What the docstring of a dataclass says of each of its fields."""
    text = inspect.getdoc(kind) or ""
    found: dict[str, str] = {}
    names: list[str] = []
    for line in text.partition("Attributes:")[2].splitlines():
        entry = _ENTRY.match(line)
        if entry:
            names = [name.strip() for name in entry[1].split(",")]
            found |= dict.fromkeys(names, entry[2])
        elif names and line.startswith("     "):
            found |= dict.fromkeys(names, f"{found[names[0]]} {line.strip()}")
    return {name: meaning.replace("|", "\\|") for name, meaning in found.items()}


def _default(field: "Field[Any]") -> str:
    """A field's default as it is written in Python."""
    if field.default is not MISSING:
        return f"`{field.default!r}`"
    return "" if field.default_factory is MISSING else f"`{field.default_factory()!r}`"


if __name__ == "__main__":
    sys.stdout.write(settings_page())

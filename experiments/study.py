"""Studies: grids of runs described in TOML."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import product
from pathlib import Path
from typing import Any

from bayesprune.errors import SettingError, UnknownNameError
from bayesprune.experiments.jobs import Job
from bayesprune.experiments.methods import method
from bayesprune.settings import RunSettings

_SETTINGS = {field.name for field in fields(RunSettings)} - {"method", "seed", "options"}
_TUPLES = ("keep", "widths")


@dataclass(frozen=True)
class Study:
    """Many runs.

    Attributes:
        jobs: the runs.
        title: for the report.
        out: where run folders lie; None leaves it to the command.
    """

    jobs: tuple[Job, ...]
    title: str
    out: Path | None = None


def seeds_from(count: int, first: int = 0) -> list[int]:
    """`count` seeds from `first` on.

    Raises:
        SettingError: the count is below 1.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise SettingError(f"seeds must be an integer >= 1, not {count!r}")
    return list(range(first, first + count))


def read_study(path: Path) -> Study:
    """Read a study from a TOML file.

    The keys are settings of a run; a list stands for one run with each of its entries (`keep` and `widths` are lists
    themselves). `seeds` is a number of seeds. `methods` is a list of names, or each method has a table
    `[method.NAME]` with its own settings, `match = "OTHER"` to take its size from another method's run with the same
    seed, and `options`.

    Raises:
        SettingError: the file cannot be read, has an unknown key or asks for nothing.
    """
    try:
        document = tomllib.loads(Path(path).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingError(f"study {path}: {error}") from error
    title, out = document.pop("title", Path(path).stem), document.pop("out", None)
    seeds = seeds_from(document.pop("seeds", 3))
    tables = _method_tables(document)
    jobs = []
    for name, table in tables.items():
        own = dict(table)
        match, options = own.pop("match", None), own.pop("options", {})
        for settings in _grid(document | own):
            for option in _grid(options):
                for seed in seeds:
                    jobs.append(Job(RunSettings(method=name, seed=seed, options=option, **settings), match))
    return Study(tuple(jobs), title, None if out is None else Path(out))


def _method_tables(document: dict[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The methods and their own settings; takes them out of the document and checks all keys."""
    tables: dict[str, Mapping[str, Any]] = {name: {} for name in document.pop("methods", [])}
    tables |= document.pop("method", {})
    if not tables:
        raise SettingError("a study needs methods = [...] or tables [method.NAME]")
    for name, table in tables.items():
        method(name)
        _check_keys(table, _SETTINGS | {"match", "options"})
    _check_keys(document, _SETTINGS)
    return tables


def _check_keys(table: Mapping[str, Any], known: set[str]) -> None:
    """Refuse keys that are not settings."""
    for key in table:
        if key not in known:
            raise UnknownNameError("setting", key, known)


def _grid(table: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
    """Every combination of the lists in a table."""
    choices = []
    for key, value in table.items():
        if key in _TUPLES:
            value = [tuple(v) for v in value] if value and isinstance(value[0], list) else [tuple(value)]
        choices.append(value if isinstance(value, list) else [value])
    return [dict(zip(table, combination, strict=True)) for combination in product(*choices)]

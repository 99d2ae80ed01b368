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
from bayesprune.run.settings import RunSettings, check_integer, check_type

_SETTINGS = {field.name for field in fields(RunSettings)} - {"method", "seed", "options"}
_STUDY = {"title", "out", "seeds", "methods", "method"}
_LISTS = ("keep", "widths")


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
    check_integer("seeds", count, 1)
    return list(range(first, first + count))


def read_study(path: Path) -> Study:
    """Read a study from a TOML file.

    The keys are settings of a run; a list stands for one run with each of its entries (`keep` and `widths`
    are lists themselves, so there a list of lists does). `seeds` is a number of seeds. `methods` is a list of
    names, and each method may have a table `[method.NAME]` with its own settings, `match = "OTHER"` to take
    its size from another method's run with the same seed, and `options`. A run described twice is made once.

    Raises:
        SettingError: the file cannot be read, has an unknown key or asks for nothing.
    """
    try:
        document = tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise SettingError(f"study {path} cannot be read: {error.strerror}; name a TOML file") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingError(f"study {path} is not TOML: {error}") from error
    title, out = document.pop("title", Path(path).stem), document.pop("out", None)
    check_type("title", title, str, "text")
    check_type("out", out, str | None, "the name of a folder")
    seeds = seeds_from(document.pop("seeds", 3))
    jobs: list[Job] = []
    for name, table in _method_tables(document).items():
        for job in _jobs(name, table, document, seeds):
            if job not in jobs:
                jobs.append(job)
    return Study(tuple(jobs), title, None if out is None else Path(out))


def _jobs(name: str, table: Mapping[str, Any], document: Mapping[str, Any], seeds: Sequence[int]) -> list[Job]:
    """A method's runs."""
    own = dict(table)
    match, options = own.pop("match", None), own.pop("options", {})
    check_type(f"options of {name}", options, dict, "a table of the method's own settings")
    check_type(f"match of {name}", match, str | None, "the name of a method")
    if match is not None:
        method(match)
    return [
        Job(RunSettings(method=name, seed=seed, options=option, **settings), match)
        for settings in _grid({**document, **own})
        for option in _grid(options)
        for seed in seeds
    ]


def _method_tables(document: dict[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The methods and their own settings; takes them out of the document and checks all keys."""
    names, own = document.pop("methods", []), document.pop("method", {})
    if not isinstance(names, list) or not isinstance(own, dict) or not (names or own):
        raise SettingError("a study needs methods = [...] or tables [method.NAME]")
    for name in names:
        check_type("each of methods", name, str, "the name of a method")
    tables: dict[str, Mapping[str, Any]] = {**{name: {} for name in names}, **own}
    for name, table in tables.items():
        method(name)
        check_type(f"method.{name}", table, dict, "a table of settings")
        _check_keys(table, _SETTINGS | {"match", "options"})
    _check_keys(document, _SETTINGS | _STUDY)
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
        is_many = isinstance(value, list) and (key not in _LISTS or any(isinstance(v, list) for v in value))
        if is_many and not value:
            raise SettingError(f"{key} is an empty list: give at least one value")
        choices.append(value if is_many else [value])
    return [dict(zip(table, combination, strict=True)) for combination in product(*choices)]

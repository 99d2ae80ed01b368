"""A table in a CSV file: features, and the columns to predict."""

import csv
import gzip
import io
import os
import re
import warnings
import zlib
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bayesprune.data.csv_columns import MISSING, Column, to_column
from bayesprune.errors import DataError, SettingError, UnknownNameError

if TYPE_CHECKING:
    import pandas

_WANTED = "it needs a line of column names, then a line for each example"
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_MOST_LISTED = 20


@dataclass(frozen=True, eq=False)
class Table:
    """Examples as plain numbers, not yet normalised.

    Attributes:
        inputs: [N, F] float64.
        targets: [N], or [N, T] where several columns are to be predicted; int64 or float64.
        feature_names: the F features; a category is called "column=value".
        target_names: the T target columns.
        classes: the K classes whose numbers 0 .. K - 1 are the targets; None where the targets are numbers.
    """

    inputs: npt.NDArray[np.float64]
    targets: npt.NDArray[Any]
    feature_names: tuple[str, ...]
    target_names: tuple[str, ...]
    classes: tuple[str, ...] | None = None


def split_name(text: str) -> tuple[Path, str | None]:
    """The file and the target of "FILE" or "FILE:TARGET".

    Both may hold colons. Where the whole text is a file, it has no target; otherwise FILE is the longest part before a
    colon that is a file, and without one the part before the last colon. A leading ~ is the user's home.

    Raises:
        SettingError: nothing on one side of the colon.
    """
    colons = [found.start() for found in re.finditer(":", text)]
    ends = [len(text), *reversed(colons)]
    last = colons[-1] if colons else len(text)
    end = next((end for end in ends if os.path.exists(os.path.expanduser(text[:end]))), last)
    file, target = text[:end], text[end + 1 :]
    if not file or (end < len(text) and not target):
        raise SettingError(f"{text!r} names no {'file' if not file else 'target'}; write FILE or FILE:TARGET")
    return Path(os.path.expanduser(file)), target or None


def read_csv(path: Path, target: str | None) -> Table:
    """Read a table whose first line names its columns; nothing in the file is ever executed.

    Cells are separated by commas, semicolons or tabs. A column of true and false becomes one feature of 0 and 1, a
    column of text one feature a value. Decimal commas are read where they can mean nothing else. A name that ends
    in .gz is unpacked.

    Args:
        path: the file, in UTF-8.
        target: the column to predict, or several joined by + or a comma; None for the last one.

    Raises:
        DataError: no such file, no table, or a column that cannot be learned from, each by its name.
        UnknownNameError: no column is called like the target.
        SettingError: a target that is named twice.
    """
    text = io.StringIO(_read_text(path), newline="")
    separator, header = _read_header(text, path)
    wanted = _targets(target, header, path)
    if len(wanted) == len(header):
        raise DataError(
            f"{path} has no column left to predict from: {len(header)} in all ({', '.join(header[:5])}), separated by "
            f"{_SEPARATORS[separator]}; cells are separated by commas, semicolons or tabs"
        )
    frame = _read_frame(text, separator, header, path)
    columns = {name: to_column(name, frame[name], separator, str(path)) for name in header}
    _check_first_line(columns, path)
    _check_commas(columns, frame, path)
    names, inputs = _features([column for name, column in columns.items() if name not in wanted], path)
    targets, classes = _to_targets([columns[name] for name in wanted], path)
    return Table(inputs, targets, names, wanted, classes)


def _read_text(path: Path) -> str:
    if not os.path.isfile(path):
        raise DataError(f"{path} is {'not a file' if os.path.exists(path) else 'not there'}; give a CSV file")
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is no text in UTF-8 (byte {error.start:,} is {error.object[error.start]:#04x}); save it as CSV in "
            "UTF-8 (in Excel: 'CSV UTF-8')"
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}); check its permissions, or save it again") from error
    if "\0" in text:
        raise DataError(f"{path} holds zero bytes and is no text; save it as CSV in UTF-8")
    if not text.strip():
        raise DataError(f"{path} is empty; {_WANTED}")
    return text


def _read_header(text: io.StringIO, path: Path) -> tuple[str, list[str]]:
    """The separator and the names; leaves the text at the first row."""
    line = next(line for line in text if line.strip())
    start = text.tell() - len(line)
    found: dict[str, tuple[list[str], int]] = {}
    for separator in _SEPARATORS:
        text.seek(start)
        try:
            names = next(csv.reader(text, delimiter=separator, strict=True, skipinitialspace=True))
        except csv.Error:  # quotes that do not fit this separator
            continue
        found[separator] = [" ".join(name.split()) for name in names], text.tell()
    most = max((len(names) for names, _ in found.values()), default=0)
    best = [separator for separator, (names, _) in found.items() if len(names) == most]
    if not best or (len(best) > 1 and most > 1):
        raise DataError(f"the first line of {path} cannot be split into column names; put names with commas in quotes")
    names, end = found[best[0]]
    _check_header(names, path)
    text.seek(end)
    return best[0], names


def _check_header(names: list[str], path: Path) -> None:
    if "" in names:
        raise DataError(
            f"column {names.index('') + 1} of {path} has no name: name or remove it (pandas writes the row numbers so; "
            "to_csv(..., index=False) leaves them out)"
        )
    if odd := [name for name in names if not name.isprintable()]:
        raise DataError(f"the column name {odd[0]!r} of {path} has characters that cannot be printed; rename it")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(
            f"{names.count(twice)} columns of {path} are called {twice!r}; its first line must give each its own name"
        )


def _targets(target: str | None, header: list[str], path: Path) -> tuple[str, ...]:
    """The names of the target columns; a column's whole name goes before a list."""
    if target is None or target in header:
        return (header[-1] if target is None else target,)
    names = tuple(name.strip() for name in re.split("[+,]", target))
    for name in names:
        if name not in header:
            raise UnknownNameError(f"column of {path}", name, _likely(name, header))
    if len(set(names)) < len(names):
        raise SettingError(f"the target {target!r} names a column twice; name each once")
    return names


def _likely(name: str, header: list[str]) -> list[str]:
    """The names to list: all, or in a wide table those that are most alike."""
    if len(header) <= _MOST_LISTED:
        return header
    near = get_close_matches(name, header, n=9, cutoff=0.3) or header[-9:]
    return [*near, f"… and {len(header) - len(near):,} more"]


def _read_frame(text: io.StringIO, separator: str, header: list[str], path: Path) -> "pandas.DataFrame":
    import pandas

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pandas.errors.ParserWarning)  # else cells beyond the header are dropped
            frame = pandas.read_csv(
                text, sep=separator, header=None, names=header, index_col=False, skipinitialspace=True,
                keep_default_na=False, na_values=list(MISSING), low_memory=False,
            )  # fmt: skip
    except Exception as error:  # a damaged file makes pandas raise almost anything
        reason = " ".join(str(error).split())
        raise DataError(
            f"{path} cannot be read as a table of {len(header)} columns separated by {_SEPARATORS[separator]} "
            f"({reason}); every row needs as many cells as there are names, and every quote an end"
        ) from error
    if len(frame) < 2:
        raise DataError(f"{path} has {len(frame)} row{'s' * (len(frame) != 1)} below its names; at least 2 are needed")
    return frame


def _check_first_line(columns: dict[str, Column], path: Path) -> None:
    """Refuse a file without names: its first line could be one of the rows."""
    numbered = [str(position) for position in range(len(columns))]
    if list(columns) != numbered and all(column.could_hold(name) for name, column in columns.items()):
        shown = ", ".join(list(columns)[:5])
        raise DataError(f"the first line of {path} ({shown}) looks like a row and not like names; {_WANTED}")


def _check_commas(columns: dict[str, Column], frame: "pandas.DataFrame", path: Path) -> None:
    """Refuse decimal commas beside decimal points: 1.234 may be a thousand there."""
    commas = [name for name, column in columns.items() if column.comma]
    points = [name for name in columns if frame[name].dtype.kind == "f"]
    if commas and points:
        raise DataError(
            f"{path} has decimal commas in column {commas[0]!r} and decimal points in column {points[0]!r}; "
            "write a point in both"
        )


def _features(columns: list[Column], path: Path) -> tuple[tuple[str, ...], npt.NDArray[np.float64]]:
    encoded = [column.encode() for column in columns]
    names = tuple(name for part, _ in encoded for name in part)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"two features of {path} are called {twice!r} (COLUMN=VALUE of text); rename a column")
    return names, np.concatenate([values for _, values in encoded], axis=1)


def _to_targets(columns: list[Column], path: Path) -> tuple[npt.NDArray[Any], tuple[str, ...] | None]:
    """Targets [N] or [N, T], and the names of the classes."""
    first, several = columns[0], len(columns) > 1
    if not several:
        values, classes = first.values, first.categories
        return (values.astype(np.int64), ("False", "True")) if values.dtype == np.bool_ else (values, classes)
    for column in columns:
        if column.categories is not None:
            raise DataError(
                f"column {column.name!r} of {path} holds text and is one of {len(columns)} targets: "
                "several targets must be numbers or true and false; write 0 and 1, or predict it alone"
            )
    stacked = np.stack([column.values for column in columns], axis=1)
    return stacked.astype(np.int64) if stacked.dtype == np.bool_ else stacked, None

"""The history of a run: one JSON object a line and epoch, in a file that a kill cannot spoil.

A line counts only with its line break, so a line that a kill cut short was never written. Values that are not
finite are written as null, since JSON has no number for them; a reader takes null as "not finite or unknown".
"""

import json
from pathlib import Path
from typing import Any

from bayesprune.errors import StoreError
from bayesprune.store.atomic import read_bytes, write_bytes, write_error
from bayesprune.store.checks import Check, integer, number, record, table_of, text, validate
from bayesprune.store.json_values import parse_json, plain_json

HISTORY_ENTRY: Check = record(
    {
        "epoch": integer(1),
        "phase": text,
        "step": integer(),
        "seconds": number(0),
        "macs": number(0),
        "dense_macs": number(0),
        "loss": number(nullable=True),
        "validation_accuracy": number(0, 1, nullable=True),
        "validation_nll": number(0, nullable=True),
        "params": integer(),
        "network_macs": integer(),
        "undecided": integer(),
        "alive": table_of(integer()),
    }
)


def append_entry(path: Path, entry: dict[str, Any]) -> None:
    """Add one epoch's record; a line that an earlier kill cut short is removed first.

    Raises:
        StoreError: a key is missing or wrong, or the file cannot be written (it is then as before).
    """
    line = _line(path, entry)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            file.seek(0)
            whole = _whole_length(file.read())
            file.truncate(whole)
            try:
                file.write(line)
                file.flush()
            except OSError:
                file.truncate(whole)
                raise
    except (OSError, ValueError) as error:
        raise write_error(path, error) from error


def read_entries(path: Path) -> list[dict[str, Any]]:
    """All records, oldest first; an empty list where there is no file.

    Raises:
        StoreError: a line is damaged, or a key of it missing or wrong; the message names the line.
    """
    if not path.exists():
        return []
    data = read_bytes(path)
    lines = data[: _whole_length(data)].splitlines()
    return [_entry(line, f"{path} line {number}") for number, line in enumerate(lines, start=1)]


def truncate_entries(path: Path, step: int) -> None:
    """Drop the records of epochs that ended after `step`, so that a resumed run writes them again.

    Raises:
        StoreError: the file is damaged or cannot be written.
    """
    entries = read_entries(path)
    kept = [entry for entry in entries if entry["step"] <= step]
    if len(kept) < len(entries):
        write_entries(path, kept)


def write_entries(path: Path, entries: list[dict[str, Any]]) -> None:
    """Write the whole history anew, whole or not at all.

    Raises:
        StoreError: a key is missing or wrong, or the file cannot be written.
    """
    write_bytes(path, b"".join(_line(path, entry) for entry in entries))


def _line(path: Path, entry: dict[str, Any]) -> bytes:
    try:
        plain = plain_json(entry, non_finite_as_null=True)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"cannot write {path}: {error}; convert it first") from error
    validate(plain, HISTORY_ENTRY, path)
    return json.dumps(plain).encode() + b"\n"


def _entry(line: bytes, where: str) -> dict[str, Any]:
    try:
        entry: dict[str, Any] = parse_json(line)
    except ValueError as error:
        raise StoreError(f"{where} is damaged: it is not JSON ({error}); run it again") from error
    validate(entry, HISTORY_ENTRY, where)
    return entry


def _whole_length(data: bytes) -> int:
    """How many bytes the lines with a line break take."""
    return data.rfind(b"\n") + 1

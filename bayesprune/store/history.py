"""The history of a run: one JSON object a line and epoch.

A line counts only with its line break, so a line that was cut short was never written. Values that are not
finite are written as null, since JSON has no number for them; a reader takes null as "not finite or unknown".
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from bayesprune.errors import StoreError
from bayesprune.store.atomic import read_bytes
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
        "validation_nll": number(nullable=True),
        "params": integer(),
        "network_macs": integer(),
        "undecided": integer(),
        "alive": table_of(integer()),
    }
)


def read_entries(path: Path, checksum: str | None = None) -> list[dict[str, Any]]:
    """All records, oldest first; an empty list where there is no file.

    Args:
        path: of the file.
        checksum: the one that its content must have (`checksum_of`); None takes any.

    Raises:
        StoreError: it is another file, a line is damaged, or a key of it missing or wrong; the message names the line.
    """
    if not path.exists():
        return []
    data = read_bytes(path)
    if checksum is not None and checksum_of(data) != checksum:
        raise StoreError(f"{path} is not the file that run.json was written with; restore it or delete it")
    lines = data[: _whole_length(data)].splitlines()
    return [_entry(line, f"{path} line {number}") for number, line in enumerate(lines, start=1)]


def entries_as_bytes(path: Path, entries: list[dict[str, Any]]) -> bytes:
    """The content of the history file at `path`.

    Raises:
        StoreError: a key is missing or wrong.
    """
    return b"".join(_line(path, entry) for entry in entries)


def checksum_of(data: bytes) -> str:
    """SHA-256 of the content of a history file."""
    return hashlib.sha256(data).hexdigest()


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

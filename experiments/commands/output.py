"""What goes to standard output and to standard error: answers to the one, all else to the other."""

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def answer(text: str) -> None:
    """Write text to standard output."""
    sys.stdout.write(f"{text}\n")


def answer_object(value: dict[str, Any]) -> None:
    """Write one JSON object to standard output; numbers that are not finite become null."""
    from bayesprune.store.json_values import plain_json

    answer(json.dumps(plain_json(value, non_finite_as_null=True), allow_nan=False))


def note(text: str) -> None:
    """Write a line to standard error."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def terminal() -> "tuple[Console, bool]":
    """A console on standard error, and whether a bar can be drawn there."""
    from rich.console import Console

    console = Console(stderr=True)
    return console, sys.stderr.isatty() and not console.is_dumb_terminal

"""What goes to standard output and to standard error: answers to the one, all else to the other."""

import json
import sys
from typing import Any


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

"""Pieces of sentences."""

from collections.abc import Sequence


def counted(number: int, noun: str) -> str:
    """`1 gate`, `1,184 gates`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(items: Sequence[object], last: str = "and") -> str:
    """`a, b and c`."""
    words = [str(item) for item in items]
    return f" {last} ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)

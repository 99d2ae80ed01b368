"""Letters as tokens: A is 1 to Z, which is 26; 0 fills strings up on the right."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from bayesprune.errors import DataError

Tokens = npt.NDArray[np.int64]

PADDING = 0
"""The token that fills strings up on the right to one length."""

VOCABULARY = 27
"""Tokens that there are: the padding and 26 letters."""

WIDTH = 60
"""Tokens of every string with its padding, in every Reber set."""

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def token(letter: str) -> int:
    """The token of a letter.

    Raises:
        DataError: it is no capital letter from A to Z.
    """
    place = LETTERS.find(letter) if len(letter) == 1 else -1
    if place < 0:
        raise DataError(f"the letter {letter!r} is unknown: strings have capital letters from A to Z")
    return place + 1


def encode(strings: Iterable[str], width: int | None = WIDTH) -> Tokens:
    """Tokens [N, width] of strings; a shorter one is filled up with 0 on the right.

    Args:
        strings: of capital letters.
        width: None for the length of the longest.

    Raises:
        DataError: no strings, one of length 0 or longer than `width`, or an unknown letter; says which string.
    """
    given = list(strings)
    if not given:
        raise DataError("no strings are given: at least one is needed")
    wide = max(map(len, given)) if width is None else width
    found = np.zeros((len(given), max(wide, 1)), np.int64)
    for number, string in enumerate(given):
        if not 1 <= len(string) <= wide:
            raise DataError(
                f"string {number} has {len(string)} letters: 1 to {wide} are possible; leave it out"
                + ("" if len(string) <= wide else f", or give width={len(string)}")
            )
        found[number, : len(string)] = [_known(letter, number, string) for letter in string]
    return found


def _known(letter: str, number: int, string: str) -> int:
    try:
        return token(letter)
    except DataError as error:
        raise DataError(f"string {number}, {string[:40]!r}: {error}") from error


def decode(tokens: Tokens) -> list[str]:
    """The strings of tokens [N, L], without their padding.

    Raises:
        DataError: tokens that stand for nothing, padding before a letter, or nothing but padding.
    """
    if tokens.ndim != 2 or tokens.size == 0 or tokens.min() < 0 or tokens.max() >= VOCABULARY:
        raise DataError(
            f"tokens of shape {list(tokens.shape)}: give [N, L] of whole numbers from 0 to {VOCABULARY - 1}"
        )
    sizes = lengths(tokens)
    if not (sizes > 0).all() or ((tokens > 0).sum(1) != sizes).any():
        raise DataError("a string has no letters, or padding stands before a letter: padding (0) belongs on the right")
    return ["".join(LETTERS[one - 1] for one in row[:size]) for row, size in zip(tokens.tolist(), sizes, strict=True)]


def lengths(tokens: Tokens) -> Tokens:
    """[N], letters up to the last one of each string."""
    there = tokens > 0
    found: Tokens = np.where(there.any(1), tokens.shape[1] - there[:, ::-1].argmax(1), 0)
    return found

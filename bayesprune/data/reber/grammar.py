"""Reber's grammar, plain and embedded, as tables of a walk.

    plain       B, then from state 0:  0 -T-> 1, 0 -P-> 2;  1 -S-> 1, 1 -X-> 3;  2 -T-> 2, 2 -V-> 4;
                3 -X-> 2, 3 -S-> end;  4 -P-> 3, 4 -V-> end;  then E
    embedded    B T plain T E  or  B P plain P E: what stands before the end was said near the beginning

Reber (1967); embedded: Smith and Zipser (1989), Hochreiter and Schmidhuber (1997).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from bayesprune.data.reber.letters import WIDTH, Tokens, lengths, token
from bayesprune.errors import DataError, SettingError

_FINAL = -1
_DRAWN = 20_000
"""Walks made at once."""

Step = tuple[str, int]
"""A letter, and the state that it leads to; -1 ends the string."""


@dataclass(frozen=True, eq=False)
class Grammar:
    """A grammar of which each state has one or two steps, taken with equal probability; the walk begins in state 0.

    Attributes:
        name: of the grammar.
        table: the steps of each state.
        shortest: the usual smallest length of strings that are drawn.
    """

    name: str
    table: tuple[tuple[Step, ...], ...]
    shortest: int

    @cached_property
    def letters(self) -> tuple[str, ...]:
        """The letters of its strings, in ascending order."""
        return tuple(sorted({letter for steps in self.table for letter, _ in steps}))

    @cached_property
    def arrays(self) -> tuple[Tokens, Tokens]:
        """Tokens [states, 2] of the steps and states [states, 2] that they lead to; single steps stand twice."""
        both = [(steps[0], steps[-1]) for steps in self.table]
        return (
            np.array([[token(letter) for letter, _ in pair] for pair in both]),
            np.array([[state for _, state in pair] for pair in both]),
        )

    def accepts(self, string: str) -> bool:
        """Whether a string is of the grammar.

        Raises:
            DataError: it has length 0, or letters that are not from A to Z.
        """
        if not string:
            raise DataError("the string has length 0: at least one letter is needed")
        states = {0}
        for letter in string:
            token(letter)
            states = {end for state in states if state != _FINAL for named, end in self.table[state] if named == letter}
        return _FINAL in states

    def accepted(self, tokens: Tokens) -> npt.NDArray[np.bool_]:
        """[N], whether each string of tokens [N, L] is of the grammar; its steps' letters differ in every state."""
        named, ends = self.arrays
        named, ends = np.vstack([named, [[-1, -1]]]), np.vstack([ends, [[_FINAL, _FINAL]]])  # row -1: after the end
        state, right = np.zeros(len(tokens), np.int64), np.ones(len(tokens), np.bool_)
        for column in tokens.T:
            going = column > 0
            match = named[state] == column[:, None]
            right &= ~going | match.any(1)
            state = np.where(going, np.where(match[:, 0], ends[state, 0], ends[state, 1]), state)
        found: npt.NDArray[np.bool_] = right & (state == _FINAL)
        return found

    def draw(
        self, count: int, random: np.random.Generator, *, shortest: int | None = None, longest: int = WIDTH
    ) -> Tokens:
        """Different strings as tokens [count, WIDTH], each step taken with probability 1/2.

        Strings that are shorter, longer, or already there are drawn anew, so that short ones, of which there are few,
        are rarer than in single draws.

        Args:
            count: how many.
            random: where the numbers come from.
            shortest: fewest letters; None for what is usual for the grammar.
            longest: most letters.

        Raises:
            SettingError: no count, lengths that no string has, or fewer strings of these lengths than asked for.
        """
        least = self.shortest if shortest is None else shortest
        if count < 1 or not 1 <= least <= longest <= WIDTH:
            raise SettingError(
                f"{count} strings of {least} to {longest} letters: take at least one string and "
                f"1 <= shortest <= longest <= {WIDTH}"
            )
        named, ends = self.arrays
        found = np.zeros((0, WIDTH), np.int64)
        while len(found) < count:
            new = walk(named, ends, _DRAWN, random)
            sizes = lengths(new)
            new = new[(sizes >= least) & (sizes <= longest)]
            merged = different(np.vstack([found, new]))
            if len(merged) == len(found):
                raise SettingError(
                    f"{self.name} has only about {len(found):,} strings of {least} to {longest} letters, and "
                    f"{count:,} are asked for: allow longer ones, or take fewer"
                )
            found = merged
        return found[:count]


def walk(named: Tokens, ends: Tokens, count: int, random: np.random.Generator) -> Tokens:
    """So many strings [count, WIDTH] of a table; those that do not end in time are left empty.

    Args:
        named: tokens of the two steps of each state, [states, 2] or for each string [count, states, 2].
        ends: states [states, 2] that they lead to.
        count: strings.
        random: where the numbers come from.
    """
    found, state = np.zeros((count, WIDTH), np.int64), np.zeros(count, np.int64)
    going = np.arange(count)
    for place in range(WIDTH):
        step = random.integers(2, size=len(going))
        found[going, place] = named[state, step] if named.ndim == 2 else named[going, state, step]
        state = ends[state, step]
        going, state = going[state != _FINAL], state[state != _FINAL]
        if not len(going):
            break
    found[going] = 0
    return found


def different(tokens: Tokens) -> Tokens:
    """The rows without repetitions, in the order in which they first appear."""
    rows = np.ascontiguousarray(tokens.astype(np.uint8)).view(np.dtype((np.void, tokens.shape[1]))).ravel()
    _, first = np.unique(rows, return_index=True)
    return tokens[np.sort(first)]


def _inner(first: int, end: int) -> list[tuple[Step, ...]]:
    """The states of the plain grammar, numbered from `first`, between whose B and E it lies; E leads to `end`."""
    a = first + 1
    steps: Sequence[Sequence[Step]] = (
        (("B", a),),
        (("T", a + 1), ("P", a + 2)),
        (("S", a + 1), ("X", a + 3)),
        (("T", a + 2), ("V", a + 4)),
        (("X", a + 2), ("S", a + 5)),
        (("P", a + 3), ("V", a + 5)),
        (("E", end),),
    )
    return [tuple(pair) for pair in steps]


PLAIN = Grammar("reber", tuple(_inner(0, _FINAL)), 11)
"""Reber's grammar; the strings of the study of sparse recurrent networks have 11 letters or more (arXiv 2107.12917)."""

EMBEDDED = Grammar(
    "embedded reber",
    (
        (("B", 1),),
        (("T", 2), ("P", 9)),
        *_inner(2, 16),
        *_inner(9, 17),
        (("T", 18),),
        (("P", 18),),
        (("E", _FINAL),),
    ),
    15,
)
"""The embedded grammar; the plain string in the middle has 11 letters or more as well."""

GRAMMARS = {one.name: one for one in (PLAIN, EMBEDDED)}
"""By name."""

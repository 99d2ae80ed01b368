"""Strings that are not of a grammar, from easy to hard to tell apart from its own."""

import numpy as np
import numpy.typing as npt

from bayesprune.data.reber.grammar import Grammar, different, walk
from bayesprune.data.reber.letters import LETTERS, VOCABULARY, WIDTH, Tokens, lengths, token
from bayesprune.errors import SettingError

_CHANGED = 3
"""At most so many steps of a table are altered."""
_TRIES = 200


def random_letters(grammar: Grammar, count: int, lengths_of: Tokens, random: np.random.Generator) -> Tokens:
    """Strings [count, WIDTH] that begin with B, end with E, and have any letters from A to Z between.

    Args:
        grammar: of which they are not.
        count: how many.
        lengths_of: numbers of letters [M], all 2 or more, from which theirs are drawn.
        random: where the numbers come from.
    """
    found = random.integers(1, len(LETTERS) + 1, size=(2 * count + 10, WIDTH))
    sizes = random.choice(lengths_of, len(found))
    found[:, 0], found[np.arange(len(found)), sizes - 1] = token("B"), token("E")
    found[np.arange(WIDTH) >= sizes[:, None]] = 0
    return _enough(found[~grammar.accepted(found)], count, grammar, "random letters")


def altered_transitions(
    grammar: Grammar, count: int, random: np.random.Generator, *, shortest: int | None = None, longest: int = WIDTH
) -> Tokens:
    """Strings [count, WIDTH], each of its own altered grammar: one to three steps have another letter of it.

    Args:
        grammar: of which they are not; the steps with B and E stay.
        count: how many.
        random: where the numbers come from.
        shortest: fewest letters; None for what is usual for the grammar.
        longest: most letters.
    """
    named, ends = grammar.arrays
    least = grammar.shortest if shortest is None else shortest
    fixed = {token("B"), token("E")}
    states, steps = np.nonzero(~np.isin(named, list(fixed)))
    single = ends[:, 0] == ends[:, 1]
    letters = np.array([token(letter) for letter in grammar.letters if token(letter) not in fixed])
    parts: list[Tokens] = []
    for _ in range(_TRIES):
        size = 2 * count + 100
        tables = np.repeat(named[None], size, axis=0)
        changes = random.integers(1, _CHANGED + 1, size=size)
        for number in range(_CHANGED):
            rows = np.nonzero(changes > number)[0]
            place, letter = random.integers(len(states), size=len(rows)), random.choice(letters, len(rows))
            tables[rows, states[place], steps[place]] = letter
            alone = single[states[place]]  # both entries of a state with a single step are that step
            tables[rows[alone], states[place][alone]] = letter[alone, None]
        new = walk(tables, ends, size, random)
        sizes = lengths(new)
        parts.append(new[(sizes >= least) & (sizes <= longest) & ~grammar.accepted(new)])
        if sum(map(len, parts)) >= count:
            break
    return _enough(np.vstack(parts), count, grammar, f"altered transitions of {least} to {longest} letters")


def hard_negatives(grammar: Grammar, positives: Tokens, count: int, random: np.random.Generator) -> Tokens:
    """Strings [count, WIDTH] with one letter of a right string replaced, in which every pair of neighbours is legal.

    Args:
        grammar: of which they are not.
        positives: its strings [N, WIDTH], taken in turn.
        count: how many.
        random: where the numbers come from.

    Raises:
        SettingError: so many cannot be had from these strings.
    """
    legal = legal_pairs(grammar)
    parts: list[Tokens] = []
    letters = np.array([token(letter) for letter in grammar.letters])
    for _ in range(_TRIES):
        new = positives[random.permutation(len(positives))]
        rows, sizes = np.arange(len(new)), lengths(new)
        place = random.integers(1, sizes - 1)
        letter = letters[random.integers(len(letters), size=len(new))]
        fits = legal[new[rows, place - 1], letter] & legal[letter, new[rows, place + 1]]
        new[rows, place] = letter
        parts = [different(np.vstack([*parts, new[fits & ~grammar.accepted(new)]]))]
        if len(parts[0]) >= count:
            break
    return _enough(parts[0], count, grammar, "one replaced letter")


def legal_pairs(grammar: Grammar) -> npt.NDArray[np.bool_]:
    """[27, 27], whether the second token follows the first in some string of the grammar."""
    found = np.zeros((VOCABULARY, VOCABULARY), np.bool_)
    for steps in grammar.table:
        for letter, state in steps:
            for after, _ in grammar.table[state] if state >= 0 else ():
                found[token(letter), token(after)] = True
    return found


def _enough(found: Tokens, count: int, grammar: Grammar, what: str) -> Tokens:
    if len(found) < count:
        raise SettingError(
            f"only {len(found):,} strings by {what} that are not of {grammar.name}, and {count:,} are asked for: take "
            "fewer, or allow longer strings"
        )
    return found[:count]

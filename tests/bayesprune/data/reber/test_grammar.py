import re

import numpy as np
import pytest

from bayesprune.data.reber import EMBEDDED, GRAMMARS, PADDING, PLAIN, WIDTH, Grammar, decode, encode
from bayesprune.errors import DataError, SettingError

# The grammar written as a regular expression by hand, independent of the tables. M stands for what follows state 2:
# T* V (P X T* V)* then V, or P S; from state 3: S, or X and M.
_M = "T*V(?:PXT*V)*(?:V|PS)"
_PLAIN = f"B(?:TS*X(?:S|X{_M})|P{_M})E"
EXPRESSIONS = {"reber": re.compile(_PLAIN), "embedded reber": re.compile(f"B(?:T{_PLAIN}T|P{_PLAIN}P)E")}


@pytest.mark.parametrize("grammar", GRAMMARS.values(), ids=GRAMMARS.keys())
def test_strings_are_those_of_the_regular_expression(grammar: Grammar) -> None:
    random = np.random.default_rng(0)
    tokens = grammar.draw(2_000, random)
    strings = decode(tokens)
    assert tokens.shape == (2_000, WIDTH) and len(set(strings)) == 2_000
    assert min(map(len, strings)) >= grammar.shortest
    assert all(EXPRESSIONS[grammar.name].fullmatch(string) and grammar.accepts(string) for string in strings)
    assert grammar.accepted(tokens).all()
    changed = tokens.copy()
    rows = np.arange(2_000)
    changed[rows, random.integers(1, 10, 2_000)] = random.integers(1, 27, 2_000)
    expected = [EXPRESSIONS[grammar.name].fullmatch(string) is not None for string in decode(changed)]
    assert 0 < sum(expected) < 500
    assert grammar.accepted(changed).tolist() == expected == [grammar.accepts(string) for string in decode(changed)]


@pytest.mark.parametrize(
    ("string", "right"),
    [("BTXSE", True), ("BPVVE", True), ("BTSSXXTVVE", True), ("BPTVPSE", True), ("BTXSEE", False), ("BTXS", False),
     ("TXSE", False), ("BTTE", False), ("B", False), ("BTXSEB", False)],
)  # fmt: skip
def test_strings_by_hand(string: str, right: bool) -> None:
    assert PLAIN.accepts(string) is right
    assert PLAIN.accepted(encode([string]))[0] == right
    for outer in "TP":
        assert EMBEDDED.accepts(f"B{outer}{string}{outer}E") is right
        assert not EMBEDDED.accepts(f"BT{string}PE")


def test_steps_are_taken_with_equal_probability() -> None:
    """Of all strings B T S^k X S E has probability 2^-(k + 3): the lengths 5, 6, 7 of such strings halve each time."""
    random = np.random.default_rng(3)
    from bayesprune.data.reber.grammar import walk

    strings = decode(walk(*PLAIN.arrays, 40_000, random)[:, :])
    for k in range(4):
        share = strings.count(f"BT{'S' * k}XSE") / len(strings)
        law = 2.0 ** -(k + 3)
        assert abs(share - law) < 5 * (law * (1 - law) / len(strings)) ** 0.5


def test_asking_for_more_strings_than_there_are_is_refused() -> None:
    short = PLAIN.draw(2, np.random.default_rng(0), shortest=5, longest=5)
    assert sorted(decode(short)) == ["BPVVE", "BTXSE"]
    with pytest.raises(SettingError, match="only about 2 strings of 5 to 5 letters, and 3 are asked for"):
        PLAIN.draw(3, np.random.default_rng(0), shortest=5, longest=5)
    for wrong in ({"shortest": 0}, {"longest": WIDTH + 1}, {"shortest": 20, "longest": 19}):
        with pytest.raises(SettingError, match="take at least one string"):
            PLAIN.draw(1, np.random.default_rng(0), **wrong)


def test_tokens_there_and_back() -> None:
    tokens = encode(["BTXSE", "AZ"], width=6)
    assert tokens.tolist() == [[2, 20, 24, 19, 5, PADDING], [1, 26, 0, 0, 0, 0]]
    assert decode(tokens) == ["BTXSE", "AZ"]
    assert encode(["ABC"], width=None).tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("strings", "message"),
    [
        (["BTXSE", "BTxSE"], "string 1, 'BTxSE': the letter 'x' is unknown"),
        (["BT SE"], "the letter ' ' is unknown"),
        (["BTXSE", ""], "string 1 has 0 letters: 1 to 60"),
        (["B" * 61], "string 0 has 61 letters: 1 to 60 are possible; leave it out, or give width=61"),
        ([], "no strings"),
    ],
)
def test_strings_that_are_refused(strings: list[str], message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        encode(strings)


def test_other_bad_strings_and_tokens() -> None:
    with pytest.raises(DataError, match="length 0"):
        PLAIN.accepts("")
    with pytest.raises(DataError, match="letter '1' is unknown"):
        PLAIN.accepts("B1")
    for tokens, message in (([[27]], "from 0 to 26"), ([[0, 0]], "no letters"), ([[1, 0, 2]], "before a letter")):
        with pytest.raises(DataError, match=message):
            decode(np.array(tokens))

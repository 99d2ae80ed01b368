"""What JSON can hold, and what is refused by name."""

import math
from typing import Any

import numpy as np
import pytest

from bayesprune.store.json_values import parse_json, plain_json


def test_plain_values_pass_and_tuples_become_lists() -> None:
    value = {"a": (1, 2.5, None), "b": {"c": [True, "x"]}}
    assert plain_json(value) == {"a": [1, 2.5, None], "b": {"c": [True, "x"]}}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_refused_or_become_null(bad: float) -> None:
    assert plain_json({"a": [bad, 1.0]}, non_finite_as_null=True) == {"a": [None, 1.0]}
    with pytest.raises(ValueError, match=r"key 'a\[0\]' is"):
        plain_json({"a": [bad]})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": {"b": {1, 2}}}, "key 'a.b' is a set"),
        ({"a": [b"x"]}, r"key 'a\[0\]' is a bytes"),
        ({"n": np.int64(3)}, "key 'n' is an int64"),
        ({"a": {1: 2}}, "key 'a' has the key 1: keys must be text"),
        (object(), "the value is an object"),
    ],
)
def test_what_json_cannot_hold_is_named(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plain_json(value)


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "-Infinity", "1e999", "[1,", "", "[" * 100_000, b"\xff"])
def test_texts_that_are_not_json_are_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the standard library's own message
        parse_json(text)

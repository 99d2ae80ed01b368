"""Limits of what a stored run may hold: both ends belong to it. A perfect accuracy is one that can be kept."""

import pytest

from bayesprune.store.checks import Check, Fault, integer, number


@pytest.mark.parametrize("check", [number(0, 1), integer(0, 1)])
def test_both_ends_of_a_span_are_allowed(check: Check) -> None:
    for value in (0, 1):
        check(value, "result.accuracy")
    for value in (-1, 2):
        with pytest.raises(Fault):
            check(value, "result.accuracy")


@pytest.mark.parametrize("check", [number(3), integer(3)])
def test_without_an_upper_end_only_the_lower_one_counts(check: Check) -> None:
    check(3, "key")
    check(10**9, "key")
    with pytest.raises(Fault):
        check(2, "key")

"""Limits of settings: which ends are allowed, by the checks that every setting and option goes through."""

from math import inf, nan

import pytest

from bayesprune.errors import SettingError
from bayesprune.run.settings import check_integer, check_number


@pytest.mark.parametrize("low_allowed", [False, True])
def test_a_number_may_be_the_upper_limit_and_the_lower_one_if_allowed(low_allowed: bool) -> None:
    for value in (0.5, 1.0, None, *([0.0] if low_allowed else [])):
        check_number("share", value, 0.0, 1.0, low_allowed=low_allowed)
    for value in (-0.1, 1.1, nan, inf, -inf, *([] if low_allowed else [0.0])):
        with pytest.raises(SettingError, match=f"share must be a finite number .* and <= 1, not {value}"):
            check_number("share", value, 0.0, 1.0, low_allowed=low_allowed)
    check_number("rate", 1e300, 0.0)
    with pytest.raises(SettingError, match="rate must be a finite number > 0, not inf"):
        check_number("rate", inf, 0.0)


def test_an_integer_may_be_either_limit() -> None:
    for value in (2, 3, 4):
        check_integer("rounds", value, 2, 4)
    for value in (1, 5):
        with pytest.raises(SettingError, match=f"rounds must be an integer >= 2 and <= 4, not {value}"):
            check_integer("rounds", value, 2, 4)
    check_integer("rounds", 10**9, 2)
    for wrong in (True, 2.0, "2"):
        with pytest.raises(SettingError, match="rounds must be an integer >= 1"):
            check_integer("rounds", wrong, 1)  # type: ignore[arg-type]  # refused on purpose

"""Shares by layer as they are written: one form, whatever the words."""

from typing import Any

import pytest

from bayesprune.errors import BudgetError
from bayesprune.run.settings import RunSettings
from bayesprune.run.shares import as_text, is_table, shares_of


@pytest.mark.parametrize(
    "given",
    [
        {"conv1": 0.5, "fc1": "10%"}, {"fc1": 0.1, "conv1": "50 %"}, {"fc1": "0.1", "conv1": 0.5},
        "conv1=50%,fc1=10%", " fc1 = 0.1 , conv1=.5", "conv1=0.5,fc1=0.1",
    ],
)  # fmt: skip
def test_equal_tables_are_one_setting(given: Any) -> None:
    assert is_table(given) and shares_of("budget", given) == {"conv1": 0.5, "fc1": 0.1}
    settings = RunSettings("l1-units", budget=given)
    assert settings.budget == "conv1=0.5,fc1=0.1" == as_text({"conv1": 0.5, "fc1": 0.1})
    assert RunSettings.from_json(settings.to_json()) == settings
    assert RunSettings("magnitude", density=given).density == "conv1=0.5,fc1=0.1"


@pytest.mark.parametrize("given", ["macs=150k", "MACS = 10%", "params=5", "", "0.5", 0.5, None])
def test_one_size_is_no_table(given: Any) -> None:
    assert not is_table(given)


@pytest.mark.parametrize(
    "given",
    [
        {}, {"a": 0}, {"a": 1.5}, {"a": "120%"}, {"a": -0.1}, {"a": True}, {"a": None}, {"a": "x"}, {"a": float("nan")},
        {"": 0.5}, "a=0.5,a=0.4", "a=0.5,b", "a=0.5,", "a=",
    ],
)  # fmt: skip
def test_what_is_no_share_is_refused(given: Any) -> None:
    for size in ("budget", "density"):
        with pytest.raises(BudgetError, match=f"{size} .*: write .*for each layer a share above 0 and at most 1"):
            RunSettings("l1-units", **{size: given})


def test_names_with_dots_and_equals_signs_keep_them() -> None:
    assert shares_of("budget", "features.0=50%") == {"features.0": 0.5}
    assert shares_of("budget", {"layer1.0.conv1": "12.5%"}) == {"layer1.0.conv1": 0.125}


@pytest.mark.parametrize(("given", "expected"), [("0.3", 0.3), (0.3, 0.3), (1, 1.0)])
def test_one_density_is_a_number(given: Any, expected: float) -> None:
    assert RunSettings("magnitude", density=given).density == expected

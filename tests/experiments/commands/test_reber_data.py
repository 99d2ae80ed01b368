"""`bayesprune data reber...`: what the strings are, and what rules without a network tell apart."""

import json
from typing import Any

import pytest

from bayesprune.data.reber import sets


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets of 700 strings."""
    draw = sets.ReberSet.draw
    monkeypatch.setattr(sets.ReberSet, "draw", lambda one, seed, sizes=(400, 100, 200): draw(one, seed, sizes))


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("name", ["reber", "reber-hard@2"])
def test_the_rules_stand_below_the_sizes(command: Any, name: str) -> None:
    outcome = command("data", name)
    assert outcome.status == 0, outcome.err
    first, second, *rules = outcome.out.splitlines()
    assert first == f"{name}: 400 train, 100 validation, 200 test; inputs 60, 2 classes"
    assert second.startswith("right on the test strings without a network") and len(rules) == 7
    assert all(rule.endswith(" %") for rule in rules)
    found = json.loads(command("data", name, "--json").out)
    assert list(found["baselines"]) == [rule.rsplit(maxsplit=2)[0].strip() for rule in rules]
    assert 0.4 < found["baselines"]["length alone"] <= 1


def test_strings_of_the_study_say_where_they_go(command: Any) -> None:
    assert "not here, and it has no download: its files go into" in command("data").out
    outcome = command("data", "reber-study")
    assert outcome.status == 2 and "reber/train_data.csv, reber/test_data.csv" in outcome.err

"""Budgets as people write them."""

import pytest

from bayesprune.errors import BudgetError
from bayesprune.run.budget import Budget


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("macs=150k", ("macs", 150_000, False)), ("params=40000", ("params", 40_000, False)),
        ("macs=10%", ("macs", 0.1, True)), ("MACS = 1.5M", ("macs", 1.5e6, False)),
        (" params = 100 % ", ("params", 1.0, True)), ("macs=2e5", ("macs", 2e5, False)),
        ("macs=0.5", ("macs", 0.5, False)),
    ],
)  # fmt: skip
def test_what_can_be_written(text: str, expected: tuple[str, float, bool]) -> None:
    budget = Budget.parse(text)
    assert (budget.kind, budget.relative) == (expected[0], expected[2])
    assert budget.amount == pytest.approx(expected[1])


@pytest.mark.parametrize(
    "text",
    ["", "macs", "macs=", "150k", "flops=10%", "macs=10%%", "macs=-5", "macs=0", "macs=0%", "macs=100.1%", "macs=k",
     "macs=1.2.3", "macs=.", "macs=nan", "macs=inf", "macs=10 giga", "params=5%,macs=5%"],
)  # fmt: skip
def test_what_cannot(text: str) -> None:
    with pytest.raises(BudgetError, match="write macs=150k, params=40000 or macs=10%") as caught:
        Budget.parse(text)
    assert repr(text) in str(caught.value)


def test_limits() -> None:
    assert Budget.parse("macs=10%").limit(266_200, 266_610) == pytest.approx(26_620, abs=1e-6)
    assert Budget.parse("params=10%").limit(266_200, 266_610) == 26_661
    assert Budget.parse("macs=150k").limit(266_200, 266_610) == 150_000
    # A share is of whole numbers: 29 % of 100 is 29 and not 28.999999999999996.
    assert Budget.parse("macs=29%").limit(100, 0) == 29


def test_what_counts() -> None:
    assert Budget.parse("macs=1").spent(7, 8) == 7
    assert Budget.parse("params=1").spent(7, 8) == 8

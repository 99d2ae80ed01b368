"""Budgets as people write them."""

import numpy as np
import pytest
import torch

from bayesprune.errors import BudgetError, SettingError
from bayesprune.run.budget import Budget, budgets_text, parse_budgets
from bayesprune.run.settings import RunSettings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("macs=150k", ("macs", 150_000, False)), ("params=40000", ("params", 40_000, False)),
        ("macs=10%", ("macs", 0.1, True)), ("MACS = 1.5M", ("macs", 1.5e6, False)),
        (" params = 100 % ", ("params", 1.0, True)), ("macs=2e5", ("macs", 2e5, False)),
        ("macs=0.5", ("macs", 0.5, False)), ("latency=2ms", ("latency", 2.0, False)),
        ("Latency = 500 us", ("latency", 0.5, False)), ("latency=0.01s", ("latency", 10.0, False)),
        ("latency=50%", ("latency", 0.5, True)),
    ],
)  # fmt: skip
def test_what_can_be_written(text: str, expected: tuple[str, float, bool]) -> None:
    budget = Budget.parse(text)
    assert (budget.kind, budget.relative) == (expected[0], expected[2])
    assert budget.amount == pytest.approx(expected[1])


@pytest.mark.parametrize(
    "text",
    ["", "macs", "macs=", "150k", "flops=10%", "macs=10%%", "macs=-5", "macs=0", "macs=0%", "macs=100.1%", "macs=k",
     "macs=1.2.3", "macs=.", "macs=nan", "macs=inf", "macs=10 giga", "params=5%,macs=5%", "latency=2",
     "latency=2k", "macs=5ms", "latency=101%", "latency=0ms"],
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
    assert Budget.parse("latency=1ms").spent(7, 8, 9.5) == 9.5


@pytest.mark.parametrize(
    "given",
    ["params=5%, MACS=10 %", ["params=5%", "macs=10%"], ("macs=0.1e2%,params=5.0%",), "macs=10%,params=5%"],
)
def test_several_budgets_have_one_form(given: str | list[str]) -> None:
    assert budgets_text(given) == "macs=10%,params=5%"
    assert parse_budgets(given) == (Budget("macs", 0.1, True), Budget("params", 0.05, True))
    settings = RunSettings("parsimonious", budget=given)  # type: ignore[arg-type]  # a list is made into text
    assert settings.budget == "macs=10%,params=5%"
    assert RunSettings.from_json(settings.to_json()) == settings
    assert budgets_text("latency=500us,macs=1k") == "macs=1000,latency=0.5ms"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"macs": 0.5}, "macs=50%"), ({"params": "5%", "macs": 150_000}, "macs=150000,params=5%"),
        ({"MACS": 1}, "macs=100%"), ({"macs": 0.07, "latency": "2ms"}, "macs=7%,latency=2ms"),
        ({"params": 2.0}, "params=2"), ({" macs": 0.1}, "macs=10%"),
        *(({"macs": one}, "macs=10%") for one in (np.float64(0.1), np.float32(0.1), torch.tensor(0.1))),
    ],
)  # fmt: skip
def test_a_table_of_costs_is_several_budgets(given: dict[str, object], text: str) -> None:
    """Numbers up to 1 are shares, as in tables by layer."""
    assert budgets_text(given) == text == RunSettings("l1-units", budget=given).budget  # type: ignore[arg-type]  # made into text


@pytest.mark.parametrize(
    "given",
    [{"macs": 0}, {"macs": -1}, {"macs": None}, {"macs": True}, {"macs": "x"}, {"macs": 0.5, "fc1": 0.1}],
)
def test_a_table_that_says_no_budget_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(BudgetError, match="write macs=150k"):
        RunSettings("l1-units", budget=given)  # type: ignore[arg-type]  # a table is made into text


def test_a_latency_in_a_table_has_a_unit() -> None:
    with pytest.raises(BudgetError, match="a latency has a unit, write {'latency': '2ms'} or '50%'"):
        RunSettings("l1-units", budget={"latency": 0.5})  # type: ignore[arg-type]  # a table is made into text


@pytest.mark.parametrize("text", ["macs=10%,macs=5%", "macs=10%,", "macs=10%,conv1=50%", "macs=10%;params=5%"])
def test_what_cannot_stand_together(text: str) -> None:
    with pytest.raises(BudgetError, match="several at once") as caught:
        RunSettings("parsimonious", budget=text)
    assert repr(text) in str(caught.value)


def test_a_list_holds_text() -> None:
    with pytest.raises(SettingError, match="each entry of budget must be one of the budgets, not 10"):
        RunSettings("parsimonious", budget=[10])  # type: ignore[arg-type]  # on purpose

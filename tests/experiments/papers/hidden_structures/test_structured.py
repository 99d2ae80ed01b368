"""Channels beside the Bayesian method: sizes come from it, allocations from validation data."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from bayesprune.experiments.jobs import phase_steps
from bayesprune.experiments.number_format import MISSING
from bayesprune.experiments.papers import paper
from bayesprune.experiments.papers.hidden_structures.structured_runs import (
    BASES,
    CHOSEN,
    METHODS,
    allocations,
    structured_rows,
)
from bayesprune.experiments.papers.hidden_structures.structured_tables import chosen, structured_section
from bayesprune.experiments.papers.rows import Row, RowRuns
from bayesprune.store.runs import RunRecord

MakeStudy = Callable[..., list[RowRuns]]
ROWS = {(row.factor, row.value): row for row in structured_rows()}


def with_validation(one: RowRuns, error: float) -> RowRuns:
    """A row whose runs end at a validation error in percent."""
    for run in one.records:
        run.history[-1]["validation_accuracy"] = 1 - error / 100
    return one


def test_both_sides_have_the_same_data_and_epochs_and_the_others_their_size_from_the_bayesian_runs() -> None:
    for network, base in BASES.items():
        rows = [row for row in ROWS.values() if row.network == network]
        assert {(row.settings.data, row.settings.epochs) for row in rows} == {(base.data, base.epochs)}
        ours = [row for row in rows if row.settings.method == "parsimonious"]
        assert [(row.match, row.seeds) for row in ours] == [(None, tuple(range(5 if network == "lenet300" else 3)))]
        assert {row.match for row in rows if row not in ours} == {"parsimonious"}
        assert {row.settings.method for row in rows} - {"parsimonious"} == set(METHODS)


@pytest.mark.parametrize("network", sorted(BASES))
def test_all_allocations_are_tried_and_allowed(network: str) -> None:
    for method in METHODS:
        tried = [row for row in ROWS.values() if row.network == network and row.settings.method == method]
        missing = {"class-blind"} if method == "random" else set()
        assert {row.value for row in tried} == {f"{method}, {name}" for name in allocations(network).keys() - missing}
        for row in tried[-1:]:
            assert sum(phase_steps(row.on("mnist5k").jobs()[0]).values()) > 0


def test_the_chosen_allocations_have_the_seeds_of_the_bayesian_runs() -> None:
    for (network, method), name in CHOSEN.items():
        ours = ROWS[f"structured: {network}", "parsimonious"]
        assert ROWS[f"structured: {network}", f"{method}, {name}"].seeds == ours.seeds


def rows_of(*values: str) -> list[Row]:
    """Rows of LeNet-300-100 with three seeds."""
    return [replace(ROWS["structured: lenet300", value], seeds=(0, 1, 2)) for value in values]


def test_the_allocation_is_chosen_by_validation_and_compared_seed_by_seed(make_study: MakeStudy) -> None:
    def outcome(row: Row, seed: int) -> tuple[float, ...]:
        return (1.5 + 0.1 * seed if row.value == "parsimonious" else 1.8 + 0.2 * seed, 20_000 - seed)

    rows = rows_of("parsimonious", "l1-units, class-uniform", "l1-units, class-blind")
    ours, uniform, blind = make_study(rows, outcome)
    found = [ours, with_validation(uniform, 2.0), with_validation(blind, 1.9)]
    best = chosen("lenet300", "l1-units", found)
    assert best is not None and best.row.value == "l1-units, class-blind"
    section = structured_section(found)
    assert section is not None
    result, choice = section.tables
    assert result.rows[0] == ("parsimonious", "3", "19,999 (19,998 to 20,000)", "1.60 ± 0.10", MISSING)
    assert [row[0] for row in result.rows[1:]] == ["l1-units, class-blind"]
    # Differences .3, .4, .5: mean .4, interval .4 -+ 4.303 x .1 / sqrt(3).
    assert result.rows[1][1:] == ("3", "19,999 (19,998 to 20,000)", "2.00 ± 0.20", "+0.40 (0.15 to 0.65)")
    assert [row[:2] for row in choice.rows] == [("l1-units, class-uniform", "2.00"), ("l1-units, class-blind", "1.90")]


def test_without_bayesian_runs_there_is_no_difference(make_study: MakeStudy) -> None:
    (only,) = make_study(rows_of("random, class-uniform"))
    section = structured_section([only])
    assert section is not None and section.tables[0].rows[0][-1] == MISSING
    assert structured_section([]) is None


def test_the_page_has_the_section(make_study: MakeStudy) -> None:
    found = make_study(rows_of("parsimonious", "taylor, class-blind"))
    text = paper("hidden-structures").evaluate(found).document.markdown()
    assert "Channels, beside the Bayesian method" in text and "taylor, class-blind" in text
    runs: list[RunRecord] = [run for one in found for run in one.records]
    assert {run.settings["network"] for run in runs} == {"lenet300"}

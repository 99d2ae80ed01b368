"""The verdict: who is compared, what it cost, and that unequal sizes are never set side by side as equals."""

from collections.abc import Callable
from typing import Any

import pytest

from bayesprune.experiments.verdict import verdict_of
from bayesprune.store.runs import RunRecord

MakeRun = Callable[..., RunRecord]
SEEDS = 4


def runs_of(make_run: MakeRun, method: str, accuracy: float, macs: int, **given: Any) -> list[RunRecord]:
    """Runs of a method whose accuracies are this one, a thousandth more or less."""
    seeds: range = given.pop("seeds", range(SEEDS))
    given = {"params": macs + 50} | given
    return [make_run(method, seed, accuracy=accuracy + (-1) ** seed / 1000, macs=macs, **given) for seed in seeds]


def study(make_run: MakeRun) -> list[RunRecord]:
    """Dense, ours, and three rivals of which random is the best at no more cost."""
    return [
        *runs_of(make_run, "dense", 0.96, 10_000),
        *runs_of(make_run, "parsimonious", 0.94, 1000),
        *runs_of(make_run, "l1-units", 0.85, 990),
        *runs_of(make_run, "random", 0.87, 980),
        *runs_of(make_run, "magnitude", 0.95, 10_000),
    ]


def test_the_strongest_rival_at_no_more_cost_is_named_with_its_size(make_run: MakeRun) -> None:
    # Error rates .06 and .13: the images alone give 1.96 sqrt(.095 / 1000) + .001 = .0201 on either side.
    sentence = verdict_of(study(make_run))
    assert sentence.startswith(
        "parsimonious beats random by 7.0 points of accuracy (95 % interval 5.0 to 9.0, 4 seeds). random is the most "
        "accurate of 2 rivals that take no more MACs: 980 MACs and 1,030 parameters against 1,000 and 1,050."
    )
    assert "l1-units" not in sentence


def test_what_pruning_cost_is_told(make_run: MakeRun) -> None:
    # Dense has 10,000 MACs and 10,050 parameters; .06 and .04 give 1.96 sqrt(.05 / 1000) + .001 = .0149.
    assert (
        "Against dense, parsimonious loses 2.0 points of accuracy (95 % interval 0.5 to 3.5, 4 seeds); it keeps 10 % "
        "of the MACs and 10.4 % of the parameters." in verdict_of(study(make_run))
    )
    small = [*runs_of(make_run, "dense", 0.935, 10_000), *study(make_run)[SEEDS:]]
    assert "parsimonious gains 0.5 points of accuracy (95 % interval -1.1 to 2.1, 4 seeds, which may be chance)" in (
        verdict_of(small)
    )
    equal = [*runs_of(make_run, "dense", 0.94, 10_000), *study(make_run)[SEEDS:]]
    assert "parsimonious has the same accuracy (95 % interval" in verdict_of(equal)
    assert "No dense run has the settings and seeds of parsimonious" in verdict_of(study(make_run)[SEEDS:])


def test_a_larger_network_that_is_better_is_told_and_called_no_equal(make_run: MakeRun) -> None:
    assert verdict_of(study(make_run)).endswith(
        "magnitude is 1.0 points more accurate (95 % interval -0.6 to 2.6, 4 seeds), but it is no equal: it takes "
        "10,000 MACs, 10 times as many."
    )
    without = [run for run in study(make_run) if run.result["method"] != "magnitude"]
    assert "no equal" not in verdict_of(without)


def test_a_much_smaller_rival_that_is_worse_is_not_compared(make_run: MakeRun) -> None:
    ours = runs_of(make_run, "parsimonious", 0.94, 976_000)
    small = runs_of(make_run, "l1-units", 0.90, 575_000)
    sentence = verdict_of([*ours, *small])
    assert "beats" not in sentence and "accuracies are not compared" in sentence
    assert "l1-units: 575,000 MACs and 575,050 parameters against 976,000 and 976,050." in sentence
    larger = runs_of(make_run, "random", 0.93, 1_500_000)
    assert "The nearest is l1-units" in verdict_of([*ours, *small, *larger])


@pytest.mark.parametrize(("macs", "compared"), [(799, False), (800, True), (1000, True), (1001, False)])
def test_how_near_in_size_a_rival_must_be(make_run: MakeRun, macs: int, compared: bool) -> None:
    runs = [*runs_of(make_run, "parsimonious", 0.94, 1000), *runs_of(make_run, "random", 0.80, macs)]
    assert ("parsimonious beats random" in verdict_of(runs)) == compared


def test_a_much_smaller_rival_that_is_better_wins(make_run: MakeRun) -> None:
    runs = [*runs_of(make_run, "parsimonious", 0.90, 976), *runs_of(make_run, "l1-units", 0.94, 575)]
    assert verdict_of(runs).startswith("l1-units beats parsimonious by 4.0 points of accuracy")
    assert "l1-units takes no more MACs: 575 MACs and 625 parameters against 976 and 1,026." in verdict_of(runs)


def test_a_rival_with_fewer_seeds_does_not_stand_in_front(make_run: MakeRun) -> None:
    lucky = runs_of(make_run, "taylor", 0.99, 990, seeds=range(1))
    assert verdict_of([*study(make_run), *lucky]).startswith("parsimonious beats random")
    assert verdict_of([*study(make_run)[SEEDS : 2 * SEEDS], *lucky]).startswith(
        "taylor is 5.0 points of accuracy above parsimonious, but one seed decides nothing: run at least 3."
    )


def test_only_runs_of_as_many_epochs_on_the_same_data_are_compared(make_run: MakeRun) -> None:
    ours = runs_of(make_run, "parsimonious", 0.94, 1000)
    for other in ({"epochs": 20}, {"data": "mnist"}, {"network": "lenet5"}, {"seeds": range(7, 9)}):
        sentence = verdict_of([*ours, *runs_of(make_run, "random", 0.8, 990, **other)])
        assert sentence.startswith(
            "There is no other method to compare parsimonious with on the same settings and seeds."
        )


def test_of_several_settings_the_one_with_a_rival_is_compared(make_run: MakeRun) -> None:
    lone = runs_of(make_run, "parsimonious", 0.97, 5000, settings={"price": 1.0})
    ours = runs_of(make_run, "parsimonious", 0.94, 1000, settings={"price": 4.0})
    rival = runs_of(make_run, "random", 0.8, 990)
    sentence = verdict_of([*lone, *ours, *rival])
    assert sentence.startswith("parsimonious (price=4.0) beats random")
    assert sentence.endswith("The table has 1 more setting of parsimonious.")
    assert "more setting" not in verdict_of([*ours, *rival])


def test_without_rivals_the_best_and_the_smallest_stand_against_dense(make_run: MakeRun) -> None:
    prices = {1.0: (0.95, 4000), 2.0: (0.93, 2000), 4.0: (0.91, 1000)}
    runs = runs_of(make_run, "dense", 0.96, 10_000)
    for price, (accuracy, macs) in prices.items():
        runs += runs_of(make_run, "parsimonious", accuracy, macs, settings={"price": price})
    sentence = verdict_of(runs)
    assert "parsimonious (price=1.0) loses 1.0 points" in sentence and "keeps 40 % of the MACs" in sentence
    assert "parsimonious (price=4.0) loses 5.0 points" in sentence and "price=2.0" not in sentence


def test_without_ours_there_is_no_verdict(make_run: MakeRun) -> None:
    assert verdict_of([make_run("dense"), make_run("random")]) == (
        "2 runs of dense and random. A verdict holds parsimonious against the others, and no run here is of "
        "parsimonious."
    )

"""Curves, tables, verdicts and pictures from made-up runs, with numbers by hand."""

from collections.abc import Callable
from typing import Any

import pytest

from bayesprune.experiments.papers import paper
from bayesprune.experiments.papers.hidden_structures.curves import Step, best_of_half, smallest_within, steps
from bayesprune.experiments.papers.hidden_structures.differences import differences_table
from bayesprune.experiments.papers.hidden_structures.plots import mean_curve
from bayesprune.experiments.papers.hidden_structures.runs import LONGER
from bayesprune.experiments.papers.hidden_structures.tables import controls_table, experiment_table
from bayesprune.experiments.papers.hidden_structures.targets import blinded_and_uniform, targets
from bayesprune.experiments.papers.rows import Row, RowRuns
from bayesprune.experiments.papers.verdicts import MISSED, REACHED, UNKNOWN
from bayesprune.store.runs import RunRecord

MakeRun = Callable[..., RunRecord]
ROWS = {(row.factor, row.value): row for row in paper("hidden-structures").rows(repeats=3)}


def made(
    make_run: MakeRun,
    row: Row,
    accuracies: list[float],
    rounds: list[tuple[int, float]] | None = None,
    data: str = "mnist",
) -> RowRuns:
    """A row with one run an accuracy (in percent); rounds are (weights left, accuracy) of two epochs each."""
    records = []
    for seed, accuracy in enumerate(accuracies):
        run = make_run(row.settings.method, seed, data=data, settings={"network": row.network})
        run.result["accuracy"] = accuracy / 100
        if rounds is not None:
            entry = {**run.history[0]}
            run.history[:] = [
                entry | {"phase": f"round {n}", "weights_left": weights, "test_accuracy": value / 100}
                for n, (weights, last) in enumerate(rounds, 1)
                for value in (last - 5, last)
            ]
        records.append(run)
    return RowRuns(row, tuple(records))


def test_steps_are_the_last_epochs_of_rounds(make_run: MakeRun) -> None:
    one = made(make_run, ROWS["3: magnitude", "10,000 weights"], [90.0], [(60_000, 97.0), (30_000, 98.0), (500, 90.0)])
    (run,) = one.records
    run.history.insert(0, run.history[0] | {"phase": "train"})
    assert steps(run) == [Step(60_000, 97.0, 2), Step(30_000, 98.0, 2), Step(500, 90.0, 2)]
    assert smallest_within(run, 97.5) == 30_000 and smallest_within(run, 91.0) == 500
    assert smallest_within(run, 99.5) is None
    assert best_of_half(run, 79_400) == 98.0 and best_of_half(run, 900) is None
    assert mean_curve(one) == [(60_000, 97.0), (30_000, 98.0), (500, 90.0)]


def test_a_line_of_an_experiment(make_run: MakeRun) -> None:
    row = ROWS["1: magnitude", "70%, net 0"]
    one = made(make_run, row, [90.0, 92.0], [(23_820, 97.0), (500, 91.0)])
    table = experiment_table("1", [one], 97.5)
    assert table is not None
    (cells,) = table.rows
    assert cells[:5] == ("class-blinded", "70%, net 0", "2", "500 ± 0", "91.00 ± 1.41")
    assert cells[5:] == ("2.0 ± 0.0", "23,820 ± 0", "97.00 ± 0.00")
    assert experiment_table("1", [one], None) is not None and experiment_table("2", [one], 97.5) is None


def found_with(make_run: MakeRun, blinded: float, uniform: float, dense: float) -> list[RowRuns]:
    """Dense networks, and experiment 4 of two methods at 80 %."""
    rows = [made(make_run, ROWS["dense", f"784-100-10, net {net}"], [dense]) for net in range(3)]
    for method, level in (("magnitude", blinded), ("class-uniform", uniform)):
        rows.append(made(make_run, ROWS[f"4: {method}", "80 %"], [level - 0.1, level, level + 0.1], [(15_880, level)]))
    rows.append(made(make_run, ROWS[LONGER, "class-blinded, 80 %"], [blinded + 0.1] * 3))
    return rows


@pytest.mark.parametrize(
    ("blinded", "uniform", "dense", "verdicts"),
    [
        # dense; 50 epochs after the step and what they gain (0.1 more); until validation stalls; uniform is worse
        (97.5, 97.0, 97.0, [REACHED, REACHED, REACHED, REACHED, REACHED, REACHED]),
        (97.3, 97.3, 96.6, [MISSED, REACHED, REACHED, MISSED, REACHED, MISSED]),
        (97.4, 97.0, 97.31, [MISSED, REACHED, MISSED, REACHED, MISSED, REACHED]),
        (97.25, 97.0, 96.8, [REACHED, MISSED, REACHED, MISSED, REACHED, REACHED]),
    ],
)
def test_verdicts(make_run: MakeRun, blinded: float, uniform: float, dense: float, verdicts: list[str]) -> None:
    found = found_with(make_run, blinded, uniform, dense)
    reached = targets(found)
    assert [one.verdict for one in reached] == verdicts
    assert f"{blinded + 0.1:.2f} ± 0.00 %" in reached[1].measured
    assert f"{blinded:.2f} ± 0.10 %" in reached[3].measured
    difference = blinded_and_uniform(found)
    assert difference is not None and difference.mean == pytest.approx(blinded - uniform) and difference.n == 3


def test_what_was_not_run_has_no_verdict(make_run: MakeRun) -> None:
    dense = made(make_run, ROWS["dense", "784-100-10, net 0"], [97.0])
    assert {one.verdict for one in targets([dense])} == {UNKNOWN} and targets([]) == []
    snip = ROWS["foresight: lenet300", "snip, 5%"]
    for accuracies, verdict in (([98.2] * 3, REACHED), ([98.1] * 3, MISSED), ([98.2] * 2, UNKNOWN)):
        first, second = targets([made(make_run, snip, accuracies)])
        assert (first.verdict, second.verdict) == (verdict, UNKNOWN)


def test_other_data_give_no_verdict(make_run: MakeRun) -> None:
    rows = [made(make_run, ROWS["dense", f"784-100-10, net {net}"], [97.0], data="mnist5k") for net in range(3)]
    for method in ("magnitude", "class-uniform"):
        rows.append(made(make_run, ROWS[f"4: {method}", "80 %"], [97.4, 97.5, 97.6], [(15_880, 97.5)], "mnist5k"))
    rows.append(made(make_run, ROWS[LONGER, "class-blinded, 80 %"], [97.5] * 3, data="mnist5k"))
    reached = targets(rows)
    assert [one.verdict for one in reached] == [UNKNOWN] * 6
    assert all(one.measured == "on mnist5k, not mnist" for one in reached)


def test_differences_pair_runs_of_one_setting_and_repeat(make_run: MakeRun) -> None:
    curves = {"magnitude": [(39_700, 97.0), (500, 90.0)], "obd": [(39_700, 97.5), (500, 84.0)]}
    found = []
    for method, curve in curves.items():
        for value in ("25%, net 0", "25%, net 1"):
            found.append(made(make_run, ROWS[f"1: {method}", value], [curve[-1][1]] * 2, curve))
    found += [made(make_run, ROWS["2: obd", "25%, 2 epochs"], [84.0], curves["obd"])]  # nothing to pair it with
    found += [made(make_run, ROWS["5: obd", "75%"], [84.0] * 2, [(266_200, 98.0), (140_000, 97.5)])]
    found += [made(make_run, ROWS["5: magnitude", "75%"], [84.0], [(266_200, 98.0), (140_000, 97.0)])]
    (last,) = found[2].records[1:]
    last.history[-1]["test_accuracy"] = 0.88  # the differences at the end are -6, -2, -6, -6
    table = differences_table(found)
    assert table is not None and table.rows == (
        ("1", "obd", "4", "+0.50 (0.50 to 0.50)", "-5.00 (-8.18 to -1.82)"),  # t(3) 3.182, deviation 2, half of it
        ("5", "obd", "1", "-", "+0.50"),  # more than half of the weights are left
    )
    assert differences_table(found[:2]) is None


def test_the_page_has_every_section(make_run: MakeRun) -> None:
    found = found_with(make_run, 97.5, 97.0, 97.0)
    curve = [(59_550, 97.5), (500, 90.0)]
    found.append(made(make_run, ROWS["1: magnitude", "25%, net 0"], [90.0], curve))
    found.append(made(make_run, ROWS["1: random", "25%, net 0"], [50.0], curve))
    found.append(
        made(make_run, ROWS["3: magnitude", "10,000 weights"], [90.0], curve)
    )  # of three settings the only one
    found.append(made(make_run, ROWS["dropout", "0.2"], [97.6]))
    found.append(made(make_run, ROWS["foresight: lenet300", "snip, 2%, shuffle"], [97.4] * 3))
    findings = paper("hidden-structures").evaluate(found)
    text = findings.document.markdown()
    for wanted in (
        "Experiment 1",
        "Experiment 4",
        "Differences",
        "Other regularisers",
        "snip, 2%, shuffle",
        "class-blinded",
        "Gaussian",
    ):
        assert wanted in text
    assert [sketch.name for sketch in findings.document.sketches()] == ["accuracy-weights-1", "accuracy-weights-3"]
    assert all(sketch.png()[:4] == b"\x89PNG" for sketch in findings.document.sketches())
    assert findings.lines[-1].startswith("Of 8 figures to reach: 6 reached")
    table = controls_table(found)
    assert table is not None and ("dropout", "0.2", "1", "97.60") in table.rows
    values: Any = findings.values["targets"]
    assert len(values) == 8

"""Curves, tables, verdicts and pictures from made-up runs, with numbers by hand."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import isnan
from typing import Any

import pytest

from bayesprune.experiments.number_format import MISSING
from bayesprune.experiments.papers import paper
from bayesprune.experiments.papers.rows import RowRuns
from bayesprune.experiments.papers.tangent_transfer import runs
from bayesprune.experiments.papers.tangent_transfer.curves import (
    counted_steps,
    kernel_curve,
    kernel_ratio,
    kernel_start,
    learning_curve,
    phase_seconds,
    steps_to,
    training_steps,
)
from bayesprune.experiments.papers.tangent_transfer.published import LEVELS, PRINTED
from bayesprune.experiments.papers.tangent_transfer.tables import method_table, shown_steps
from bayesprune.experiments.papers.tangent_transfer.targets import MASKS, targets
from bayesprune.experiments.papers.verdicts import MISSED, REACHED, UNKNOWN
from bayesprune.store.runs import RunRecord

MakeRun = Callable[..., RunRecord]
STUDY = paper("tangent-transfer")
ROWS = {(row.factor, row.value): row for row in [*STUDY.rows(), *STUDY.rows("lenet5-full")]}
STEPS = 400
"""Of training, in two epochs: the curve has the steps 1, 101, 201 and 301."""


def history(entry: dict[str, Any], curve: Sequence[float], kernels: Sequence[float]) -> list[dict[str, Any]]:
    """Epochs of a transfer of 1,000 steps each, and two of training; kernels are distances from the start on."""
    told = [
        entry | {
            "phase": "transfer", "step": 1_000 * n, "steps": 1_000, "seconds": 30.0, "kernel_distance": kernel,
            "kernel_distance_at_start": kernels[0],
        }
        for n, kernel in enumerate(kernels[1:], 1)
    ]  # fmt: skip
    points = [[1 + 100 * n, accuracy / 100] for n, accuracy in enumerate(curve)]
    for half in (points[:2], points[2:]):
        told.append(entry | {"phase": "fixed", "steps": STEPS // 2, "seconds": 5.0, "test_curve": half})
    return told


def made(
    make_run: MakeRun,
    factor: str,
    value: str,
    accuracies: Sequence[float],
    *,
    curves: Sequence[Sequence[float]] | None = None,
    kernels: Sequence[float] = (),
    data: str | None = None,
    weights: int | None = None,
    **settings: Any,
) -> RowRuns:
    """A row with one run an accuracy (in percent)."""
    row = ROWS[factor, value]
    given = replace(row.settings, **settings)
    transferred = "steps" in given.options
    if weights is None:
        weights = MASKS.get(factor, 7_983) if transferred else 7_986
    records = []
    for seed, accuracy in enumerate(accuracies):
        run = make_run(
            given.method, seed, network=row.network, data=data or given.data, accuracy=accuracy / 100,
            settings=given.to_json() | {"seed": seed, "data": data or given.data}, nonzero_weights=weights,
        )  # fmt: skip
        curve = (20.0, 80.0, accuracy, accuracy) if curves is None else curves[seed]
        run.history[:] = history(run.history[0], curve, kernels or ((200.0, 50.0, 10.0) if transferred else ()))
        records.append(run)
    return RowRuns(row, tuple(records))


def test_curves_of_one_run(make_run: MakeRun) -> None:
    (run,) = made(make_run, "lenet300", "ntt", [96.0], curves=[(20.0, 93.0, 92.0, 96.0)]).records
    assert [step for step, _ in learning_curve(run)] == [1, 101, 201, 301]
    assert [value for _, value in learning_curve(run)] == pytest.approx([20.0, 93.0, 92.0, 96.0])
    assert (steps_to(run, 90), steps_to(run, 95), steps_to(run, 97)) == (101, 301, None)
    assert training_steps(run) == 400 and counted_steps(run, 97) == 400 and counted_steps(run, 95) == 301
    assert kernel_curve(run) == [(0, 200.0), (1_000, 50.0), (2_000, 10.0)]
    assert kernel_start(run) == 200.0 and kernel_ratio(run) == pytest.approx(0.05)
    assert (phase_seconds(run, transfer=True), phase_seconds(run, transfer=False)) == (60.0, 10.0)


def test_runs_without_transfer_have_no_kernel(make_run: MakeRun) -> None:
    (run,) = made(make_run, "lenet300", runs.RANDOM, [93.0]).records
    assert kernel_curve(run) == [] and isnan(kernel_start(run)) and isnan(kernel_ratio(run))
    assert training_steps(run) == 400
    run.history.clear()
    assert learning_curve(run) == [] and shown_steps([run], 90) == MISSING


def test_steps_of_runs_that_never_get_there_count_whole_and_are_told(make_run: MakeRun) -> None:
    curves = [(20.0, 93.0, 96.0, 96.0), (20.0, 80.0, 93.5, 94.0), (20.0, 80.0, 90.0, 91.0)]
    records = made(make_run, "lenet300", "ntt", [96.0, 94.0, 91.0], curves=curves).records
    # 93 %: 101, 201 and 400; mean 234, squares 17,689 + 1,089 + 27,556, deviation sqrt(46,334 / 2) = 152.2
    assert shown_steps(records, 93) == "234 ± 152 (1 of 3 never)"
    assert shown_steps(records, 97) == "never"
    assert shown_steps(records[:1], 90) == "101"


def test_printed_figures_stand_above_ours(make_run: MakeRun) -> None:
    found = [made(make_run, "lenet300", name, [96.0, 97.0, 95.0]) for name in ("ntt", runs.UNIFORM)]
    table = method_table("LeNet-300-100", "lenet300", found)
    assert table is not None
    printed, random, ours, uniform = table.rows
    assert printed[:5] == ("ntt, printed", "18,720 x 64", "2", MISSING, "96.46 / 96.46")
    assert printed[5:9] == ("501 / 401", "1,001 / 1,101", "2,301 / 2,201", "12,501 / 9,101")
    assert printed[9:11] == ("6,439 / 8,147", "0.067 / 0.066")
    assert random[0] == "random (released), printed" and random[7:9] == ("never / never", "never / never")
    assert ours[:5] == ("ntt", "18,720 x 64", "3", "7,983", "96.00 ± 1.00")
    assert ours[8:] == ("334 ± 115 (2 of 3 never)", "200 ± 0", "0.050 ± 0.000", "60.0 ± 0.0", "10.0 ± 0.0")
    assert (uniform[1], uniform[3], uniform[9:12]) == ("none", "7,986", (MISSING, MISSING, MISSING))
    assert method_table("", "lenet300", []) is None
    assert all(len(row) == len(table.headings) for row in table.rows)


def test_the_notes_table_of_the_notebooks() -> None:
    """Every printed figure has its steps; random never came to 95 % on the perceptron."""
    assert LEVELS == (90, 93, 95, 97)
    for rows in PRINTED.values():
        assert [row.method for row in rows] == ["ntt", runs.RANDOM]
        assert all(len(row.steps) == 4 for row in rows)
    assert PRINTED["lenet300"][1].steps[2] == (None, None) and PRINTED["lenet5"][1].steps[3] == (None, 20_901)
    assert PRINTED["lenet5"][0].accuracies == (98.18, 98.17)


def perceptron(make_run: MakeRun, ours: float, random: float, kernel: float, weights: int = 7_983) -> list[RowRuns]:
    """Transfer and random of LeNet-300-100; transfer comes to 93 % at step 101, random never but in one run."""
    fast, slow = (20.0, 93.0, ours, ours), (20.0, 60.0, random, min(random, 92.9))
    return [
        made(
            make_run, "lenet300", "ntt", [ours - 0.1, ours, ours + 0.1], curves=[fast] * 3,
            kernels=(200.0, kernel), weights=weights,
        ),
        made(make_run, "lenet300", runs.RANDOM, [random - 0.2, random, random + 0.2], curves=[slow] * 3),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("ours", "random", "kernel", "weights", "verdicts"),
    [
        # ours; random; 400 / 101 steps to 93 %; end of the kernel over 200; weights
        (96.2, 92.6, 20.0, 7_983, [REACHED, REACHED, REACHED, REACHED, REACHED]),
        (95.9, 92.4, 20.5, 7_986, [MISSED, MISSED, REACHED, MISSED, MISSED]),
        (97.1, 94.4, 1.0, 7_983, [MISSED, REACHED, MISSED, REACHED, REACHED]),  # random is there at step 201
    ],
)
def test_verdicts_of_the_perceptron(
    make_run: MakeRun, ours: float, random: float, kernel: float, weights: int, verdicts: list[str]
) -> None:
    reached = targets(perceptron(make_run, ours, random, kernel, weights))
    assert [one.verdict for one in reached] == verdicts
    assert f"{ours:.2f} ± 0.10 %" in reached[0].measured
    factor = 201 / 101 if random > 93 else 400 / 101
    assert f"{factor:.1f}x" in reached[2].measured


def short(make_run: MakeRun, ours: float, released: float, uniform: float, **given: Any) -> list[RowRuns]:
    """LeNet-5 after the short transfer."""
    names = zip((runs.NTT, runs.RANDOM, runs.UNIFORM), (ours, released, uniform), strict=True)
    return [made(make_run, "lenet5", name, [accuracy], **given) for name, accuracy in names]


@pytest.mark.parametrize(
    ("ours", "released", "uniform", "verdict"),
    [(97.0, 96.0, 96.9, REACHED), (97.0, 96.0, 97.1, MISSED), (97.0, 97.0, 96.0, MISSED)],
)
def test_the_short_transfer_must_beat_both_random_baselines(
    make_run: MakeRun, ours: float, released: float, uniform: float, verdict: str
) -> None:
    better, mask = targets(short(make_run, ours, released, uniform))
    assert (better.verdict, mask.verdict) == (verdict, REACHED)
    assert "300 x 32" in better.measured and "short" in better.subject and "12,911" in mask.measured


def test_the_full_transfer_of_lenet5_has_targets_of_its_own(make_run: MakeRun) -> None:
    curve = (20.0, 95.5, 98.0, 98.1)
    found = [
        made(make_run, "lenet5-full", "ntt", [98.1, 98.2], curves=[curve] * 2, kernels=(600.0, 30.0)),
        made(make_run, "lenet5-full", runs.RANDOM, [96.4, 97.0]),
    ]
    assert [one.verdict for one in targets(found)] == [REACHED] * 5
    late = [20.0, *[90.0] * 12]
    found[0] = made(make_run, "lenet5-full", "ntt", [98.6, 98.6], curves=[late] * 2, kernels=(600.0, 66.0))
    found[1] = made(make_run, "lenet5-full", runs.RANDOM, [96.4])
    assert [one.verdict for one in targets(found)] == [MISSED, UNKNOWN, REACHED, MISSED, REACHED]


def test_what_is_shorter_or_on_other_data_has_no_verdict(make_run: MakeRun) -> None:
    ours, random = perceptron(make_run, 96.5, 93.0, 10.0)
    options = {**ours.row.settings.options, "steps": 500}
    fewer = made(make_run, "lenet300", "ntt", [96.5] * 3, options=options)
    first, *_, mask = targets([fewer, random])
    assert (first.verdict, first.measured) == (UNKNOWN, "500 steps of transfer, not 18,720") and mask.verdict == REACHED
    brief = made(make_run, "lenet300", "ntt", [96.5] * 3, epochs=4)
    assert targets([brief, random])[0].measured == "4 epochs, not 50"
    other = made(make_run, "lenet300", "ntt", [96.5] * 2, data="mnist5k")
    assert targets([other, random])[0].measured == "2 of 3 runs; on mnist5k, not mnist"
    assert [one.verdict for one in targets([RowRuns(ours.row, ()), random])] == [UNKNOWN, REACHED, *[UNKNOWN] * 3]
    assert targets([]) == []
    more = short(make_run, 97.0, 96.0, 96.0)
    options = {**more[0].row.settings.options, "steps": 900}
    longer = made(make_run, "lenet5", "ntt", [97.0], options=options)
    assert "900 x 32" in targets([longer, *more[1:]])[0].measured


def test_runs_without_a_curve_have_no_speed(make_run: MakeRun) -> None:
    ours, random = perceptron(make_run, 96.5, 93.0, 10.0)
    for record in random.records[0].history:
        record.pop("test_curve")
    found = targets([ours, random])
    assert (found[2].verdict, found[2].measured) == (UNKNOWN, "no learning curve")


def everything(make_run: MakeRun) -> list[RowRuns]:
    """Every row of the study, and of the part that is made on request."""
    curves = {1: [(20.0, 80.0, 90.0, 95.0)], 2: [(20.0, 80.0, 90.0, 95.0)] * 2, 3: [(20.0, 80.0, 90.0, 95.0)] * 3}
    return [
        made(make_run, factor, value, [95.0] * len(row.seeds), curves=curves[len(row.seeds)])
        for (factor, value), row in ROWS.items()
    ]


def test_the_page_has_every_section_and_picture(make_run: MakeRun) -> None:
    findings = STUDY.evaluate(everything(make_run))
    text = findings.document.markdown()
    for wanted in (
        "## LeNet-300-100", "## LeNet-5, short transfer", "## LeNet-5\n", "## Transfer to mnist",
        "## Transfer to fashion-mnist", "## What was done", "ntt, shuffle-inputs", "5,000 x 64 on fashion-mnist",
        "steps to 85 %", "no such setting", "5,000 of the 60,000", "Steps of transfer in these runs: 300, 2,000, 5,000",
    ):  # fmt: skip
        assert wanted in text
    sketches = list(findings.document.sketches())
    assert [sketch.name for sketch in sketches] == [
        "learning-methods", "learning-variants", "kernel-lenet300", "learning-lenet5", "kernel-lenet5",
        "learning-lenet5-full", "kernel-lenet5-full", "learning-transfer-mnist", "learning-transfer-fashion-mnist",
    ]  # fmt: skip
    assert "ntt, shuffle" not in sketches[2].description and "projected" in sketches[2].description
    assert "dense: 95.00 % at step 301" in sketches[0].description
    assert all(sketch.png()[:4] == b"\x89PNG" for sketch in (sketches[0], sketches[2]))
    assert findings.lines[-1].startswith("Of 12 figures to reach:")
    assert findings.values["learning"][0]["runs"][0] == {
        "seed": 0, "training_steps": 400, "kernel_start": 200.0, "kernel_ratio": 0.05,
        "steps_to": {"75": 101, "80": 101, "83": 201, "85": 201, "90": 201, "93": 301, "95": 301, "97": None},
    }  # fmt: skip


def test_a_page_of_nothing_and_of_one_row(make_run: MakeRun) -> None:
    assert "no figure to reach" in STUDY.evaluate([]).document.verdict
    one = made(make_run, "transfer: mnist", runs.RANDOM, [95.0], data="mnist5k")
    findings = STUDY.evaluate([one])
    text = findings.document.markdown()
    assert "## Transfer to mnist5k" in text and "## LeNet-300-100" not in text
    assert findings.values["learning"][0]["runs"][0]["kernel_ratio"] is None

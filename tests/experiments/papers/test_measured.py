"""Numbers of a row's runs, against values counted by hand."""

import math
from collections.abc import Callable

import pytest

from bayesprune.experiments.number_format import NumberFormat
from bayesprune.experiments.papers.measured import (
    architecture,
    decided_share,
    median_run,
    shown,
    shown_error,
    spread,
    validation_error,
    with_range,
)
from bayesprune.experiments.papers.measured import macs as macs_of
from bayesprune.experiments.papers.rows import Row, RowRuns
from bayesprune.run.settings import RunSettings
from bayesprune.store.runs import RunRecord

MakeStudy = Callable[..., list[RowRuns]]


def runs(
    make_study: MakeStudy, network: str = "lenet300", errors: tuple[float, ...] = (1.0, 2.0, 4.5)
) -> list[RunRecord]:
    settings = RunSettings("parsimonious", network, "mnist", epochs=4)
    row = Row("base", "base", settings, tuple(range(len(errors))))
    costs = (30_000, 10_000, 20_000, 40_000)
    return list(make_study([row], lambda row, seed: (errors[seed], costs[seed]))[0].records)


def test_widths_are_written_as_in_the_literature(make_study: MakeStudy) -> None:
    perceptron = runs(make_study)[0]
    perceptron.layers[0].update(inputs=97, outputs=71)
    perceptron.layers[1].update(inputs=71, outputs=33)
    assert architecture(perceptron) == "97-71-33"
    convolutional = runs(make_study, "lenet5")[0]
    for layer, (inputs, outputs) in zip(convolutional.layers, [(1, 5), (5, 10), (76, 16), (16, 10)], strict=True):
        layer.update(inputs=inputs, outputs=outputs)
    assert architecture(convolutional) == "5-10-76-16"


def test_the_median_run_has_the_median_macs(make_study: MakeStudy) -> None:
    three = runs(make_study)
    assert macs_of(median_run(three)) == 20_000
    four = runs(make_study, errors=(1.0, 1.0, 1.0, 1.0))
    assert macs_of(median_run(four)) == 20_000


def test_means_spreads_and_ranges_by_hand(make_study: MakeStudy) -> None:
    three = runs(make_study)
    # mean 2.5; squares 2.25 + 0.25 + 4 = 6.5; sd = sqrt(6.5 / 2) = 1.803
    assert shown_error(three) == "2.50 ± 1.80"
    assert with_range(three, macs_of) == "20,000 (10,000 to 30,000)"
    assert with_range(three[:1], macs_of) == "30,000"
    assert shown(three[:1], macs_of, NumberFormat(0)) == "30,000"


def test_shares_are_of_all_initial_gates(make_study: MakeStudy) -> None:
    run = runs(make_study)[0]
    run.result["decided_at_end"] = 296
    assert decided_share(run) == pytest.approx(25.0)  # 784 + 300 + 100 = 1,184
    run.history[-1]["validation_accuracy"] = 0.985
    assert validation_error(run) == pytest.approx(1.5)


def test_a_run_without_history_has_no_validation_error(make_study: MakeStudy) -> None:
    three = runs(make_study)
    three[1].history.clear()
    assert math.isnan(validation_error(three[1]))
    assert spread(three, validation_error) is None
    assert shown_error(three, validation_error) == "-"

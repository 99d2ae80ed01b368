"""Histograms over training and pictures of pixels, counted by hand."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from bayesprune.experiments.configurations import configurations
from bayesprune.experiments.report.plots import epoch_curve, macs_by_epoch, score_against_macs
from bayesprune.experiments.report.structure_plots import (
    gate_histograms,
    group_slices,
    inclusion_pictures,
    pixel_picture,
    pixel_shares,
    step_edges,
)
from bayesprune.store.runs import RunRecord

MakeRun = Callable[..., RunRecord]


def test_histograms_count_every_gate_once() -> None:
    found = gate_histograms(np.array([[0.0, 0.049, 0.5, 1.0], [1.0, 1.0, 1.0, 0.999]]))
    assert found.shape == (2, 20)
    assert found[0, 0] == 0.5
    assert found[0, 10] == 0.25
    assert found[0, 19] == 0.25
    assert found[1].tolist() == [0.0] * 19 + [1.0]


def test_columns_of_a_picture_meet_half_way() -> None:
    assert step_edges(np.array([10.0, 20.0, 40.0])).tolist() == [5.0, 15.0, 30.0, 50.0]
    assert step_edges(np.array([7.0])).tolist() == [0.0, 7.0]


def test_gates_are_found_group_after_group() -> None:
    groups = [{"name": "inputs", "size": 3}, {"name": "fc1", "size": 2}]
    assert list(group_slices(groups)) == [("inputs", slice(0, 3)), ("fc1", slice(3, 5))]


def test_there_is_a_picture_a_group_with_its_counts(make_run: MakeRun) -> None:
    run = make_run("parsimonious", 1)
    pictures = inclusion_pictures(run, "p")
    assert [picture.heading for picture in pictures] == ["inputs", "fc1", "fc2"]
    assert run.posterior is not None
    theta = run.posterior["inclusion_probability"][:16]
    undecided = int(((theta > 0) & (theta < 1)).sum())
    assert undecided > 0
    kept = len(run.groups[0]["kept"])
    assert pictures[0].caption == f"{kept} of 16 gates kept; {undecided} were undecided when pruning ended."
    assert inclusion_pictures(make_run("dense"), "p") == []


def test_shares_of_pixels_are_counted_over_seeds(make_run: MakeRun) -> None:
    runs = [make_run("parsimonious", seed) for seed in range(3)]
    shares = pixel_shares(runs)
    assert shares is not None
    assert shares.shape == (1, 4, 4)
    kept = [set(run.groups[0]["kept"]) for run in runs]
    expected = [sum(pixel in one for one in kept) / 3 for pixel in range(16)]
    assert shares.ravel().tolist() == pytest.approx(expected)
    assert round(float(shares.sum()) * 3) == sum(map(len, kept))


def test_the_picture_of_pixels_tells_its_counts(make_run: MakeRun) -> None:
    runs = [make_run("parsimonious", seed) for seed in range(3)]
    (found,) = configurations(runs)
    picture = pixel_picture(found, "pixels")
    assert picture is not None
    kept = [set(run.groups[0]["kept"]) for run in runs]
    every, some = len(set.intersection(*kept)), len(set.union(*kept))
    assert picture.caption == (
        f"Kept of 16, seed by seed: {', '.join(str(len(one)) for one in kept)}; {every} by all 3 seeds, "
        f"{some - every} by some, {16 - some} by none."
    )
    single = pixel_picture(replace(found, records=found.records[:1]), "pixels")
    assert single is not None
    assert single.caption == f"{len(kept[0])} of 16 kept."


@pytest.mark.parametrize("shape", [(3, 4, 4), (48,), (6, 8), (2, 3, 2, 4)])
def test_inputs_of_any_shape_have_a_picture(make_run: MakeRun, shape: tuple[int, ...]) -> None:
    run = make_run("parsimonious", sizes={"inputs": 48, "fc1": 4}, input_shape=shape)
    (found,) = configurations([run])
    picture = pixel_picture(found, "pixels")
    assert picture is not None
    assert picture.caption == f"{len(run.groups[0]['kept'])} of 48 kept."


def test_methods_that_keep_every_pixel_have_no_picture(make_run: MakeRun) -> None:
    (found,) = configurations([make_run("dense")])
    assert pixel_picture(found, "pixels") is None
    assert pixel_shares([make_run("parsimonious", sizes={"fc1": 4})]) is None


def test_curves_over_epochs_are_means_and_ranges(make_run: MakeRun) -> None:
    runs = [make_run("parsimonious", seed) for seed in range(3)]
    runs[2].history.pop()
    (found,) = configurations(runs)
    curve = epoch_curve(found, lambda entry: entry["seconds"])
    seconds = [[entry["seconds"] for entry in run.history] for run in runs]
    assert curve.epochs == [1, 2, 3, 4, 5, 6]
    assert curve.mean[0] == pytest.approx(np.mean([one[0] for one in seconds]))
    assert (curve.low[0], curve.high[0]) == (min(s[0] for s in seconds), max(s[0] for s in seconds))
    assert curve.mean[5] == pytest.approx(np.mean([seconds[0][5], seconds[1][5]]))


def test_a_picture_without_history_is_none(make_run: MakeRun) -> None:
    run = make_run("dense")
    run.history.clear()
    assert macs_by_epoch(configurations([run])) is None


def test_an_epoch_that_costs_nothing_dense_is_left_out(make_run: MakeRun) -> None:
    run = make_run("dense")
    run.history[0]["dense_macs"] = 0.0
    picture = macs_by_epoch(configurations([run]))
    assert picture is not None
    assert "dense from" in picture.svg


def test_the_scatter_tells_its_means(make_run: MakeRun) -> None:
    runs = [make_run("dense", seed, accuracy=0.9 + 0.02 * seed, macs=266_200) for seed in range(2)]
    picture = score_against_macs(configurations([*runs, make_run("random", accuracy=0.5, macs=0)]))
    assert "dense: 91.0 % at 266.2k MACs; random: 50.0 % at 0 MACs" in picture.svg
    assert picture.caption.startswith("Each point is one of 3 runs")

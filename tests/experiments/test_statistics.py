"""Statistics over seeds against scipy, and the sentence they end in."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, ttest_rel

import bayesprune
from bayesprune.errors import SettingError
from bayesprune.experiments.statistics import (
    MeanAndSpread,
    PairedDifference,
    mean_and_spread,
    paired_difference,
    verdict,
)

accuracies = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=8)


def test_mean_and_spread_by_hand() -> None:
    # Deviations -2, -1, 0, 3: their squares sum to 14, over n - 1 = 3.
    assert mean_and_spread([1.0, 2.0, 3.0, 6.0]) == MeanAndSpread(3.0, math.sqrt(14 / 3), 4)
    assert mean_and_spread([0.5]) == MeanAndSpread(0.5, None, 1)
    assert mean_and_spread([2.0, 2.0]) == MeanAndSpread(2.0, 0.0, 2)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_mean_and_spread_are_those_of_numpy(values: list[float]) -> None:
    found = mean_and_spread(values)
    assert found.mean == pytest.approx(np.mean(values), rel=1e-9, abs=1e-9)
    assert found.sd == pytest.approx(np.std(values, ddof=1), rel=1e-6, abs=1e-6)


@given(accuracies, st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_the_interval_is_that_of_the_paired_t_test(pairs: list[tuple[float, float]], level: float) -> None:
    a, b = (np.array(side) for side in zip(*pairs, strict=True))
    if np.ptp(a - b) < 1e-6:
        return  # scipy has no interval without spread; see the next test
    expected = ttest_rel(a, b).confidence_interval(level)
    found = paired_difference(list(a), list(b), level, images=None)
    assert found.mean == pytest.approx((a - b).mean(), abs=1e-12)
    assert found.low == pytest.approx(expected.low, abs=1e-9)
    assert found.high == pytest.approx(expected.high, abs=1e-9)
    assert (found.n, found.level) == (len(pairs), level)


def test_equal_differences_have_an_interval_without_width_and_one_pair_has_none() -> None:
    assert paired_difference([0.5, 0.75], [0.25, 0.5], images=None) == PairedDifference(0.25, 0.25, 0.25, 2, 0.95)
    assert paired_difference([0.5], [0.75]) == PairedDifference(-0.25, None, None, 1, 0.95)


@pytest.mark.parametrize(
    ("ours", "theirs", "images", "half"),
    [
        # Error rates .1 and .1: a tenth of the images in doubt, sqrt(.1 / 1000) = .01.
        ((0.9, 0.9), (0.9, 0.9), 1000, 1.959964 * 0.01 + 0.001),
        # Error rates 0 and .04: the networks disagree on .04 of the images, more than the mean error of .02.
        ((1.0, 1.0), (0.96, 0.96), 400, 1.959964 * 0.01 + 0.0025),
        # More seeds are measured on the same images, so that their noise is the same.
        ((0.9,) * 50, (0.9,) * 50, 1000, 1.959964 * 0.01 + 0.001),
    ],
)
def test_no_interval_is_narrower_than_the_noise_of_the_test_images(
    ours: tuple[float, ...], theirs: tuple[float, ...], images: int, half: float
) -> None:
    found = paired_difference(ours, theirs, images=images)
    assert found.low == pytest.approx(found.mean - half, abs=1e-8)
    assert found.high == pytest.approx(found.mean + half, abs=1e-8)


@pytest.mark.parametrize(("images", "wins"), [(5, False), (6, True)])
def test_six_images_against_none_are_the_fewest_that_decide(images: int, wins: bool) -> None:
    # McNemar's exact test: five of five go one way by chance in 2 / 32, six of six in 2 / 64.
    assert (binomtest(images, images).pvalue < 0.05) == wins
    assert paired_difference([1.0, 1.0], [1.0 - images / 1000] * 2, images=1000).decided == wins


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("images", [None, 1000])
def test_equals_seldom_win(seeds: int, images: int | None) -> None:
    # Two methods, each right on .95 of 1,000 images give or take what a seed adds; 5 % of 4,000 have an error of 14.
    generator = np.random.default_rng(seeds)
    known = {} if images is None else {"images": images}
    wins = 0
    for _ in range(4000):
        shares = 0.95 + generator.normal(0.0, 0.002, (2, seeds))
        ours, theirs = (generator.binomial(1000, side) / 1000 for side in shares)
        wins += "beats" in verdict("A", "B", paired_difference(ours.tolist(), theirs.tolist(), **known))
    assert wins <= 200 + 14


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
@pytest.mark.parametrize("own", [0.0, 0.5, 1.0])
def test_equals_seldom_win_on_images_that_one_of_them_finds_harder(seeds: int, own: float) -> None:
    # Every image has its own chance of an error for each method: the seeds share it, so that they agree by luck.
    generator = np.random.default_rng(seeds)
    wins = 0
    for _ in range(300):
        common, *apart = generator.beta(0.05, 0.95, (3, 1000))
        chances = [(1.0 - own) * common + own * its for its in apart]
        ours, theirs = (1.0 - (generator.random((seeds, 1000)) < chance).mean(axis=1) for chance in chances)
        wins += paired_difference(ours.tolist(), theirs.tolist(), images=1000).decided
    assert wins <= 15 + 2 * 4


def test_without_an_image_there_is_no_accuracy() -> None:
    with pytest.raises(SettingError, match="images is 0"):
        paired_difference([0.5], [0.5], images=0)


def test_swapping_the_sides_mirrors_the_interval() -> None:
    a, b = [0.9, 0.92, 0.95], [0.89, 0.9, 0.96]
    there, back = paired_difference(a, b), paired_difference(b, a)
    assert there.low is not None
    assert there.high is not None
    assert (back.mean, back.low, back.high) == pytest.approx((-there.mean, -there.high, -there.low))
    turned = there.reversed
    assert (turned.mean, turned.low, turned.high) == (-there.mean, -there.high, -there.low)


@pytest.mark.parametrize(
    ("a", "b", "level", "message"),
    [
        ([0.1, 0.2], [0.1], 0.95, "2 values against 1"),
        ([], [], 0.95, "a is empty"),
        ([0.1], [math.nan], 0.95, "b has 1 values that are NaN or infinite"),
        ([math.inf], [0.1], 0.95, "a has 1 values"),
        ([0.1, 0.2], [0.1, 0.2], 1.0, r"level is 1\.0"),
        ([0.1, 0.2], [0.1, 0.2], 95, "level is 95"),
        ([0.1, 0.2], [0.1, 0.2], math.nan, "level is nan"),
        ([96.1, 95.0], [0.1, 0.2], 0.95, r"96\.1 is no accuracy: give shares in"),
        ([0.1], [-0.1], 0.95, r"-0\.1 is no accuracy"),
    ],
)
def test_what_has_no_statistics_is_refused(a: list[float], b: list[float], level: float, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        paired_difference(a, b, level)


@pytest.mark.parametrize(
    ("difference", "sentence"),
    [
        (
            PairedDifference(0.013, 0.006, 0.020, 5, 0.95),
            "parsimonious beats l1-units by 1.3 points of accuracy at the same MACs "
            "(95 % interval 0.6 to 2.0, 5 seeds).",
        ),
        (
            PairedDifference(-0.013, -0.020, -0.006, 5, 0.9),
            "l1-units beats parsimonious by 1.3 points of accuracy at the same MACs "
            "(90 % interval 0.6 to 2.0, 5 seeds).",
        ),
        (
            PairedDifference(0.001, -0.004, 0.006, 3, 0.95),
            "parsimonious and l1-units cannot be told apart in accuracy at the same MACs: "
            "parsimonious is 0.1 points ahead, which may be chance (95 % interval -0.4 to 0.6, 3 seeds).",
        ),
        (
            PairedDifference(-0.001, -0.006, 0.004, 3, 0.95),
            "parsimonious and l1-units cannot be told apart in accuracy at the same MACs: "
            "l1-units is 0.1 points ahead, which may be chance (95 % interval -0.4 to 0.6, 3 seeds).",
        ),
        (
            PairedDifference(0.01, 0.0, 0.02, 3, 0.95),
            "parsimonious and l1-units cannot be told apart in accuracy at the same MACs: "
            "parsimonious is 1.0 points ahead, which may be chance (95 % interval 0.0 to 2.0, 3 seeds).",
        ),
        (
            PairedDifference(0.01, 0.0002, 0.0198, 4, 0.95),
            "parsimonious beats l1-units by 1.00 points of accuracy at the same MACs "
            "(95 % interval 0.02 to 1.98, 4 seeds).",
        ),
        (
            PairedDifference(0.02, None, None, 1, 0.95),
            "parsimonious is 2.0 points of accuracy above l1-units at the same MACs, "
            "but one seed decides nothing: run at least 3.",
        ),
        (
            PairedDifference(-0.02, None, None, 1, 0.95),
            "l1-units is 2.0 points of accuracy above parsimonious at the same MACs, "
            "but one seed decides nothing: run at least 3.",
        ),
        (
            PairedDifference(0.0, None, None, 1, 0.95),
            "parsimonious and l1-units have the same accuracy at the same MACs; "
            "one seed decides nothing: run at least 3.",
        ),
    ],
)
def test_the_sentence(difference: PairedDifference, sentence: str) -> None:
    assert verdict("parsimonious", "l1-units", difference, "at the same MACs") == sentence


def test_without_a_condition_nothing_is_added_and_noise_is_no_number() -> None:
    difference = PairedDifference(1e-18, -1e-18, 1e-18, 2, 0.95)
    assert verdict("dense", "random", difference) == (
        "dense and random cannot be told apart in accuracy: their means are the same "
        "(95 % interval 0.0 to 0.0, 2 seeds)."
    )


@given(accuracies)
def test_a_win_is_said_exactly_when_the_interval_leaves_out_zero(pairs: list[tuple[float, float]]) -> None:
    difference = paired_difference([a for a, _ in pairs], [b for _, b in pairs])
    assert difference.low is not None
    assert difference.high is not None
    sentence = verdict("first", "second", difference)
    assert sentence.startswith("first beats second by") == (difference.low > 0)
    assert sentence.startswith("second beats first by") == (difference.high < 0)
    assert ("cannot be told apart" in sentence) == (difference.low <= 0 <= difference.high)
    assert "-0.0 " not in sentence


def test_neither_scipy_nor_torch_is_loaded_before_an_interval_is_asked_for() -> None:
    code = (
        "import sys; from bayesprune.experiments.statistics import mean_and_spread\n"
        "mean_and_spread([1.0, 2.0]); assert not {'torch', 'scipy', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(bayesprune.__file__).parents[1])

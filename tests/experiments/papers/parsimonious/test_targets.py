"""Verdicts on made-up runs: reached, missed by the mean or by one seed, and not measured."""

from collections.abc import Callable

import pytest

from bayesprune.experiments.papers import paper
from bayesprune.experiments.papers.parsimonious.targets import targets
from bayesprune.experiments.papers.rows import Row, RowRuns
from bayesprune.experiments.papers.verdicts import MISSED, REACHED, UNKNOWN, Target, summary

MakeStudy = Callable[..., list[RowRuns]]
STUDY = paper("parsimonious")
Outcome = Callable[[Row, int], tuple[float, ...] | None]


def verdicts(
    make_study: MakeStudy, part: str, factors: set[str], outcome: Outcome, data: str = "mnist"
) -> list[Target]:
    """The targets of a part, of which only some factors were run."""
    rows = [row for row in STUDY.rows(part, data=data) if row.factor in factors]
    return targets(make_study(rows, outcome))


def the(found: list[Target], subject: str) -> Target:
    (target,) = (target for target in found if target.subject == subject)
    return target


@pytest.mark.parametrize(
    ("outcome", "verdict", "words"),
    [
        (lambda row, seed: (0.8, 150_000), REACHED, "0.80 ± 0.00 % at 150,000 MACs"),
        (lambda row, seed: ((0.7, 0.9, 0.8, 0.6, 1.0)[seed], 90_000 + seed), REACHED, "0.80 ± 0.16"),
        (lambda row, seed: (0.8 + 0.1 * (seed == 3), 90_000), MISSED, "0.82 ± 0.04"),
        (lambda row, seed: (0.5, 150_000 + (seed == 2)), MISSED, "1 of 5 seeds above"),
        (lambda row, seed: (0.5, 100) if seed < 4 else None, UNKNOWN, "4 of 5 runs"),
        (lambda row, seed: None, UNKNOWN, "0 of 5 runs"),
    ],
)
def test_error_at_a_cost(make_study: MakeStudy, outcome: Outcome, verdict: str, words: str) -> None:
    found = the(verdicts(make_study, "lenet5", {"base"}, outcome), "LeNet-5")
    assert (found.verdict, words in found.measured) == (verdict, True), found
    assert found.wanted == "mean error <= 0.80 %, every seed <= 150,000 MACs"


def test_flatten_gates_are_held_against_parameters(make_study: MakeStudy) -> None:
    found = verdicts(make_study, "lenet5", {"flatten"}, lambda row, seed: (1.0, 10**6, 5_000))
    assert the(found, "LeNet-5, flatten gates").verdict == REACHED
    found = verdicts(make_study, "lenet5", {"flatten"}, lambda row, seed: (1.0, 10, 5_000 + (seed == 4)))
    assert the(found, "LeNet-5, flatten gates").verdict == MISSED
    assert the(found, "LeNet-5").verdict == UNKNOWN


def test_the_perceptron_and_its_stretch(make_study: MakeStudy) -> None:
    costs = {"base": (1.65, 22_000), "small": (1.8, 9_561)}
    found = verdicts(make_study, "lenet300", set(costs), lambda row, seed: costs[row.factor])
    assert the(found, "LeNet-300-100").verdict == REACHED
    small = the(found, "LeNet-300-100, small (stretch)")
    assert (small.verdict, "5 of 5 seeds above" in small.measured) == (MISSED, True)


def robust(found: list[Target], what: str) -> list[Target]:
    return [target for target in found if what in target.subject]


def test_robust_against_starting_widths(make_study: MakeStudy) -> None:
    # all MACs 20,000 except one of 15 runs, so that the mean moves with it
    def outcome(last: int, gap: float) -> Outcome:
        return lambda row, seed: (1.5 + gap * ("x4" in row.value), last if "x4" in row.value and seed == 0 else 20_000)

    sizes, errors = robust(verdicts(make_study, "lenet300", {"widths"}, outcome(22_100, 0.15)), "starting widths")
    assert (sizes.verdict, errors.verdict) == (REACHED, REACHED)
    assert errors.measured == "0.15 points (1.50, 1.50, 1.65 %)"  # x0.5 does not count
    # mean (14 x 20,000 + 22,300) / 15 = 20,153.3; 22,300 lies 10.65 % above it
    sizes, errors = robust(verdicts(make_study, "lenet300", {"widths"}, outcome(22_300, 0.16)), "starting widths")
    assert (sizes.verdict, errors.verdict) == (MISSED, MISSED)
    assert sizes.measured == "-0.8 % to +10.7 % of 20,153"


def test_robust_against_the_start_and_what_is_missing(make_study: MakeStudy) -> None:
    fine = verdicts(make_study, "lenet300", {"start"}, lambda row, seed: (1.5, 10 if row.value == "0.25" else 20_000))
    assert [target.verdict for target in robust(fine, "starting prob")] == [REACHED, REACHED]
    low = verdicts(make_study, "lenet300", {"start"}, lambda row, seed: (1.5, 17_000 + 3_000 * (seed > 0)))
    assert [target.verdict for target in robust(low, "starting prob")] == [MISSED, REACHED]
    lacking = verdicts(make_study, "lenet300", {"start"}, lambda row, seed: None if row.value == "0.9" else ())
    assert {target.verdict for target in robust(lacking, "starting prob")} == {UNKNOWN}
    assert "1 of 3 rows missing" in robust(lacking, "starting prob")[0].measured
    few = verdicts(make_study, "lenet300", {"start"}, lambda row, seed: None if (row.value, seed) == ("0.9", 1) else ())
    assert robust(few, "starting prob")[0].measured == "0.9: 4 of 5 runs"


def test_gates_that_did_not_decide_themselves(make_study: MakeStudy) -> None:
    # 1,184 gates: 47 are 3.97 %, 48 are 4.05 %
    for count, verdict in ((47, REACHED), (48, MISSED)):
        outcome: Outcome = lambda row, seed, count=count: (1.5, 20_000, 4_000, count / 1184 if seed == 2 else 0.0)  # type: ignore[misc]  # noqa: E731
        found = the(verdicts(make_study, "lenet300", {"base"}, outcome), "LeNet-300-100, undecided gates")
        assert found.verdict == verdict, found


def test_other_data_and_longer_runs_are_not_held_against_figures(make_study: MakeStudy) -> None:
    found = verdicts(make_study, "lenet5", {"base"}, lambda row, seed: (0.1, 10), data="mnist5k")
    assert the(found, "LeNet-5") == Target(
        "LeNet-5", "mean error <= 0.80 %, every seed <= 150,000 MACs", "on mnist5k, not mnist", UNKNOWN
    )
    rows = [row for row in STUDY.rows("lenet5") if row.factor == "base"]
    study = make_study(rows)
    study[0].records[4].settings["epochs"] = 41
    assert the(targets(study), "LeNet-5").measured == "41 epochs, more than 40"


def test_a_part_has_its_own_figures_only_and_the_summary_counts_them(make_study: MakeStudy) -> None:
    found = verdicts(make_study, "lenet5", {"base"}, lambda row, seed: (0.1, 10))
    assert [target.subject for target in found] == ["LeNet-5", "LeNet-5, flatten gates"]
    assert summary(found) == "Of 2 figures to reach: 1 reached, 1 not measured."
    assert summary([]) == "There is no figure to reach."

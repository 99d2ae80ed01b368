"""The plan: no more runs than allowed, every factor asked for, and one factor at a time."""

from typing import Any

import pytest

from bayesprune.experiments.jobs import check
from bayesprune.experiments.papers import paper
from bayesprune.experiments.papers.parsimonious.runs import BASE_FLATTEN, BASE_LENET5, BASE_MLP, SMALL_MLP, scale_of
from bayesprune.experiments.papers.rows import Row, jobs_of
from bayesprune.run.settings import RunSettings

STUDY = paper("parsimonious")
BASES = {"lenet300": BASE_MLP, "lenet5": BASE_LENET5}
VARIES = {
    "base": set(),
    "price": {"price", "budget"},
    "widths": {"widths"},
    "start": {"start"},
    "estimator": {"estimator"},
    "price kind": {"price", "budget", "price_kind", "ramp_share"},
}


def flat(settings: RunSettings) -> dict[str, Any]:
    """Settings and options side by side; the same value asked for or left out is the same."""
    document = settings.to_json()
    return document | document.pop("options")


def differing(one: RunSettings, other: RunSettings) -> set[str]:
    """Names of the settings in which two runs differ."""
    first, second = flat(one), flat(other)
    return {name for name in first | second if first.get(name) != second.get(name)}


@pytest.mark.parametrize(("part", "most"), [("lenet300", 60), ("lenet5", 25)])
def test_no_more_runs_than_allowed(part: str, most: int) -> None:
    assert len(jobs_of(STUDY.rows(part))) <= most


def test_every_run_is_of_forty_epochs_on_full_mnist() -> None:
    assert {(job.settings.epochs, job.settings.data) for job in jobs_of(STUDY.rows())} == {(40, "mnist")}


@pytest.mark.parametrize("network", ["lenet300", "lenet5"])
def test_one_factor_at_a_time(network: str) -> None:
    rows = [row for row in STUDY.rows(network) if row.factor in VARIES]
    for row in rows:
        names = differing(row.settings, BASES[network])
        assert names <= VARIES[row.factor], row
        assert bool(names) != (row.value.endswith("(base)") or row.factor == "base"), row
        if row.factor not in ("price kind", "price"):  # without the cap there
            assert names in (set(), VARIES[row.factor]), row
    for factor in VARIES.keys() - {"base"}:
        mine = [row for row in rows if row.factor == factor]
        assert sum(row.settings == BASES[network] for row in mine) == 1, factor
        assert len({str(flat(row.settings)) for row in mine}) == len({row.value for row in mine}) == len(mine) > 2


def test_the_other_bases_and_dense_training() -> None:
    rows = {(row.network, row.factor): row for row in STUDY.rows()}
    assert rows["lenet300", "small"].settings == SMALL_MLP
    assert rows["lenet5", "flatten"].settings == BASE_FLATTEN and BASE_FLATTEN.flatten_inputs
    for network in BASES:
        assert flat(rows[network, "dense"].settings) == flat(RunSettings("dense", network, "mnist", epochs=40))


def seeds_by(network: str, factor: str) -> dict[Any, int]:
    key = {
        "widths": lambda row: scale_of(row.settings),
        "start": lambda row: row.settings.options.get("start", 0.5),
        "estimator": lambda row: row.settings.estimator,
    }[factor]
    return {key(row): len(row.seeds) for row in STUDY.rows(network) if row.factor == factor}


def test_seeds_as_asked_for() -> None:
    assert seeds_by("lenet300", "widths") == {0.5: 1, 1: 5, 2: 5, 4: 5}
    assert seeds_by("lenet300", "start") == {0.25: 1, 0.5: 5, 0.75: 5, 0.9: 5}
    assert seeds_by("lenet300", "estimator") == {
        "curvature": 5, "salient-flips": 1, "linearised-flips": 2, "straight-through": 1, "uniform-flips": 1,
    }  # fmt: skip
    assert seeds_by("lenet5", "widths") == {0.5: 1, 1: 5, 2: 1, 4: 1}
    counts = {(row.network, row.factor): len(row.seeds) for row in STUDY.rows()}
    assert counts["lenet300", "dense"] == 2 and counts["lenet5", "dense"] == 1
    assert counts["lenet300", "small"] == counts["lenet5", "flatten"] == counts["lenet5", "base"] == 5


@pytest.mark.parametrize("network", ["lenet300", "lenet5"])
def test_both_kinds_of_price_with_and_without_a_ramp(network: str) -> None:
    for row in STUDY.rows(network):
        if row.factor == "price kind":
            kind = row.settings.options.get("price_kind", "equal" if network == "lenet300" else "cost")
            share = row.settings.options.get("ramp_share")
            ramp = "ramp" if share or (share is None and kind == "equal") else "no ramp"
            assert row.value.removesuffix(" (base)") == f"{kind}, {ramp}"
    assert sum(row.factor == "price kind" for row in STUDY.rows(network)) == 4


def test_the_quick_study_has_every_factor_in_a_few_short_runs() -> None:
    whole, quick = STUDY.rows(), STUDY.rows(quick=True)
    assert {(row.network, row.factor) for row in quick} == {(row.network, row.factor) for row in whole}
    jobs = jobs_of(quick)
    assert 14 <= len(jobs) <= 24
    assert all((job.settings.epochs or 0) <= 60 for job in jobs)
    of: dict[str, list[Row]] = {}
    for row in quick:
        of.setdefault(f"{row.network} {row.factor}", []).append(row)
    assert all(len(rows) > 1 for name, rows in of.items() if name.split(" ", 1)[1] in VARIES.keys() - {"base"})
    prices = [job.settings.price for job in jobs if job.settings.price is not None]
    assert all(isinstance(price, float) and 0 < price < 40 for price in prices)


def test_every_run_of_the_quick_study_is_one_that_can_be_made() -> None:
    for job in jobs_of(STUDY.rows(quick=True)):
        assert check(job) > 0
    kinds = {str(flat(row.settings)): row for row in STUDY.rows(data="mnist5k")}
    for row in kinds.values():
        assert check(row.jobs()[0]) > 0

"""The main job: which runs it makes, who is said to have won, and what `--json` prints."""

from collections.abc import Callable
from typing import Any

import pytest

from bayesprune.errors import SettingError, UnknownNameError
from bayesprune.experiments.compare import COMPARED, as_json, comparison, verdict_of
from bayesprune.experiments.run_rows import run_row
from bayesprune.run.settings import RunSettings
from bayesprune.store.runs import RunRecord

MakeRun = Callable[..., RunRecord]


def base(**settings: Any) -> RunSettings:
    return RunSettings("parsimonious", **settings)


def test_every_method_with_every_seed() -> None:
    jobs = comparison(base(epochs=7), [0, 1])
    assert [(job.settings.method, job.settings.seed) for job in jobs] == [
        (name, seed) for name in COMPARED for seed in (0, 1)
    ]
    assert {job.settings.epochs for job in jobs} == {7}
    matches = {job.settings.method: job.match for job in jobs}
    assert matches == {
        "dense": None, "parsimonious": None, "magnitude": "parsimonious", "l1-units": "parsimonious",
        "random": "parsimonious",
    }  # fmt: skip


def test_what_belongs_to_the_reference_changes_no_other_run() -> None:
    plain = comparison(base(), [0])
    special = comparison(base(price=5.0, estimator="disarm", options={"start": 0.9}, budget="macs=10%"), [0])
    for one, other in zip(plain, special, strict=True):
        assert (one == other) == (one.settings.method != "parsimonious")
    assert special[1].settings.price == 5.0 and special[1].settings.budget == "macs=10%"
    shared = comparison(base(epochs=3, keep=("fc1",), noise=0.0), [0])
    assert all(job.settings.keep == ("fc1",) and job.settings.noise == 0.0 for job in shared)


def test_a_method_named_twice_runs_once() -> None:
    assert len(comparison(base(), [0], ["dense", "parsimonious", "dense"])) == 2


def test_comparisons_that_cannot_be() -> None:
    with pytest.raises(SettingError, match="'l1-units' takes its size from 'parsimonious': compare that as well"):
        comparison(base(), [0], ["dense", "l1-units"])
    with pytest.raises(SettingError, match="nothing to compare: name methods, such as dense"):
        comparison(base(), [0], [])
    with pytest.raises(UnknownNameError, match="did you mean 'dense'"):
        comparison(base(), [0], ["dens"])


def pair(make_run: MakeRun, differences: list[float], **settings: Any) -> list[RunRecord]:
    """Runs of both methods whose accuracies differ by these amounts."""
    records = []
    for seed, difference in enumerate(differences):
        ours = make_run("parsimonious", seed, accuracy=0.9 + difference, settings={"price": 3.0})
        budget = {"budget": f"macs={ours.result['macs']}"} | settings
        records += [ours, make_run("l1-units", seed, accuracy=0.9, settings=budget)]
    return records


def test_a_win_of_either_side(make_run: MakeRun) -> None:
    records = pair(make_run, [0.05, 0.04, 0.05, 0.06])
    sentence = verdict_of([*records, make_run("dense", 0, accuracy=0.99)])
    assert sentence.startswith("parsimonious beats l1-units by 5.0 points of accuracy at the same MACs")
    assert "4 paired seeds" in sentence


def test_a_loss_and_a_draw(make_run: MakeRun) -> None:
    assert verdict_of(pair(make_run, [-0.05, -0.04, -0.05])).startswith("l1-units beats parsimonious by 4.7 points")
    drawn = pair(make_run, [0.05, -0.05, 0.01])
    assert "cannot be told apart" in verdict_of([record for record in drawn if record.result["seed"] in (0, 1)])


def test_equal_size_is_claimed_only_where_it_was_asked_for(make_run: MakeRun) -> None:
    assert "at the same MACs to within one unit" in verdict_of(pair(make_run, [0.05, 0.04]))
    assert "MACs" not in verdict_of(pair(make_run, [0.05, 0.04, 0.06], budget="macs=10%"))


def test_without_a_pair_there_is_no_winner(make_run: MakeRun) -> None:
    assert verdict_of([make_run("dense")]) == "1 run; nothing to compare parsimonious with."
    ours = make_run("parsimonious", 0)
    assert verdict_of([ours]) == "1 run; nothing to compare parsimonious with."
    assert "share no seed" in verdict_of([ours, make_run("l1-units", 3)])
    assert "nothing to compare" in verdict_of([ours, make_run("l1-units", 0, data="mnist")])


def test_the_rival_is_l1_units_or_else_the_first(make_run: MakeRun) -> None:
    ours = make_run("parsimonious", 0)
    others = [make_run("dense", 0), make_run("l1-units", 0)]
    assert "l1-units" in verdict_of([*others, ours])
    assert "dense" in verdict_of([others[0], ours])


def test_json(make_run: MakeRun) -> None:
    records = [make_run("dense"), make_run("parsimonious")]
    assert as_json(records, [{"method": "dense"}], "report.html") == {
        "schema": 1, "data": "mnist5k", "network": "lenet300",
        "split_sizes": {"train": 3500, "validation": 500, "test": 1000}, "epochs": 6,
        "runs": [run_row(record) for record in records], "summary": [{"method": "dense"}], "report": "report.html",
    }  # fmt: skip


def test_a_row_says_which_run_it_is_and_what_was_asked_of_it(make_run: MakeRun) -> None:
    asked = {"price": None, "budget": "macs=50%", "density": None}
    record = make_run("parsimonious", settings=asked, density=0.25)
    row = run_row(record)
    assert (row["id"], row["price"], row["budget"], row["epochs"]) == (record.id, None, "macs=50%", 6)
    assert row["density_asked"] is None and row["density"] == 0.25  # what was asked for, and what came out
    assert record.result.items() <= row.items()

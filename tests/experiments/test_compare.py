"""The main job: which runs it makes, who is said to have won, and what `--json` prints."""

from collections.abc import Callable
from typing import Any

import pytest

from bayesprune.errors import SettingError, UnknownNameError
from bayesprune.experiments.compare import COMPARED, as_json, comparison
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


def test_json(make_run: MakeRun) -> None:
    records = [make_run("dense"), make_run("parsimonious")]
    assert as_json(records, [{"method": "dense"}], "report.html") == {
        "schema": 2, "data": "mnist5k", "network": "lenet300",
        "split_sizes": {"train": 3500, "validation": 500, "test": 1000}, "epochs": 6,
        "runs": [run_row(record) for record in records], "summary": [{"method": "dense"}], "report": "report.html",
    }  # fmt: skip


def test_json_names_nothing_that_the_runs_do_not_share(make_run: MakeRun) -> None:
    records = [make_run("dense", epochs=2), make_run("dense", epochs=4, network="lenet5")]
    found = as_json(records, [], None)
    assert (found["data"], found["network"], found["epochs"]) == ("mnist5k", None, None)


def test_a_row_says_which_run_it_is_and_what_was_asked_of_it(make_run: MakeRun) -> None:
    asked = {"price": None, "budget": "macs=50%", "density": None}
    record = make_run("parsimonious", settings=asked, density=0.25)
    row = run_row(record)
    assert (row["id"], row["price"], row["budget"], row["epochs"]) == (record.id, None, "macs=50%", 6)
    assert row["density_asked"] is None and row["density"] == 0.25  # what was asked for, and what came out
    assert record.result.items() <= row.items()

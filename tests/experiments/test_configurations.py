"""Which runs are averaged: all settings but the seed, and sizes that another configuration gave."""

from collections.abc import Callable
from typing import Any

import pytest

from bayesprune.experiments.configurations import configurations
from bayesprune.store.runs import RunRecord

MakeRun = Callable[..., RunRecord]


def labels(runs: list[RunRecord]) -> list[tuple[str, list[int]]]:
    """The label of every configuration and the seeds of its runs."""
    return [(one.label, [run.result["seed"] for run in one.records]) for one in configurations(runs)]


@pytest.mark.parametrize(
    ("name", "values", "notes"),
    [
        ("price", (0.2, 200.0), ("price=0.2", "price=200.0")),
        ("learning_rate", (0.1, 1e-5), ("learning_rate=0.1", "learning_rate=1e-05")),
        ("epochs", (2, 4), ("epochs=2", "epochs=4")),
        ("budget", ("macs=10%", "macs=20%"), ("budget=macs=10%", "budget=macs=20%")),
        ("budget", ("macs=900", "macs=1000"), ("budget=macs=900", "budget=macs=1000")),
        ("density", (0.1, 0.2), ("density=0.1", "density=0.2")),
        ("keep", ([], ["fc1"]), ("keep=[]", 'keep=["fc1"]')),
        ("options", ({"start": 0.5}, {"start": 0.9}), ("start=0.5", "start=0.9")),
        ("options", ({}, {"start": 0.9}), ("start=None", "start=0.9")),
        ("weights", (None, "a.safetensors"), ("weights=None", "weights=a.safetensors")),
        ("weights_digest", ("ab", "cd"), ("weights_digest=ab", "weights_digest=cd")),
        ("data_fingerprint", ("ab", "cd"), ("data_fingerprint=ab", "data_fingerprint=cd")),
        ("a_setting_of_later", (1, 2), ("a_setting_of_later=1", "a_setting_of_later=2")),
    ],
)
def test_runs_that_differ_in_a_setting_are_never_averaged(
    make_run: MakeRun, name: str, values: tuple[Any, Any], notes: tuple[str, str]
) -> None:
    # Seed 0 has one value and seed 1 the other: today these would be two seeds of one row.
    runs = [make_run("parsimonious", seed, settings={name: value}) for seed, value in enumerate(values)]
    assert labels(runs) == [(f"parsimonious ({note})", [seed]) for seed, note in enumerate(notes)]


@pytest.mark.parametrize("name", ["threads", "device", "out"])
def test_where_and_how_a_run_was_made_does_not_matter(make_run: MakeRun, name: str) -> None:
    runs = [make_run("parsimonious", seed, settings={name: seed}) for seed in range(3)]
    assert labels(runs) == [("parsimonious", [0, 1, 2])]


def test_weights_are_told_apart_by_their_content(make_run: MakeRun) -> None:
    moved = [
        make_run("parsimonious", seed, settings={"weights": f"{seed}.safetensors", "weights_digest": "ab"})
        for seed in range(3)
    ]
    assert labels(moved) == [("parsimonious", [0, 1, 2])]


def test_every_setting_that_differs_is_shown_and_the_obvious_is_not(make_run: MakeRun) -> None:
    runs = [
        make_run("parsimonious", seed, epochs=epochs, settings={"price": price, "factory": {"epochs": epochs}})
        for epochs, price in ((2, 1.0), (4, 1.0), (4, 2.0))
        for seed in (0, 1)
    ]
    assert labels(runs) == [
        ("parsimonious (epochs=2, price=1.0)", [0, 1]),
        ("parsimonious (epochs=4, price=1.0)", [0, 1]),
        ("parsimonious (epochs=4, price=2.0)", [0, 1]),
    ]


def test_networks_and_data_are_never_averaged_together(make_run: MakeRun) -> None:
    runs = [make_run("dense"), make_run("dense", network="lenet5"), make_run("dense", data="mnist")]
    assert [label for label, _ in labels(runs)] == [
        "dense (lenet300 on mnist5k)", "dense (lenet5 on mnist5k)", "dense (lenet300 on mnist)",
    ]  # fmt: skip


def compared(make_run: MakeRun, price: float, macs: list[int], **settings: Any) -> list[RunRecord]:
    """Runs of parsimonious that came to these MACs, and of two methods that took their sizes from them."""
    runs = []
    for seed, size in enumerate(macs):
        density = size / 1000
        runs.append(make_run("parsimonious", seed, settings={"price": price} | settings, macs=size, density=density))
        runs.append(make_run("l1-units", seed, settings={"budget": f"macs={size}"} | settings, macs=size))
        runs.append(make_run("magnitude", seed, settings={"density": density} | settings, density=density))
    return runs


def test_sizes_taken_seed_by_seed_from_another_method_are_one_configuration(make_run: MakeRun) -> None:
    seeds = [0, 1, 2]
    assert labels(compared(make_run, 1.0, [100, 130, 110])) == [
        ("parsimonious", seeds), ("l1-units", seeds), ("magnitude", seeds),
    ]  # fmt: skip
    assert labels(compared(make_run, 1.0, [100, 100, 110])) == [
        ("parsimonious", seeds), ("l1-units", seeds), ("magnitude", seeds),
    ]  # fmt: skip


def test_two_comparisons_in_one_folder_are_kept_apart(make_run: MakeRun) -> None:
    runs = compared(make_run, 1.0, [100, 130, 110]) + compared(make_run, 4.0, [50, 60, 55])
    seeds = [0, 1, 2]
    assert labels(runs) == [
        ("parsimonious (price=1.0)", seeds),
        ("l1-units (sized like parsimonious price=1.0)", seeds),
        ("magnitude (sized like parsimonious price=1.0)", seeds),
        ("parsimonious (price=4.0)", seeds),
        ("l1-units (sized like parsimonious price=4.0)", seeds),
        ("magnitude (sized like parsimonious price=4.0)", seeds),
    ]
    other_epochs = compared(make_run, 1.0, [100, 130, 110]) + compared(make_run, 1.0, [50, 60, 55], noise=0.1)
    assert [label for label, _ in labels(other_epochs)][1::3] == ["l1-units (noise=None)", "l1-units (noise=0.1)"]


def test_a_run_that_serves_two_comparisons_belongs_to_both(make_run: MakeRun) -> None:
    # Both prices came to 100 MACs with seed 0, so that l1-units was made once for them.
    runs = compared(make_run, 1.0, [100, 130]) + compared(make_run, 2.0, [100, 90])
    found = dict(labels(runs))
    assert found["l1-units (sized like parsimonious price=1.0)"] == [0, 1]
    assert found["l1-units (sized like parsimonious price=2.0)"] == [0, 1]


def test_a_size_that_was_asked_for_is_no_size_that_was_taken(make_run: MakeRun) -> None:
    runs = compared(make_run, 1.0, [100, 130, 110])
    asked = [make_run("l1-units", seed, settings={"budget": "macs=100"}, macs=99) for seed in (1, 2)]
    found = dict(labels(runs + asked))
    assert found["l1-units"] == [0, 1, 2]
    assert found["l1-units (budget=macs=100)"] == [0, 1, 2]  # what seed 0 took is what was asked for
    assert labels(asked) == [("l1-units", [1, 2])]


def starting(run: RunRecord) -> dict[str, Any]:
    """Settings of a run that begins with the network of another."""
    return {"weights": f"run:{run.id}", "weights_digest": f"run:{run.id}", "density": 0.1}


def test_runs_that_begin_with_other_runs_are_told_apart_by_those(make_run: MakeRun) -> None:
    plain = [make_run("dense", seed) for seed in (0, 1)]
    noisy = [make_run("dense", seed, settings={"noise": 0.5}) for seed in (0, 1)]
    pruned = [make_run("magnitude", run.result["seed"], settings=starting(run)) for run in plain]
    assert labels(plain + pruned) == [("dense", [0, 1]), ("magnitude", [0, 1])]
    more = [make_run("magnitude", run.result["seed"], settings=starting(run)) for run in noisy]
    assert [seeds for _, seeds in labels(plain + noisy + pruned + more)] == [[0, 1]] * 4

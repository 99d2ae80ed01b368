"""`bayesprune search`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def test_the_command_and_its_object(command: Callable[..., Any], small_npz: str, tmp_path: Path) -> None:
    flags = (
        "search", "--data", small_npz, "--out", tmp_path, "--epochs", 1, "--candidates", 4, "--population", 3,
        "--batch", 1, "--offspring", 2, "--widths", 1, 2, "--vertices", 6, 7, "--objectives", "accuracy,macs",
    )  # fmt: skip
    outcome = command(*flags)
    assert outcome.status == 0, outcome.err
    assert "4 networks trained on" in outcome.out and "test accuracy" in outcome.out and "front:" in outcome.out
    again = command(*flags, "--json")
    found = json.loads(again.out)
    assert again.err == "reused 4 finished runs\n" and len(found["candidates"]) == 4
    assert found["best"] in [
        one | {k: found["best"][k] for k in ("test_accuracy", "reported")} for one in found["front"]
    ]
    assert all((tmp_path / one["run"] / "run.json").is_file() for one in found["candidates"])


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--population", "0"), "population must be an integer >= 1, not 0"),
        (("--candidates", "5"), "5 candidates are fewer than the population of 10"),
        (("--families", "watts"), "did you mean 'watts-strogatz'"),
        (("--space", "trees"), "unknown space 'trees'"),
        (("--strategy", "evolve"), "unknown strategy 'evolve'"),
        (("--candidates", "4.5"), "not an integer"),
        (("--space", "graphs", "--cells", "2"), "unknown setting of a search in graphs 'cells'"),
    ],
)
def test_flags_that_cannot_be_used(command: Callable[..., Any], flags: tuple[str, ...], words: str) -> None:
    outcome = command("search", *flags)
    assert outcome.status == 2 and words in outcome.err and outcome.err.count("\n") == 1


def test_the_part_of_the_study_has_no_page_of_some_runs(command: Callable[..., Any]) -> None:
    outcome = command("paper", "hidden-structures", "--part", "search", "--finished")
    assert outcome.status == 2 and "leave out --finished" in outcome.err

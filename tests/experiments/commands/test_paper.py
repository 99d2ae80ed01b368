"""`bayesprune paper` on a plan of tiny runs: what it writes, and that finished runs are not made again."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bayesprune.experiments.papers import PAPERS
from bayesprune.experiments.papers.rows import Row
from bayesprune.run.settings import RunSettings

TINY = RunSettings("parsimonious", "lenet300", epochs=2, widths=(12, 6), batch_size=20, price=1.0)
ROWS = (
    Row("dense", "dense", replace(TINY, method="dense", price=None), (0,)),
    Row("base", "base", TINY, (0, 1), quick=1),
    Row("price", "1 (base)", TINY, (0, 1)),
    Row("price", "4", replace(TINY, price=4.0), (0,), quick=1),
    Row("widths", "x1 (base)", TINY, (0, 1)),
    Row("widths", "x2", replace(TINY, widths=(24, 12)), (0,)),
)


@pytest.fixture(autouse=True)
def tiny_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """A study of five runs that take no time."""
    study = replace(
        PAPERS["parsimonious"], plan=lambda repeats: ROWS, quick_settings=lambda row: replace(row, seeds=(0,))
    )
    monkeypatch.setitem(PAPERS, "parsimonious", study)


def modified(out: Path) -> dict[str, int]:
    """When every finished run was written."""
    return {file.parent.name: file.stat().st_mtime_ns for file in out.glob("*/run.json")}


def test_a_study_is_made_once_and_reported(command: Any, small_data: str) -> None:
    out = Path("paper-parsimonious")
    outcome = command("paper", "parsimonious", "--data", small_data, "--workers", 1)
    assert outcome.status == 0, outcome.err
    lines = outcome.err.splitlines()
    assert lines[0].startswith("5 runs, ") and "lenet300 price 4, seed 0: accuracy" in outcome.err
    assert len(lines) == 6
    assert outcome.out.splitlines()[-2:] == [
        "Of 7 figures to reach: 7 not measured.", "report: paper-parsimonious/parsimonious.html",
    ]  # fmt: skip
    assert outcome.out.splitlines()[0].startswith("not measured LeNet-300-100: mean error <= 1.65 %")
    made = modified(out)
    assert len(made) == 5
    for name in ("parsimonious.html", "tables.md", "results.json", "error-macs-lenet300.png", "widths-lenet300.png"):
        assert (out / name).stat().st_size > 100
    again = command("paper", "parsimonious", "--data", small_data, "--workers", 1, "--json")
    assert again.status == 0 and "reused 5 finished runs" in again.err
    assert modified(out) == made
    found = json.loads(again.out)
    assert again.out.count("\n") == 1
    assert found == json.loads((out / "results.json").read_text())
    assert [(row["factor"], len(row["runs"])) for row in found["rows"]] == [
        ("dense", 1), ("base", 2), ("price", 2), ("price", 1), ("widths", 2), ("widths", 1),
    ]  # fmt: skip


def test_the_quick_study_has_a_folder_of_its_own(command: Any, small_data: str) -> None:
    outcome = command("paper", "parsimonious", "--quick", "--data", small_data, "--json")
    assert outcome.status == 0, outcome.err
    assert json.loads(outcome.out)["report"] == "paper-parsimonious-quick/parsimonious.html"
    assert len(modified(Path("paper-parsimonious-quick"))) == 2


def test_the_page_of_what_is_finished_makes_no_runs(command: Any, small_data: str) -> None:
    out, asked = Path("paper-parsimonious"), ("paper", "parsimonious", "--data", small_data, "--workers", 1)
    nothing = command(*asked, "--finished")
    assert nothing.status == 2 and "none of the 5 runs is finished in paper-parsimonious" in nothing.err
    assert command(*asked).status == 0
    made = modified(out)
    dense = next(
        file for file in out.glob("*/run.json") if json.loads(file.read_text())["settings"]["method"] == "dense"
    )
    dense.unlink()
    some = command(*asked, "--finished", "--json")
    assert some.status == 0, some.err
    assert [(row["factor"], len(row["runs"])) for row in json.loads(some.out)["rows"]][:2] == [
        ("dense", 0),
        ("base", 2),
    ]
    assert modified(out) == {name: time for name, time in made.items() if name != dense.parent.name}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["parsimonius"], "unknown paper 'parsimonius': did you mean 'parsimonious'? there are cifar, hidden-"),
        (["parsimonious", "--part", "lenet3"], "unknown part of parsimonious 'lenet3'"),
        (["parsimonious", "--part", "lenet3"], "there are all, lenet300, lenet5"),
        (["parsimonious", "--workers", "0"], "workers must be an integer >= 1"),
        (["parsimonious", "--steps", "300"], "parsimonious has no transfer to take so many steps: leave out steps=300"),
        (["tangent-transfer", "--steps", "0"], "steps must be an integer >= 1"),
        (["parsimonious", "--data", "nonsense"], "nonsense"),
        ([], "requires an argument"),
    ],
)
def test_what_cannot_be_studied_is_one_line_and_writes_nothing(
    arguments: list[str], words: str, command: Any, tmp_path: Path
) -> None:
    outcome = command("paper", *arguments)
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert words in outcome.err
    assert not list(tmp_path.iterdir())


def test_ctrl_c_says_how_to_go_on(command: Any, small_data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bayesprune.experiments.commands.shared.run_jobs", interrupt)
    outcome = command("paper", "parsimonious", "--data", small_data)
    assert outcome.status == 130
    assert outcome.err.endswith("finished runs are kept, and the same command goes on\n")

"""The study of spike-and-slab nodes from made-up runs: plan, verdicts, trajectory and the whole report."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bayesprune.experiments.jobs import check
from bayesprune.experiments.methods import method
from bayesprune.experiments.papers import paper
from bayesprune.experiments.papers.results import write_results
from bayesprune.experiments.papers.rows import Row, RowRuns, jobs_of
from bayesprune.experiments.papers.spike_slab import runs
from bayesprune.experiments.papers.spike_slab.collapse import nodes, open_nodes, share_of_macs, trajectory_table
from bayesprune.experiments.papers.spike_slab.targets import targets

MakeStudy = Callable[..., list[RowRuns]]
STUDY = paper("spike-slab")
LONG = runs.RECIPE


def part(name: str) -> list[Row]:
    """The rows of a part."""
    return STUDY.rows(name)


def verdicts(found: list[RowRuns]) -> dict[str, str]:
    """Verdict by subject and what was to be reached."""
    return {f"{one.subject}: {one.wanted}": one.verdict for one in targets(found)}


def test_every_run_can_be_made() -> None:
    for job in jobs_of([*STUDY.rows(), *part(LONG)]):
        method(job.settings.method).normal(job.settings)
    for job in jobs_of(STUDY.rows(quick=True)):
        check(job)


def test_the_long_recipe_is_made_on_demand_only() -> None:
    assert all((row.settings.epochs or 0) <= 50 for row in STUDY.rows())
    (row,) = part(LONG)
    assert row.settings.epochs == 1200 and row.settings.batch_size == 1024 and row.seeds == (0,)


def test_the_quick_study_is_short() -> None:
    rows = STUDY.rows(quick=True)
    assert {row.settings.data for row in rows} == {"mnist5k"} and {len(row.seeds) for row in rows} == {1}
    assert max(row.settings.epochs or 0 for row in rows) <= 40 and 10 <= len(rows) <= 20


def test_bmrs_is_met_at_its_parameters(make_study: MakeStudy) -> None:
    rows = [row for row in part("bmrs-lenet5") if row.value in runs.OURS]
    found = make_study(rows, lambda row, seed: (1.2 if row.value == "parsimonious" else 1.6, 90_000, 7_652))
    wanted = "mean error <= 1.50 %, every seed <= 7,652 parameters"
    assert verdicts(found) == {
        f"LeNet-5 6-16-120-84, parsimonious: {wanted}": "reached",
        f"LeNet-5 6-16-120-84, spike-slab-flat: {wanted}": "MISSED",
    }
    one_above = make_study(rows[:1], lambda row, seed: (1.2, 90_000, 7_652 + (seed == 3)))
    assert set(verdicts(one_above).values()) == {"MISSED"}
    lacking = make_study(rows[:1], lambda row, seed: (1.2, 90_000, 7_000) if seed else None)
    assert set(verdicts(lacking).values()) == {"not measured"}


@pytest.mark.parametrize(("outcome", "verdict"), [
    ((1.9, 11_472), "reached"), ((1.91, 9_000), "MISSED"), ((1.5, 11_473), "MISSED"),
])  # fmt: skip
def test_a_relative_stands_beside_its_published_row(
    make_study: MakeStudy, outcome: tuple[float, ...], verdict: str
) -> None:
    found = make_study([row for row in part("lenet300") if row.value == "vib"], lambda row, seed: outcome)
    assert list(verdicts(found).values()) == [verdict]  # VIB has 1.6 % at 9,560 MACs


@pytest.mark.parametrize(("flat", "verdict"), [
    ((5.0, 9_000, 9_000, 0.0), "reached"), ((2.9, 50_000, 9_000, 0.0), "reached"),
    ((5.0, 50_000, 9_000, 0.0), "MISSED"), ((2.9, 9_000, 9_000, 0.01), "MISSED"),
])  # fmt: skip
def test_the_flattened_sister(make_study: MakeStudy, flat: tuple[float, ...], verdict: str) -> None:
    rows = [row for row in part("mnist-mlp") if row.value.startswith("spike-slab")]
    found = make_study(rows, lambda row, seed: flat if row.value == "spike-slab-flat" else (3.0, 30_000))
    assert list(verdicts(found).values()) == [verdict]


def collapsing(found: list[RowRuns], after: int) -> RowRuns:
    """A run of the published recipe whose nodes but 68 and 40 close after an epoch."""
    (one,) = found
    trace = torch.ones(1200, 1584)
    trace[after:, 784 + 68 : 784 + 400] = 0.1
    trace[after:, 784 + 400 + 40 :] = 0.1
    tensors = {"trace": trace, "steps": 54 * torch.arange(1, 1201), "decided": trace[-1] > 0.5}
    first = one.records[0].history[0]
    history = [{**first, "step": 54 * (epoch + 1)} for epoch in range(1200)]
    return replace(one, records=(replace(one.records[0], tensors=tensors, history=history),))


@pytest.mark.parametrize(("after", "verdict"), [(30, "reached"), (5, "MISSED"), (300, "MISSED")])
def test_when_gates_collapse(make_study: MakeStudy, after: int, verdict: str) -> None:
    one = collapsing(make_study(part(LONG), lambda row, seed: (3.1, 56_432)), after)
    found = verdicts([one])
    assert [found[key] for key in found if "collapse" in key or "epochs 20" in key] == [verdict]
    run = one.records[0]
    assert nodes(run) == 800 and open_nodes(run)[after - 1 : after + 1] == [800, 108]
    assert share_of_macs(run, after) == 100.0
    assert share_of_macs(run, after + 1) == pytest.approx(100 * 56_432 / 477_600)
    table = trajectory_table(run)
    assert [row[0] for row in table.rows] == ["10", "50", "100", "200", "500", "1199"]
    assert table.rows[-1][2] == "11.8"


def test_everything_is_written(make_study: MakeStudy, tmp_path: Path) -> None:
    long = collapsing(make_study(part(LONG), lambda row, seed: (3.1, 56_432)), 40)
    names = ("mnist-mlp", "bmrs-lenet5", "lenet300")
    found = [*make_study([row for name in names for row in part(name)]), long]
    values = write_results("spike-slab", STUDY.evaluate(found), found, tmp_path / "out")
    pictures = {f"error-macs-{name}.png" for name in names} | {f"gates-{LONG}.png"}
    files = {file.name for file in (tmp_path / "out").iterdir()}
    assert files == {"spike-slab.html", "tables.md", "results.json"} | pictures
    markdown = (tmp_path / "out" / "tables.md").read_text("utf-8")
    for text in ("784-68-40", "BMRS_N", "bc-ghs", "97-71-33", "SS-GHS"):
        assert text in markdown
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == json.loads(json.dumps(values))

"""Recurrent networks of the study: which runs, the published table, and what made-up runs come to, by hand."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bayesprune.experiments.executor import run_jobs
from bayesprune.experiments.papers import paper
from bayesprune.experiments.papers.hidden_structures.rnn_published import DENSE, NEVER, PRUNED, SECOND
from bayesprune.experiments.papers.hidden_structures.rnn_runs import (
    CELLS,
    DATA,
    MATRICES,
    RATES,
    RNN,
    RNN_LONG,
    cell_of,
    choice_of,
    part_of,
    rate_of,
    weights_of_choice,
)
from bayesprune.experiments.papers.hidden_structures.rnn_study import rnn_sections, rnn_targets
from bayesprune.experiments.papers.hidden_structures.rnn_tables import pruned_table, settings_of
from bayesprune.experiments.papers.rows import Row, RowRuns, jobs_of
from bayesprune.experiments.papers.verdicts import MISSED, REACHED, UNKNOWN
from bayesprune.models import StackedRNN
from bayesprune.store.runs import RunRecord
from bayesprune.structure import weights_of
from bayesprune.structure.matrices import matrices_of

MakeRun = Callable[..., RunRecord]
STUDY = paper("hidden-structures")
ROWS = {(row.factor, row.value): row for row in STUDY.rows(RNN, repeats=1)}


def test_every_choice_rate_and_cell() -> None:
    for part, retrain in ((RNN, 2), (RNN_LONG, 10)):
        rows = STUDY.rows(part, repeats=1)
        pruned = [row for row in rows if choice_of(row)]
        assert {part_of(row) for row in rows} == {part}
        found = Counter((choice_of(row), rate_of(row), cell_of(row)) for row in pruned)
        assert set(found) == {(m, r, c) for m in MATRICES for r in RATES for c in CELLS} and set(found.values()) == {1}
        assert {row.settings.options["retrain"] for row in pruned} == {retrain}
        assert {row.settings.data for row in rows} == {DATA}
        jobs = jobs_of(rows)
        dense = [job.settings for job in jobs if job.settings.method == "dense"]
        assert len(dense) == 4 and all(job.start in dense for job in jobs if job.start is not None)
    assert len(jobs_of(STUDY.rows(RNN, repeats=2))) == 2 * len(jobs_of(STUDY.rows(RNN, repeats=1)))
    # All of it is asked for by name alone.
    assert {part_of(row) for row in STUDY.rows()} == {None} and RNN_LONG not in STUDY.parts


def test_the_quick_part_stays_on_strings() -> None:
    rows = STUDY.rows(RNN, quick=True)
    assert len(jobs_of(rows)) == 4 + (5 + 3) + 3 and {row.settings.data for row in rows} == {"reber"}
    assert {row.settings.data for row in STUDY.rows(RNN, quick=True, data="reber@3")} == {"reber@3"}
    assert {row.settings.network for row in rows if row.factor.endswith("dense")} == {f"rnn-{cell}" for cell in CELLS}
    starts = [job.start for job in jobs_of(rows) if job.start is not None]
    assert {(start.epochs, start.batch_size, start.data) for start in starts} == {(3, 128, "reber")}


@pytest.mark.parametrize("cell", list(CELLS))
def test_the_share_removed_is_of_the_chosen_matrices(cell: str) -> None:
    network = StackedRNN(cell)
    sizes = {name: weight.numel() for name, weight in weights_of(network).items()}
    for choice, matrices in MATRICES.items():
        names = matrices_of(network, matrices)
        total = sum(sizes[name] for name in names)
        assert total == weights_of_choice(cell, choice)
        for rate in RATES:
            settings = ROWS[f"{RNN}: {choice}", f"{CELLS[cell]}, {rate} %"].settings
            kept = round(float(str(settings.density)) * total)
            assert kept == (len(names) if rate == 100 else round((1 - rate / 100) * total))


def test_published_numbers() -> None:
    """Against the note's table, column by column."""
    both = {rate: [PRUNED["both", rate, cell] for cell in CELLS] for rate in (60, 70, 80, 90)}
    assert both[60] == [(0.937, 0.937), (0.993, 1), (1, 1), (1, 1)]
    assert both[70] == [(0.933, 0.937), (0.986, 1), (0.998, 1), (0.803, 1)]
    assert both[80] == [(0.919, 0.933), (0.549, 1), (0.994, 1), (0.668, 1)]
    assert both[90] == [(0.656, 0.925), (0.503, 1), (0.551, 1), (0.495, 0.9997)]
    assert [PRUNED["i2h", 80, cell] for cell in CELLS] == [(0.814, 0.935), (0.95, 1), (0.997, 1), (0.946, 0.9998)]
    assert [PRUNED["i2h", 90, cell] for cell in CELLS] == [(0.494, 0.739), (0.905, 1), (0.876, 1), (0.621, 1)]
    assert [PRUNED["h2h", 80, cell] for cell in CELLS] == [(0.937, 0.937), (0.649, 1), (0.956, 1), (0.999, 1)]
    assert [PRUNED["h2h", 90, cell] for cell in CELLS] == [(0.72, 0.937), (0.464, 1), (0.951, 1), (0.953, 1)]
    hundred = [(0.494, 0.518), (0.506, 0.516), (0.573, 0.974), (0.521, 0.988)]
    assert [PRUNED["h2h", 100, cell] for cell in CELLS] == hundred and len(PRUNED) == 9 * 4
    assert list(SECOND.values()) == [0.923, 0.9998, 0.9997] and list(DENSE.values()) == [0.937, 1, 1, 1]
    assert len(NEVER) == 2 + 2 * 4


def made(
    make_run: MakeRun, row: Row, accuracies: list[float], right_after: float | None = None, data: str = DATA
) -> RowRuns:
    """A row with one run, an epoch an accuracy."""
    run = make_run(row.settings.method, 0, data=data, settings={"network": row.network})
    phase = "train" if right_after is None else "round 1"
    first: dict[str, Any] = {} if right_after is None else {"pruned_accuracy": right_after}
    entry = {**run.history[0], "phase": phase}
    run.history[:] = [entry | {"test_accuracy": value} | (first if not n else {}) for n, value in enumerate(accuracies)]
    run.result["accuracy"] = accuracies[-1]
    return RowRuns(row, (run,))


def test_a_line_of_the_table(make_run: MakeRun) -> None:
    one = made(make_run, ROWS[f"{RNN}: both", "LSTM, 80 %"], [0.9, 0.95, 0.97], 0.6)
    (setting,) = settings_of([one])
    table = pruned_table([setting])
    assert table is not None
    assert table.rows[0][:8] == ("both", "80 %", "LSTM", "1", "0.668", "0.6000", "1", "0.9000")
    assert table.rows[0][9:] == ("0.9500", "0.9700")
    never = made(make_run, ROWS[f"{RNN}: i2h", "tanh, 100 %"], [0.5, 0.5], 0.5)
    table = pruned_table(settings_of([never]))
    assert table is not None and table.rows[0][8] == "never recovers"
    assert pruned_table([]) is None


@pytest.mark.parametrize(
    ("dense", "pruned", "data", "verdicts"),
    [
        ([0.98, 1.0, 0.999], [0.999, 0.9], DATA, (REACHED, REACHED)),
        ([0.98, 0.9992, 0.99], [0.9985, 1.0], DATA, (MISSED, MISSED)),
        ([1.0, 1.0], [1.0], "reber", (UNKNOWN, UNKNOWN)),
        ([0.9, 0.9, 0.9, 0.9, 0.9, 1.0], [1.0], DATA, (MISSED, REACHED)),
    ],
)
def test_verdicts(
    make_run: MakeRun, dense: list[float], pruned: list[float], data: str, verdicts: tuple[str, str]
) -> None:
    found = [
        made(make_run, ROWS[f"{RNN}: dense", "GRU"], dense, data=data),
        made(make_run, ROWS[f"{RNN}: both", "GRU, 80 %"], pruned, 0.5, data),
    ]
    reached = {one.subject: one.verdict for one in rnn_targets(found)}
    assert reached["3 x 50 GRU, dense"] == verdicts[0]
    assert reached["3 x 50 GRU, 80 % of both matrices removed, 1 epoch"] == verdicts[1]
    assert reached["3 x 50 LSTM, dense"] == UNKNOWN and rnn_targets([]) == []


def test_sections_and_pictures(make_run: MakeRun) -> None:
    found = [made(make_run, ROWS[f"{RNN}: dense", "GRU"], [0.9, 1.0])]
    for rate in (80, 90):
        found.append(made(make_run, ROWS[f"{RNN}: both", f"GRU, {rate} %"], [0.95, 0.96], 0.5))
    found.append(made(make_run, ROWS[f"{RNN}: l1-units", "GRU, 20 % of the MACs"], [0.97]))
    (section,) = rnn_sections(found)
    assert len(section.tables) == 3 and len(section.wide) == 2
    assert all(sketch.png().startswith(b"\x89PNG") for sketch in section.wide)
    assert "GRU 0.9500" in section.wide[0].description and rnn_sections([]) == []
    assert "Recurrent networks" in [one.heading for one in STUDY.evaluate(found).document.sections]


@pytest.mark.long
def test_runs_make_a_page(tmp_path: Path) -> None:
    """A few of the quick runs, shorter still."""
    wanted = {(f"{RNN}: dense", "ReLU"), (f"{RNN}: both", "ReLU, 80 %"), (f"{RNN}: l1-units", "LSTM, 20 % of the MACs")}
    rows = []
    for row in STUDY.rows(RNN, quick=True, data="reber-hard"):
        if (row.factor, row.value) in wanted:
            start = None if row.start is None else replace(row.start, epochs=1, batch_size=512)
            rows.append(replace(row, settings=replace(row.settings, epochs=1, batch_size=512), start=start))
    jobs = jobs_of(rows)
    folders = run_jobs(jobs, tmp_path, workers=1)
    records = [RunRecord.read(folder) for folder in folders]
    assert {str(run.settings["method"]) for run in records} == {"dense", "magnitude", "l1-units"}
    pruned = next(run for run in records if run.settings["method"] == "magnitude")
    assert pruned.history[0]["weights_left"] == 3_000 + 100 and "pruned_accuracy" in pruned.history[0]
    # The kept weights of all recurrent matrices, the head's, and what the report says of each layer.
    alive = {row["name"]: row["nonzero_weights"] for row in pruned.layers}
    assert alive["rnn1"] + alive["rnn2"] + alive["rnn3"] == 3_000 and alive["head"] == 100

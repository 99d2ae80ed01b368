"""Parts `rnn-pruning` and `rnn-pruning-long`: sections and figures to reach of pruned recurrent networks."""

from collections.abc import Sequence
from statistics import fmean

from bayesprune.experiments.papers.hidden_structures.rnn_plots import cost_sketch, removed_sketch
from bayesprune.experiments.papers.hidden_structures.rnn_runs import CELLS, DATA, PARTS, RNN, part_of
from bayesprune.experiments.papers.hidden_structures.rnn_tables import (
    Setting,
    accuracy_after,
    dense_runs,
    dense_table,
    pruned_table,
    retrained,
    settings_of,
    units_table,
)
from bayesprune.experiments.papers.rows import RowRuns
from bayesprune.experiments.papers.verdicts import UNKNOWN, Target, verdict
from bayesprune.experiments.report.sections import Section
from bayesprune.store.runs import RunRecord

_WITHIN, _DENSE, _PRUNED = 5, 0.9995, 0.999
"""Epochs in which dense networks reach 1.0 (to three digits), and what pruned ones come back to."""

_RIGHT = ("relu", "gru", "lstm")
_NOTES = (
    "Three recurrent layers of 50 upon an embedding of 50. Adam at 1e-3, batches of 32, gradient norm clipped at 5, no "
    "weight decay; a share of the chosen matrices is removed at once, those nearest 0 over all layers together; "
    "embedding and head stay whole.",
    "Ours reads the state after the last letter; published networks read it after padding to the longest string of "
    "the batch. At 100 % ours keeps one weight in each matrix, the published ones kept one in all.",
    "Accuracies are those of the epoch named, on the test split; nothing is chosen by it. Published: one run a "
    "setting, without a seed.",
    "Methods that remove hidden units train for 10 epochs in batches of 128, as their usual recipe has it, from "
    "initial weights: they are compared by what they leave, not epoch by epoch.",
)


def rnn_sections(found: Sequence[RowRuns]) -> list[Section]:
    """What was run of each part."""
    sections = []
    for part in PARTS:
        rows = [one for one in found if part_of(one.row) == part]
        settings = settings_of(rows)
        tables = [
            table for table in (dense_table(rows), pruned_table(settings), units_table(rows)) if table is not None
        ]
        wide = [one for one in (removed_sketch(settings), cost_sketch(settings, rows)) if one is not None]
        if tables:
            title = "Recurrent networks" if part == RNN else "Recurrent networks, the published epochs"
            sections.append(Section(title, tables=tables, wide=wide, notes=_NOTES))
    return sections


def rnn_targets(found: Sequence[RowRuns]) -> list[Target]:
    """Dense networks that learn the grammar, and pruned ones that come back."""
    rows = [one for one in found if part_of(one.row) == RNN]
    if not rows:
        return []
    dense, settings = dense_runs(rows), settings_of(rows)
    return [
        *(_dense(cell, dense.get(cell, ())) for cell in _RIGHT),
        *(_pruned(cell, settings) for cell in _RIGHT),
    ]


def _dense(cell: str, runs: Sequence[RunRecord]) -> Target:
    subject, wanted = f"3 x 50 {CELLS[cell]}, dense", f"1.0 within {_WITHIN} epochs"
    if lacking := _lacking(runs):
        return Target(subject, wanted, lacking, UNKNOWN)
    best = [max(accuracy_after(at)(run) for at in range(1, min(_WITHIN, len(run.history)) + 1)) for run in runs]
    return Target(subject, wanted, f"{fmean(best):.4f}, {_seeds(runs)}", verdict(fmean(best) >= _DENSE))


def _pruned(cell: str, settings: Sequence[Setting]) -> Target:
    subject, wanted = f"3 x 50 {CELLS[cell]}, 80 % of both matrices removed, 1 epoch", f">= {_PRUNED}"
    runs = [run for one in settings if (one.cell, one.choice, one.rate) == (cell, "both", 80) for run in one.records]
    if lacking := _lacking(runs):
        return Target(subject, wanted, lacking, UNKNOWN)
    mean = fmean(retrained(1)(run) for run in runs)
    return Target(subject, wanted, f"{mean:.4f}, {_seeds(runs)}", verdict(mean >= _PRUNED))


def _seeds(runs: Sequence[RunRecord]) -> str:
    return f"{len(runs)} seed{'s' if len(runs) > 1 else ''}"


def _lacking(runs: Sequence[RunRecord]) -> str:
    """Why runs cannot be held against a figure; nothing where they can."""
    if not runs:
        return "no run"
    other = sorted({str(run.data["name"]) for run in runs} - {DATA})
    return f"on {', '.join(other)}, not {DATA}" if other else ""

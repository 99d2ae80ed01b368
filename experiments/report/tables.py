"""The tables of the report as plain values that the template writes out."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bayesprune.experiments.configurations import Configuration, configurations, unique_runs
from bayesprune.experiments.gates import GateCounts, counts_together, flagged, gate_counts
from bayesprune.experiments.number_format import MISSING, NumberFormat
from bayesprune.experiments.recalls import recalls_of
from bayesprune.experiments.statistics import mean_and_spread
from bayesprune.experiments.summary import dense_runs, metric_of, metrics_for, summary_rows
from bayesprune.store.runs import RunRecord

_NOT_IN_SUMMARY = ("brier", "density")
_SMALL = 0.0005
NEVER_RIGHT = "\N{NO-BREAK SPACE}!"
"""Behind the recall of a class that some run never gets right."""
_CLOSED = ("gates closed by their price", "gates closed at the end", "gates closed for the budget")


@dataclass(frozen=True)
class Table:
    """A table; the first cell of every row names the row.

    Attributes:
        caption: what it shows.
        headings: of the columns.
        rows: cells as text, as many as headings.
        total: a last row set apart, or empty.
        words: how many leading columns hold words and not numbers.
    """

    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    total: tuple[str, ...] = ()
    words: int = 1


def summary_table(records: Sequence[RunRecord]) -> Table:
    """Mean and spread of every metric by method."""
    metrics = [metric for metric in metrics_for(records) if metric.key not in _NOT_IN_SUMMARY]
    rows = tuple(
        (flagged(row["label"], one.records), str(row["n"]), *(metric.show(row[metric.key]) for metric in metrics))
        for row, one in zip(summary_rows(records), configurations(records), strict=True)
    )
    headings = ("method", "seeds", *(metric.heading for metric in metrics))
    several = any(row[1] != "1" for row in rows)
    caption = "Mean ± standard deviation over seeds" if several else "One run a method: there is no spread"
    return Table(caption, headings, rows)


def runs_table(found: Sequence[Configuration], records: Sequence[RunRecord]) -> Table:
    """Every run by itself."""
    metrics, dense = metrics_for(records), dense_runs(unique_runs(records))
    rows = []
    for one in found:
        for run in one.records:
            values = [metric_of(run, metric.key, dense) for metric in metrics]
            numbers = [metric.form.show(value) for metric, value in zip(metrics, values, strict=True)]
            rows.append((flagged(one.label, [run]), str(run.result["seed"]), *numbers, *_closed(run), run.id))
    headings = ("method", "seed", *(m.heading for m in metrics), *_CLOSED, "run")
    return Table("Every run", headings, tuple(rows))


def recall_tables(found: Sequence[Configuration]) -> list[Table]:
    """For each data set with classes the share of right answers in each class, mean and spread over seeds."""
    with_recalls = [one for one in found if any(recalls_of(run) for run in one.records)]
    places = dict.fromkeys(str(one.records[0].data["name"]) for one in with_recalls)
    return [
        _recall_table(name, [one for one in with_recalls if one.records[0].data["name"] == name]) for name in places
    ]


def _recall_table(data: str, found: Sequence[Configuration]) -> Table:
    """One row a class, one column a configuration."""
    classes = max(len(recalls_of(run)) for one in found for run in one.records)
    rows = tuple((str(number), *(_recall_cell(one, number) for one in found)) for number in range(classes))
    caption = f"Recall % of each class of {data}: share of its test examples with the right answer; higher is better"
    return Table(caption, ("class", *(one.label for one in found)), rows)


def _recall_cell(one: Configuration, number: int) -> str:
    """Mean and spread of a class; marked where some run never gives it the right answer."""
    recalls = [recalls_of(run)[number : number + 1] for run in one.records]
    values = [value for some in recalls for value in some if value is not None]
    if not values or len(values) < len(recalls):
        return MISSING
    spread = mean_and_spread(values)
    shown = NumberFormat(1, 100.0).show(spread.mean, spread.sd)
    return f"{shown}{NEVER_RIGHT}" if 0.0 in values else shown


def gates_table(run: RunRecord, caption: str) -> Table | None:
    """What happened to the gates of every group; None where the run does not say."""
    counts = gate_counts(run)
    if counts is None:
        return None
    rows = tuple((name, *_gate_cells(one)) for name, one in counts.items())
    total = ("all groups", *_gate_cells(counts_together(list(counts.values()))))
    return Table(caption, ("group", "gates", "stay open", *_CLOSED), rows, total)


def _gate_cells(counts: GateCounts) -> tuple[str, ...]:
    """All gates, those that stay open, and why the others were closed."""
    closed = (counts.closed_by_price, counts.closed_at_end, counts.cut_for_budget)
    return tuple(f"{count:,}" for count in (counts.gates, counts.open, *closed))


def layer_table(run: RunRecord, caption: str) -> Table:
    """What every layer of a run costs now, and its share of what it cost dense."""
    rows = tuple(
        (
            str(layer["name"]),
            str(layer["kind"]),
            f"{layer['inputs']:,} / {layer['dense_inputs']:,}",
            f"{layer['outputs']:,} / {layer['dense_outputs']:,}",
            f"{layer['fed_outputs']:,}" if "fed_outputs" in layer else MISSING,
            _weights_cell([layer]),
            *_cost_cells([layer]),
        )
        for layer in run.layers
    )
    headings = (
        "layer", "kind", "inputs kept / dense", "outputs kept / dense", "outputs whose weights are not all 0",
        "weights not 0 / dense",
        "parameters", "of dense", "MACs", "of dense",
    )  # fmt: skip
    total = ("all layers", "", "", "", "", _weights_cell(run.layers), *_cost_cells(run.layers))
    return Table(caption, headings, rows, total, words=2)


def whole_layers(run: RunRecord) -> list[str]:
    """The layers that lose no channel whatever the method does, each with the reason; old folders do not say."""
    return [f"{name}: {reason}" for name, reason in run.whole.items()]


def settings_tables(found: Sequence[Configuration]) -> list[Table]:
    """What all runs share, and what differs, in settings and in versions."""
    runs = [(f"{one.label}, seed {run.result['seed']}", run) for one in found for run in one.records]
    return [
        table
        for title, values in (
            ("Settings", [run.settings for _, run in runs]),
            ("Versions", [dict(run.versions) for _, run in runs]),
        )
        for table in _shared_and_differing(title, [name for name, _ in runs], values)
    ]


def _shared_and_differing(title: str, names: list[str], values: list[dict[str, Any]]) -> list[Table]:
    """One table of what all have in common and, where there is any, one of the rest with a row a run."""
    keys = list(dict.fromkeys(key for value in values for key in value))
    shared = [key for key in keys if all(_text(value, key) == _text(values[0], key) for value in values)]
    rest = [key for key in keys if key not in shared]
    caption = f"{title} of the run" if len(names) == 1 else f"{title} that all runs share"
    tables = []
    if shared:
        tables.append(Table(caption, ("name", "value"), tuple((key, _text(values[0], key)) for key in shared), words=2))
    if rest:
        rows = tuple((name, *(_text(value, key) for key in rest)) for name, value in zip(names, values, strict=True))
        tables.append(Table(f"{title} that differ", ("run", *rest), rows, words=1 + len(rest)))
    return tables


def _text(values: dict[str, Any], key: str) -> str:
    """A setting as text; settings of another method that this one lacks are missing."""
    if key not in values or values[key] is None:
        return MISSING
    value = values[key]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cost_cells(layers: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """Parameters and MACs of some layers together, each with its share of dense."""
    cells: list[str] = []
    for what in ("params", "macs"):
        now, dense = (sum(layer[prefix + what] for layer in layers) for prefix in ("", "dense_"))
        cells += [f"{now:,}", _share(now, dense)]
    return tuple(cells)


def _weights_cell(layers: Sequence[dict[str, Any]]) -> str:
    """Weights that are not 0 of some layers together, and how many there were; runs of old folders do not say."""
    if not all("nonzero_weights" in layer for layer in layers):
        return MISSING
    now, dense = (sum(layer[what] for layer in layers) for what in ("nonzero_weights", "dense_weights"))
    return f"{now:,} / {dense:,}"


def _share(part: float, whole: float) -> str:
    """A share in percent; one that would be rounded to nothing says that it is below 0.1 %."""
    if whole <= 0:
        return MISSING
    return "< 0.1 %" if 0 < part / whole < _SMALL else f"{100 * part / whole:.1f} %"


def _closed(run: RunRecord) -> tuple[str, ...]:
    """Why the gates of a run were closed; missing where it has none, or does not say."""
    counts = gate_counts(run)
    if counts is None:
        return (MISSING,) * len(_CLOSED)
    return _gate_cells(counts_together(list(counts.values())))[2:]

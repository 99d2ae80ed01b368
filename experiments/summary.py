"""What the runs of a study say by method: mean and spread over seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bayesprune.experiments.number_format import NumberFormat, compact_spread
from bayesprune.experiments.statistics import mean_and_spread
from bayesprune.store.runs import RunRecord

_MANY_IMAGES = 5000
"""From so many test images on, a hundredth of a point of accuracy is more than rounding."""


@dataclass(frozen=True)
class Metric:
    """One number of a run.

    Attributes:
        key: in a run's result and in `summary_rows`.
        heading: of its column.
        meaning: one phrase for whoever reads the table.
        form: how it is written.
        large: whether it is a count that a narrow table writes as 266.6k.
    """

    key: str
    heading: str
    meaning: str
    form: NumberFormat
    large: bool = False

    def show(self, entry: Mapping[str, float | None], *, narrow: bool = False) -> str:
        """The `{mean, sd}` of `summary_rows` as text; a count that is the same in all runs has no spread."""
        mean, spread = entry["mean"], entry["sd"]
        if self.large and spread == 0.0:
            spread = None
        return (compact_spread if narrow and self.large else self.form.show)(mean, spread)


METRICS = (
    Metric("accuracy", "accuracy %", "share of right answers on the test split", NumberFormat(1, 100.0)),
    Metric("nll", "NLL", "mean negative log-likelihood in nats", NumberFormat(3)),
    Metric("ece", "ECE", "expected calibration error, 15 bins", NumberFormat(3)),
    Metric("brier", "Brier", "mean squared distance of the probabilities to the label", NumberFormat(3)),
    Metric("params", "parameters", "of the stored network", NumberFormat(0), large=True),
    Metric("nonzero_weights", "non-zero weights", "parameters that are not 0", NumberFormat(0), large=True),
    Metric("macs", "MACs", "multiply-accumulates of one sample", NumberFormat(0), large=True),
    Metric("latency_ms", "latency ms", "median time of one sample", NumberFormat(digits=2)),
    Metric("density", "density", "non-zero weights over initial weights", NumberFormat(3)),
    Metric("train_seconds", "training s", "seconds of training", NumberFormat(1)),
    Metric("time_against_dense", "time / dense", "training time over that of dense", NumberFormat(2)),
    Metric("train_macs_ratio", "training MACs / dense", "over plain dense training", NumberFormat(2)),
)


@dataclass(frozen=True)
class Configuration:
    """Runs to be averaged: one method on one network and data set, a run a seed.

    Attributes:
        label: the method, with whatever else tells it from other configurations shown beside it.
        method: its name.
        records: its runs.
    """

    label: str
    method: str
    records: tuple[RunRecord, ...]


def configurations(records: Sequence[RunRecord]) -> list[Configuration]:
    """The runs by what they have in common apart from the seed, in the order of first appearance.

    Sizes that are fitted seed by seed to another method's result do not tell configurations apart; settings
    in which runs of one seed differ do. A run that is given twice counts once.
    """
    runs = unique_runs(records)
    one_place = len({place_of(run) for run in runs}) <= 1
    found = []
    for (method, network, data), alike in _grouped(runs, [(method_of(r), *place_of(r)) for r in runs]).items():
        where = [] if one_place else [f"{network} on {data}"]
        varied = _varied_settings(alike)
        values = [tuple(_all_settings(run).get(name) for name in varied) for run in alike]
        for choice, members in _grouped(alike, [tuple(map(str, value)) for value in values]).items():
            notes = where + [f"{name}={value}" for name, value in zip(varied, choice, strict=True)]
            label = f"{method} ({', '.join(notes)})" if notes else method
            found.append(Configuration(label, method, tuple(members)))
    return found


def summary_rows(records: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """One row a configuration: "method", "label", "n" and for each metric {"mean", "sd"}.

    `sd` is the sample standard deviation over seeds, None for one run; both are None where a run lacks the
    number. "time_against_dense" is relative to the mean of the dense runs on the same network and data.
    """
    runs = unique_runs(records)
    rows = []
    for configuration in configurations(runs):
        row: dict[str, Any] = {
            "method": configuration.method,
            "label": configuration.label,
            "n": len(configuration.records),
        }
        for metric in METRICS:
            row[metric.key] = _entry([metric_of(run, metric.key, runs) for run in configuration.records])
        rows.append(row)
    return rows


def metric_of(record: RunRecord, key: str, records: Sequence[RunRecord]) -> float | None:
    """One number of a run; `records` are the runs among which dense training is looked for."""
    if key != "time_against_dense":
        value = record.result.get(key)
        return None if value is None else float(value)
    dense = [
        float(other.result["train_seconds"])
        for other in records
        if method_of(other) == "dense" and place_of(other) == place_of(record)
    ]
    return float(record.result["train_seconds"]) * len(dense) / sum(dense) if sum(dense) > 0.0 else None


def metrics_for(records: Sequence[RunRecord]) -> tuple[Metric, ...]:
    """The metrics, with as many decimals of accuracy as the smallest test split bears."""
    images = min((record.data["split_sizes"]["test"] for record in records), default=0)
    decimals = 2 if images >= _MANY_IMAGES else 1
    return tuple(
        replace(metric, form=replace(metric.form, decimals=decimals)) if metric.key == "accuracy" else metric
        for metric in METRICS
    )


def _entry(values: Sequence[float | None]) -> dict[str, float | None]:
    """Mean and spread; without numbers where one is missing, since the mean of the rest would flatter."""
    present = [value for value in values if value is not None]
    if not present or len(present) < len(values):
        return {"mean": None, "sd": None}
    spread = mean_and_spread(present)
    return {"mean": spread.mean, "sd": spread.sd}


def unique_runs(records: Sequence[RunRecord]) -> list[RunRecord]:
    """The runs in their order, each once."""
    found: dict[str, RunRecord] = {}
    for record in records:
        found.setdefault(record.id, record)
    return list(found.values())


def method_of(record: RunRecord) -> str:
    """The name of a run's method."""
    return str(record.result["method"])


def place_of(record: RunRecord) -> tuple[str, str]:
    """The network and the data set of a run, which runs must share to be averaged or compared."""
    return str(record.settings.get("network", "")), str(record.data["name"])


def _grouped(runs: Sequence[RunRecord], keys: Sequence[tuple[str, ...]]) -> dict[tuple[str, ...], list[RunRecord]]:
    """The runs by key, in the order of first appearance."""
    groups: dict[tuple[str, ...], list[RunRecord]] = {}
    for run, key in zip(runs, keys, strict=True):
        groups.setdefault(key, []).append(run)
    return groups


def _all_settings(run: RunRecord) -> dict[str, Any]:
    """The settings and the version: together they are the run's identity."""
    return run.settings | {"version": run.versions.get("bayesprune")}


def _varied_settings(runs: Sequence[RunRecord]) -> list[str]:
    """The settings in which runs of the same seed differ; none where every seed occurs once."""
    by_seed = _grouped(runs, [(str(run.result["seed"]),) for run in runs])
    varied: dict[str, None] = {}
    for same_seed in by_seed.values():
        choices = [_all_settings(run) for run in same_seed]
        for name in dict.fromkeys(name for choice in choices for name in choice):
            if any(choice.get(name) != choices[0].get(name) for choice in choices):
                varied[name] = None
    return list(varied)

"""What the runs of a study say by method: mean and spread over seeds, as values and for the terminal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bayesprune.experiments.configurations import configurations, unique_runs
from bayesprune.experiments.gates import flagged
from bayesprune.experiments.number_format import NumberFormat, compact_spread
from bayesprune.experiments.run_settings import method_of, training_of
from bayesprune.experiments.scores import ACCURACY, Score, scores_of
from bayesprune.experiments.statistics import mean_and_spread
from bayesprune.store.runs import RunRecord

if TYPE_CHECKING:
    from rich.table import Table

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
        narrow: heading in a narrow table; empty for what only wide ones show.
    """

    key: str
    heading: str
    meaning: str
    form: NumberFormat
    large: bool = False
    narrow: str = ""

    def show(self, entry: Mapping[str, float | None], *, compact: bool = False) -> str:
        """The `{mean, sd}` of `summary_rows` as text; a count that is the same in all runs has no spread."""
        mean, spread = entry["mean"], entry["sd"]
        if self.large and spread == 0.0:
            spread = None
        return (compact_spread if compact and self.large else self.form.show)(mean, spread)


COSTS = (
    Metric("params", "parameters", "of the stored network", NumberFormat(0), large=True, narrow="params"),
    Metric("nonzero_weights", "non-zero weights", "weights that are not 0", NumberFormat(0), large=True),
    Metric("macs", "MACs", "multiply-accumulates of one sample", NumberFormat(0), large=True, narrow="MACs"),
    Metric("latency_ms", "latency ms", "median time of one sample", NumberFormat(digits=2), narrow="latency ms"),
    Metric("density", "density", "non-zero weights over initial weights", NumberFormat(3)),
    Metric("train_seconds", "training s", "seconds of training", NumberFormat(1)),
    Metric(
        "time_against_dense",
        "time / dense",
        "training time over that of the dense run with the same settings and seed",
        NumberFormat(2),
        narrow="time/dense",
    ),
    Metric("train_macs_ratio", "training MACs / dense", "over plain dense training", NumberFormat(2)),
)
"""What every run has, whatever its task."""

_TAKEN = frozenset({"method", "label", "n", *(metric.key for metric in COSTS)})
"""Keys of a row of the summary that no metric of a user's own can have."""
_NEAR_ONE = ("nll", "ece", "brier")
_LARGE = 100.0


def metrics_for(records: Sequence[RunRecord]) -> tuple[Metric, ...]:
    """The metrics of the runs' tasks, the most important first, and the costs; accuracy alone without any run."""
    narrow = _narrow(records)
    quality = [
        Metric(
            score.key,
            score.heading,
            score.explained,
            form_of(score, records),
            narrow=score.heading if score.key in narrow else "",
        )
        for score in (scores_of(records) or [ACCURACY])
        if score.key not in _TAKEN
    ]
    return (*quality, *COSTS)


def form_of(score: Score, records: Sequence[RunRecord]) -> NumberFormat:
    """How a metric of some runs is written.

    Shares have as many decimals as the smallest test split bears, what is near 1 in most runs has three, and other
    numbers have three significant digits.
    """
    if score.is_share:
        images = min((record.data["split_sizes"]["test"] for record in records), default=0)
        return NumberFormat(2 if images >= _MANY_IMAGES else 1, 100.0)
    largest = max((abs(value) for run in records if (value := score.of(run)) is not None), default=0.0)
    return NumberFormat(3) if score.key in _NEAR_ONE and largest < _LARGE else NumberFormat()


def _narrow(records: Sequence[RunRecord]) -> set[str]:
    """The metrics of a narrow table: accuracy and calibration of classes, else the first two and the likelihood."""
    found: set[str] = set()
    for run in records:
        classes = run.result["task"] == "classification"
        found |= {"accuracy", "nll", "ece"} if classes else {*list(run.result["metrics"])[:2], "nll"}
    return found


def summary_rows(records: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """One row a configuration: "method", "label", "n" and for each metric {"mean", "sd"}.

    The metrics are those of `metrics_for`. `sd` is the sample standard deviation over seeds, None for one run; both are
    None where a run lacks the number. "time_against_dense" compares each run with the dense run of the same training
    settings and seed.
    """
    runs = unique_runs(records)
    dense, metrics = dense_runs(runs), metrics_for(runs)
    rows = []
    for configuration in configurations(runs):
        row: dict[str, Any] = {
            "method": configuration.method,
            "label": configuration.label,
            "n": len(configuration.records),
        }
        for metric in metrics:
            row[metric.key] = _entry([metric_of(run, metric.key, dense) for run in configuration.records])
        rows.append(row)
    return rows


def dense_runs(records: Sequence[RunRecord]) -> dict[str, RunRecord]:
    """For each run, by its id, the dense run of the same training settings, seed, threads and device.

    Runs without one are left out. Of several dense runs that differ in options of training the one without counts.
    """
    found: dict[tuple[object, ...], RunRecord] = {}
    for run in records:
        if method_of(run) == "dense" and (_training(run) not in found or not run.settings.get("options")):
            found[_training(run)] = run
    return {run.id: found[_training(run)] for run in records if _training(run) in found}


def _training(run: RunRecord) -> tuple[object, ...]:
    """What must be the same where training times are compared."""
    return training_of(run), run.result["seed"], run.settings.get("threads"), run.settings.get("device")


def metric_of(record: RunRecord, key: str, dense: Mapping[str, RunRecord]) -> float | None:
    """One number of a run; `dense` are the runs that `dense_runs` found."""
    if key != "time_against_dense":
        value = record.result.get(key) if key in _TAKEN else record.result["metrics"].get(key, {}).get("value")
        return None if value is None else float(value)
    other = dense.get(record.id)
    seconds = 0.0 if other is None else float(other.result["train_seconds"])
    return float(record.result["train_seconds"]) / seconds if seconds > 0.0 else None


def terminal_table(records: Sequence[RunRecord]) -> "Table":
    """The summary by method: `mean ± sample standard deviation` over seeds, mean alone for one run.

    A method with runs that warn of something is marked by an exclamation mark.

    Where the terminal is too narrow for a row on one line, the spread stands below the mean.
    """
    from bayesprune.experiments.fitting_table import FittingTable

    metrics = [metric for metric in metrics_for(records) if metric.narrow]
    headings = ["method", *(metric.narrow for metric in metrics)]
    rows = [
        [flagged(row["label"], one.records), *(metric.show(row[metric.key], compact=True) for metric in metrics)]
        for row, one in zip(summary_rows(records), configurations(records), strict=True)
    ]
    stacked_rows = [[row[0], *(cell.replace(" ± ", "\n± ") for cell in row[1:])] for row in rows]
    stacked_headings = [heading.replace(" ", "\n").replace("/", "\n/ ") for heading in headings]
    return FittingTable(headings, rows, FittingTable(stacked_headings, stacked_rows))


def _entry(values: Sequence[float | None]) -> dict[str, float | None]:
    """Mean and spread; without numbers where one is missing, since the mean of the rest would flatter."""
    present = [value for value in values if value is not None]
    if not present or len(present) < len(values):
        return {"mean": None, "sd": None}
    spread = mean_and_spread(present)
    return {"mean": spread.mean, "sd": spread.sd}

"""What the runs of a row came to: numbers of the last epoch, and how they are written."""

from collections.abc import Callable, Sequence
from typing import Any

from bayesprune.experiments.number_format import MISSING, NumberFormat
from bayesprune.experiments.papers.rows import RowRuns
from bayesprune.experiments.statistics import MeanAndSpread, PairedDifference, mean_and_spread
from bayesprune.experiments.summary import metrics_for
from bayesprune.store.runs import RunRecord

COUNT = NumberFormat(0)
RATIO = NumberFormat(3)
SECONDS = NumberFormat(digits=3)
Number = Callable[[RunRecord], float]
Pair = tuple[RunRecord, RunRecord]


def error(run: RunRecord) -> float:
    """Test error of the last epoch in percent."""
    return 100.0 * (1.0 - float(run.result["accuracy"]))


def validation_error(run: RunRecord) -> float:
    """Validation error of the last epoch in percent; NaN where the run has no history, or its task no accuracy."""
    accuracy = run.history[-1]["validation_accuracy"] if run.history else None
    return float("nan") if accuracy is None else 100.0 * (1.0 - float(accuracy))


def macs(run: RunRecord) -> float:
    """Multiply-accumulates of one sample."""
    return float(run.result["macs"])


def params(run: RunRecord) -> float:
    """Parameters of the stored network."""
    return float(run.result["params"])


def decided_share(run: RunRecord) -> float:
    """Gates that were undecided when pruning ended, in percent of all initial gates."""
    return 100.0 * float(run.result["decided_at_end"] or 0) / run.gates if run.gates else 0.0


def training_ratio(run: RunRecord) -> float:
    """Training MACs over those of plain dense training."""
    return float(run.result["train_macs_ratio"])


def seconds(run: RunRecord) -> float:
    """Wall time of training."""
    return float(run.result["train_seconds"])


def spread(runs: Sequence[RunRecord], number: Number) -> MeanAndSpread | None:
    """Mean and sample standard deviation over runs; None where a run lacks the number."""
    values = [number(run) for run in runs]
    present = [value for value in values if value == value]  # NaN is not equal to itself
    return mean_and_spread(present) if present and len(present) == len(values) else None


def shown(runs: Sequence[RunRecord], number: Number, form: NumberFormat) -> str:
    """`mean ± standard deviation`, the mean alone for one run."""
    found = spread(runs, number)
    return MISSING if found is None else form.show(found.mean, found.sd)


def shown_error(runs: Sequence[RunRecord], number: Number = error) -> str:
    """An error with as many decimals as the test split bears."""
    decimals = next(metric.form.decimals for metric in metrics_for(runs) if metric.key == "accuracy")
    return shown(runs, number, NumberFormat(decimals))


def with_range(runs: Sequence[RunRecord], number: Number) -> str:
    """A count as `mean (least to most)`; alone where all runs have the same."""
    found = spread(runs, number)
    if found is None:
        return MISSING
    least, most = (pick(number(run) for run in runs) for pick in (min, max))
    return COUNT.show(found.mean) + ("" if least == most else f" ({COUNT.show(least)} to {COUNT.show(most)})")


def paired_runs(runs: Sequence[RunRecord], others: Sequence[RunRecord]) -> list[Pair]:
    """Every run with the other that has its seed; runs without one are left out."""
    by_seed = {other.result["seed"]: other for other in others}
    return [(run, by_seed[run.result["seed"]]) for run in runs if run.result["seed"] in by_seed]


def shown_difference(difference: PairedDifference) -> str:
    """`+mean (low to high)`, in percentage points; the mean alone for one pair."""
    ends = "" if difference.low is None else f" ({difference.low:.2f} to {difference.high:.2f})"
    return f"{difference.mean:+.2f}{ends}"


def architecture(run: RunRecord) -> str:
    """Widths as the literature writes them: inputs-units-units, filters-filters-inputs-units."""
    widths: list[int] = []
    before = ""
    for layer in run.layers[:-1]:
        linear = str(layer["kind"]) == "Linear"
        widths += [layer["inputs"]] if linear and before != "Linear" else []
        widths.append(layer["outputs"])
        before = str(layer["kind"])
    return "-".join(map(str, widths))


def median_run(runs: Sequence[RunRecord]) -> RunRecord:
    """The run with the median MACs; of an even number the smaller of the middle two."""
    return sorted(runs, key=macs)[(len(runs) - 1) // 2]


def find(found: Sequence[RowRuns], network: str, factor: str) -> list[RowRuns]:
    """The rows of a factor of a network that have runs, in their order."""
    return [one for one in found if one.row.network == network and one.row.factor == factor and one.records]


def only(found: Sequence[RowRuns], network: str, factor: str) -> tuple[RunRecord, ...]:
    """The runs of the only row of a factor; none where there is no such row."""
    rows = find(found, network, factor)
    return rows[0].records if rows else ()


def row_values(one: RowRuns) -> dict[str, Any]:
    """A row and its runs as plain JSON."""
    runs = [
        run.result | {"run": run.id, "validation_error": _or_none(validation_error(run)), "gates": run.gates}
        for run in one.records
    ]
    return {
        "network": one.row.network,
        "factor": one.row.factor,
        "value": one.row.value,
        "settings": one.row.settings.to_json() | {"seed": None},
        "seeds": list(one.row.seeds),
        "runs": runs,
    }


def _or_none(value: float) -> float | None:
    """None for NaN, which JSON does not have."""
    return value if value == value else None

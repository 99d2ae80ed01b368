"""The one sentence that says what runs came to."""

from collections.abc import Mapping, Sequence
from typing import Any

from bayesprune.experiments.compare import verdict_of
from bayesprune.experiments.configurations import method_of, place_of, unique_runs
from bayesprune.experiments.report.words import counted
from bayesprune.experiments.summary import metrics_for
from bayesprune.store.runs import RunRecord
from bayesprune.structure import OTHER


def sentence_about(records: Sequence[RunRecord]) -> str:
    """What one run came to, between what the runs of one method lie, or which method won."""
    runs = unique_runs(records)
    if len(runs) == 1:
        return _about_one(runs[0])
    if len({(method_of(run), *place_of(run)) for run in runs}) == 1:
        return _about_one_method(runs)
    return verdict_of(runs)


def _about_one(run: RunRecord) -> str:
    """Accuracy, cost and its share of dense, and how many gates the final decision had to decide."""
    network, data = place_of(run)
    result, images = run.result, run.data["split_sizes"]["test"]
    sentence = (
        f"{method_of(run)}, {network} on {data}, seed {result['seed']}: accuracy {_accuracy([run])} % on "
        f"{images:,} test images with {result['macs']:,} MACs a sample{_unattributed(run)}, "
        f"{100 * _share(run):.3g} % of the dense network's"
    )
    if run.posterior is None:
        return f"{sentence}.{_silent_classes(run)}"
    if not result["decided_at_end"]:
        return f"{sentence}; every gate had decided itself."
    return f"{sentence}; {result['decided_at_end']:,} of {counted(run.gates, 'gate')} had to be decided at the end."


def _unattributed(run: RunRecord) -> str:
    """How many of the MACs no method can prune; folders of earlier versions do not tell."""
    fixed = run.result.get("unattributed_macs", 0)
    return f" ({fixed:,} of them in operations that cannot be pruned)" if fixed else ""


def _silent_classes(run: RunRecord) -> str:
    """Says so where a mask has left classes without a weight; runs of old folders do not tell."""
    last: Mapping[str, Any] = next((row for row in reversed(run.layers) if row["name"] != OTHER), {})
    silent = last.get("outputs", 0) - last.get("fed_outputs", last.get("outputs", 0))
    if last.get("outputs") != run.classes or not silent:
        return ""
    return (
        f" {silent:,} of its {run.classes:,} classes have no weight left in layer {last['name']!r}: what it says of "
        "them is the same for every sample. Keep more weights, or spread them otherwise."
    )


def _about_one_method(runs: Sequence[RunRecord]) -> str:
    """From where to where accuracy and cost go."""
    network, data = place_of(runs[0])
    macs = sorted(int(run.result["macs"]) for run in runs)
    shares = sorted(100 * _share(run) for run in runs)
    return (
        f"{counted(len(runs), 'run')} of {method_of(runs[0])}, {network} on {data}: accuracy {_accuracy(runs)} % with "
        f"{_span(f'{macs[0]:,}', f'{macs[-1]:,}')} MACs a sample, "
        f"{_span(f'{shares[0]:.3g}', f'{shares[-1]:.3g}')} % of the dense network's."
    )


def _accuracy(runs: Sequence[RunRecord]) -> str:
    """Accuracies in percent, from the lowest to the highest."""
    metric = next(metric for metric in metrics_for(runs) if metric.key == "accuracy")
    values = [run.result["accuracy"] for run in runs]
    return _span(metric.form.show(min(values)), metric.form.show(max(values)))


def _share(run: RunRecord) -> float:
    """MACs over those of the dense network."""
    dense = sum(int(layer["dense_macs"]) for layer in run.layers)
    return float(run.result["macs"]) / dense if dense else 1.0


def _span(low: str, high: str) -> str:
    """`low to high`, or one of them where they are the same."""
    return low if low == high else f"{low} to {high}"

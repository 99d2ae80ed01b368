"""The one sentence that says what runs came to."""

from collections.abc import Mapping, Sequence
from typing import Any

from bayesprune.experiments.configurations import configurations, unique_runs
from bayesprune.experiments.gates import gates_sentence
from bayesprune.experiments.number_format import MISSING
from bayesprune.experiments.recalls import unseen_sentence
from bayesprune.experiments.run_settings import method_of, place_of
from bayesprune.experiments.scores import score_of
from bayesprune.experiments.summary import form_of
from bayesprune.experiments.verdict import verdict_of
from bayesprune.experiments.words import counted
from bayesprune.store.runs import RunRecord
from bayesprune.structure import OTHER
from bayesprune.structure.whole import KEPT, OUTPUTS

_PICTURE = 3
"""Axes of an input that is an image."""


def sentence_about(records: Sequence[RunRecord]) -> str:
    """What one run came to, between what the runs of one method lie, or which method won."""
    runs = unique_runs(records)
    if len(runs) == 1:
        return _about_one(runs[0])
    kinds = {(method_of(run), *place_of(run), score_of(run).key) for run in runs}
    sentence = _about_one_method(runs) if len(kinds) == 1 else verdict_of(runs)
    return " ".join(filter(None, [sentence, unseen_sentence(runs)]))


def _about_one(run: RunRecord) -> str:
    """Quality, cost and its share of dense, and what happened to the gates."""
    network, data = place_of(run)
    result, count = run.result, run.data["split_sizes"]["test"]
    sentence = (
        f"{method_of(run)}, {network} on {data}, seed {result['seed']}: {_quality([run])} on {count:,} test "
        f"{'images' if len(run.input_shape) == _PICTURE else 'examples'} with {result['macs']:,} MACs a "
        f"sample{_unattributed(run)}, {100 * _share(run):.3g} % of the dense network's."
    )
    parts = [sentence, _silent_classes(run), unseen_sentence([run]), gates_sentence(run), _left_whole(run)]
    return " ".join(filter(None, parts))


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
        f"{silent:,} of its {run.classes:,} classes have no weight left in layer {last['name']!r}: what it says of "
        "them is the same for every sample. Keep more weights, or spread them otherwise."
    )


def _left_whole(run: RunRecord) -> str:
    """Which layers could lose no channel, and why, where channels were removed at all."""
    if all(len(group["kept"]) == group["size"] for group in run.groups):
        return ""
    surprising = [f"{name} ({reason})" for name, reason in run.whole.items() if reason not in (KEPT, OUTPUTS)]
    return f"Layers that could lose no channel: {'; '.join(surprising)}." if surprising else ""


def _about_one_method(runs: Sequence[RunRecord]) -> str:
    """From where to where quality and cost go."""
    network, data = place_of(runs[0])
    macs = sorted(int(run.result["macs"]) for run in runs)
    shares = sorted(100 * _share(run) for run in runs)
    kinds = len(configurations(runs))
    settings = f" with {kinds} different settings" if kinds > 1 else ""
    return (
        f"{counted(len(runs), 'run')} of {method_of(runs[0])}{settings}, {network} on {data}: "
        f"{_quality(runs)} with {_span(f'{macs[0]:,}', f'{macs[-1]:,}')} MACs a sample, "
        f"{_span(f'{shares[0]:.3g}', f'{shares[-1]:.3g}')} % of the dense network's."
    )


def _quality(runs: Sequence[RunRecord]) -> str:
    """The task's first metric, from the lowest to the highest value."""
    score = score_of(runs[0])
    form = form_of(score, runs)
    values = sorted(value for run in runs if (value := score.of(run)) is not None)
    shown = _span(form.show(values[0]), form.show(values[-1])) if values else MISSING
    return score.with_unit(f"{score.label} {shown}")


def _share(run: RunRecord) -> float:
    """MACs over those of one dense network, also where several predictions are averaged."""
    dense = sum(int(layer["dense_macs"]) for layer in run.layers)
    averaged = int(run.result.get("members", run.result.get("draws", 1)))
    return averaged * float(run.result["macs"]) / dense if dense else 1.0


def _span(low: str, high: str) -> str:
    """`low to high`, or one of them where they are the same."""
    return low if low == high else f"{low} to {high}"

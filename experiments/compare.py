"""The main job: Bayesian pruning beside magnitude pruning and the other baselines."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bayesprune.errors import SettingError
from bayesprune.experiments.configurations import Configuration, configurations, place_of
from bayesprune.experiments.jobs import Job, budget_of
from bayesprune.experiments.methods import method
from bayesprune.experiments.run_rows import run_row
from bayesprune.experiments.statistics import paired_difference, verdict
from bayesprune.run.settings import RunSettings
from bayesprune.store.runs import RunRecord

REFERENCE = "parsimonious"
COMPARED = ("dense", REFERENCE, "magnitude", "l1-units", "random")
RIVAL = "l1-units"
"""The rival of the verdict: channels by L1 norm, at no more multiply-accumulates."""

_OWN = ("price", "budget", "density", "estimator", "options")
_PLAIN = RunSettings(REFERENCE)


def comparison(base: RunSettings, seeds: Sequence[int], methods: Sequence[str] = COMPARED) -> list[Job]:
    """The runs of a comparison: every method with every seed, sizes taken from the Bayesian result.

    Args:
        base: settings of all runs; sizes, price, estimator and options go to the reference method only.
        seeds: of the runs.
        methods: names.

    Raises:
        SettingError: there are no methods, or one needs a size and the reference method is not among them.
    """
    if not methods:
        raise SettingError(f"there is nothing to compare: name methods, such as {', '.join(COMPARED)}")
    jobs = []
    for name in dict.fromkeys(methods):
        chosen = method(name)
        own = replace(base, method=name)
        if name != REFERENCE:
            own = replace(own, **{setting: getattr(_PLAIN, setting) for setting in _OWN})
        if chosen.needs and REFERENCE not in methods:
            raise SettingError(f"method {name!r} takes its size from {REFERENCE!r}: compare that as well")
        for seed in seeds:
            jobs.append(Job(replace(own, seed=seed), REFERENCE if chosen.needs else None))
    return jobs


def verdict_of(records: Sequence[RunRecord]) -> str:
    """One sentence: who won by how much accuracy, with the interval of the paired difference.

    Of several settings of a method the first is compared, and named with what tells it from the others.
    """
    found = configurations(records)
    ours = next((one for one in found if one.method == REFERENCE), None)
    rivals = [one for one in found if ours is not None and _can_rival(one, ours)]
    if ours is None or not rivals:
        return f"{len(records)} run{'s' if len(records) != 1 else ''}; nothing to compare {REFERENCE} with."
    rival = next((one for one in rivals if one.method == RIVAL), rivals[0])
    first, second = ({run.result["seed"]: run for run in one.records} for one in (ours, rival))
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        return f"{ours.label} and {rival.label} share no seed, so their runs cannot be paired."
    a, b = ([one[seed].result["accuracy"] for seed in seeds] for one in (first, second))
    matched = all(second[seed].settings.get("budget") == budget_of(first[seed].result) for seed in seeds)
    condition = "at the same MACs to within one unit" if matched else ""
    return verdict(ours.label, rival.label, paired_difference(a, b), condition)


def _can_rival(other: Configuration, ours: Configuration) -> bool:
    """Whether it is another method on the same network and data."""
    return other.method != REFERENCE and place_of(other.records[0]) == place_of(ours.records[0])


def as_json(records: Sequence[RunRecord], summary: Sequence[dict[str, Any]], report: str | None) -> dict[str, Any]:
    """The JSON object that `--json` prints (schema 1)."""
    first = records[0]
    return {
        "schema": 1,
        "data": first.data["name"],
        "network": first.settings["network"],
        "split_sizes": first.data["split_sizes"],
        "epochs": first.settings["epochs"],
        "runs": [run_row(record) for record in records],
        "summary": list(summary),
        "report": report,
    }

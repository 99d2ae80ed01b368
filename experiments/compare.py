"""The main job: Bayesian pruning beside magnitude pruning and the other baselines."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bayesprune.errors import SettingError
from bayesprune.experiments.jobs import Job
from bayesprune.experiments.methods import METHODS, method
from bayesprune.experiments.statistics import paired_difference, verdict
from bayesprune.settings import RunSettings
from bayesprune.store.runs import RunRecord

REFERENCE = "parsimonious"
COMPARED = ("dense", REFERENCE, "magnitude", "l1-units", "random")
RIVAL = "l1-units"
"""The rival of the verdict: channels by L1 norm, at no more multiply-accumulates."""


def comparison(base: RunSettings, seeds: Sequence[int], methods: Sequence[str] = COMPARED) -> list[Job]:
    """The runs of a comparison: every method with every seed, sizes taken from the Bayesian result.

    Args:
        base: settings of all runs; price, estimator and options go to the reference method only.
        seeds: of the runs.
        methods: names.

    Raises:
        SettingError: a method needs a size and the reference method is not among them.
    """
    jobs = []
    for name in dict.fromkeys(methods):
        chosen = method(name)
        own = base if name == REFERENCE else replace(base, price=None, options={}, density=None, budget=None)
        own = replace(own, method=name)
        if chosen.needs and REFERENCE not in methods:
            raise SettingError(f"method {name!r} takes its size from {REFERENCE!r}: compare that as well")
        for seed in seeds:
            jobs.append(Job(replace(own, seed=seed), REFERENCE if chosen.needs else None))
    return jobs


def verdict_of(records: Sequence[RunRecord]) -> str:
    """One sentence: who won by how much accuracy, with the interval of the paired difference."""
    by_method: dict[str, dict[int, float]] = {}
    for record in records:
        result = record.result
        by_method.setdefault(result["method"], {})[result["seed"]] = result["accuracy"]
    rivals = [name for name in (RIVAL, *by_method) if name in by_method and name != REFERENCE]
    if REFERENCE not in by_method or not rivals:
        return f"{len(records)} run{'s' if len(records) != 1 else ''}; nothing to compare {REFERENCE} with."
    rival = rivals[0]
    seeds = sorted(set(by_method[REFERENCE]) & set(by_method[rival]))
    if not seeds:
        return f"{REFERENCE} and {rival} share no seed, so their runs cannot be paired."
    ours, theirs = ([by_method[name][seed] for seed in seeds] for name in (REFERENCE, rival))
    condition = "at no more MACs" if METHODS[rival].needs == frozenset({"budget"}) else ""
    return verdict(REFERENCE, rival, paired_difference(ours, theirs), condition)


def as_json(
    records: Sequence[RunRecord], summary: Sequence[dict[str, Any]], report: str | None
) -> dict[str, Any]:
    """The JSON object that `--json` prints (schema 1)."""
    first = records[0]
    return {
        "schema": 1,
        "data": first.data["name"],
        "network": first.settings["network"],
        "split_sizes": first.data["split_sizes"],
        "epochs": first.settings["epochs"],
        "runs": [record.result for record in records],
        "summary": list(summary),
        "report": report,
    }

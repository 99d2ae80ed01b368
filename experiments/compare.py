"""The main job: Bayesian pruning beside magnitude pruning and the other baselines."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bayesprune.errors import SettingError
from bayesprune.experiments.jobs import Job
from bayesprune.experiments.methods import as_method
from bayesprune.experiments.run_rows import run_row
from bayesprune.experiments.subjects import NAMED, Subject, with_method
from bayesprune.experiments.verdict import REFERENCE, verdict_of
from bayesprune.run.method import Method
from bayesprune.run.settings import RunSettings
from bayesprune.store.runs import RunRecord

__all__ = ["COMPARED", "REFERENCE", "as_json", "comparison", "verdict_of"]

COMPARED = ("dense", REFERENCE, "magnitude", "l1-units", "random")
_OWN = ("price", "budget", "density", "estimator", "options")
_PLAIN = RunSettings(REFERENCE)


def comparison(
    base: RunSettings, seeds: Sequence[int], methods: Sequence[str | Method] = COMPARED, subject: Subject = NAMED
) -> list[Job]:
    """The runs of a comparison: every method with every seed, sizes taken from the Bayesian result.

    Args:
        base: settings of all runs; sizes, price, estimator and options go to the reference method only.
        seeds: of the runs.
        methods: names, and objects that have other names.
        subject: network and data where they were handed over as objects.

    Raises:
        SettingError: there are no methods, two have one name, or one needs a size and the reference method is not
            among them.
    """
    if not methods:
        raise SettingError(f"there is nothing to compare: name methods, such as {', '.join(COMPARED)}")
    jobs: list[Job] = []
    for given in dict.fromkeys(methods):
        chosen = as_method(given)
        name = chosen.name
        if name in {job.settings.method for job in jobs}:
            raise SettingError(f"two methods are called {name!r}: give objects names of their own, by name='...'")
        own = replace(base, method=name)
        if name != REFERENCE:
            own = replace(own, **{setting: getattr(_PLAIN, setting) for setting in _OWN})
        if chosen.needs and REFERENCE not in methods:
            raise SettingError(f"method {name!r} takes its size from {REFERENCE!r}: compare that as well")
        for seed in seeds:
            jobs.append(
                Job(replace(own, seed=seed), REFERENCE if chosen.needs else None, subject=with_method(subject, given))
            )
    return jobs


def as_json(records: Sequence[RunRecord], summary: Sequence[dict[str, Any]], report: str | None) -> dict[str, Any]:
    """The JSON object that `--json` prints (schema 2: runs of any task, with `task` and `metrics`).

    "data", "network", "split_sizes" and "epochs" are None where the runs do not share them.
    """
    return {
        "schema": 2,
        "data": _shared([record.data["name"] for record in records]),
        "network": _shared([record.settings["network"] for record in records]),
        "split_sizes": _shared([record.data["split_sizes"] for record in records]),
        "epochs": _shared([record.settings["epochs"] for record in records]),
        "runs": [run_row(record) for record in records],
        "summary": list(summary),
        "report": report,
    }


def _shared(values: Sequence[Any]) -> Any:
    """What all values are; None where they differ."""
    return values[0] if all(value == values[0] for value in values) else None

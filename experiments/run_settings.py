"""The settings of finished runs, made fit to be compared: which decide a result, which say what to remove."""

from collections.abc import Mapping, Sequence
from typing import Any

from bayesprune.store.identity import canonical_json, run_id
from bayesprune.store.runs import RunRecord

FREE = frozenset({"seed", "threads", "device", "precision", "out"})
"""Settings in which the runs of one configuration may differ."""
SIZES = ("budget", "density")
"""Settings that another run's result may have given."""
OPTION = "option "
"""Before the name of a method's own setting."""
_REMOVAL = frozenset({"method", "price", *SIZES, "budget_revision", "estimator", "keep", "inputs", "flatten_inputs"})
"""Settings that say what to remove, and how; dense training does not depend on them."""
_RUN, _WEIGHTS_DIGEST = "run:", "weights_digest"
DRAWN = "weights_drawn"
"""Marks a run whose weights code of the user's drew by the seed: their digest is another for every seed."""
_TECHNICAL = ("factory", "version", "_digest", "_fingerprint", "_revision")


def is_technical(name: str) -> bool:
    """Whether a setting is a hash or the like, which tells people little."""
    return name.endswith(_TECHNICAL)


def method_of(record: RunRecord) -> str:
    """The name of a run's method."""
    return str(record.result["method"])


def place_of(record: RunRecord) -> tuple[str, str]:
    """The network and the data set of a run, which runs must share to be averaged or compared."""
    return str(record.settings.get("network", "")), str(record.data["name"])


def decisive_settings(record: RunRecord, runs: Sequence[RunRecord] = ()) -> dict[str, Any]:
    """All that decides a run's result but the seed: settings, options one by one, and the version.

    Args:
        record: the run.
        runs: those among which the run is looked for whose network this one begins with. Runs of several seeds begin
            with runs of as many seeds: these are named by what they have in common.
    """
    settings = {name: value for name, value in record.settings.items() if name not in FREE}
    options = settings.pop("options", None) or {}
    weights = settings.get("weights")
    if isinstance(weights, str) and weights.startswith(_RUN):
        settings |= {"weights": _start(weights, runs), _WEIGHTS_DIGEST: None}
    elif settings.get(_WEIGHTS_DIGEST) is not None:
        settings.pop("weights", None)  # their content decides, not the name of their file
        if settings.get(DRAWN):  # by the seed, in which runs may differ
            settings.pop(_WEIGHTS_DIGEST)
    return settings | {f"{OPTION}{name}": value for name, value in options.items()} | {
        "version": record.versions.get("bayesprune")
    }  # fmt: skip


def training_of(record: RunRecord) -> str:
    """All that decides what plain training a run is compared with, as text: runs with equal texts may be compared."""
    settings = decisive_settings(record)
    shared = {
        name: value
        for name, value in settings.items()
        if name not in _REMOVAL and (not name.startswith(OPTION) or name == f"{OPTION}training")
    }
    shared[f"{OPTION}training"] = shared.get(f"{OPTION}training", "recipe")
    return canonical_json(shared)


def _start(weights: str, runs: Sequence[RunRecord]) -> str:
    """The run whose network another begins with, by what it has in common with those of other seeds."""
    start = next((run for run in runs if weights == f"{_RUN}{run.id}"), None)
    return weights if start is None else f"{method_of(start)} run {run_id(decisive_settings(start, runs))[:6]}"


def shown(value: Any) -> str:
    """A setting's value in a label."""
    return canonical_json(value) if isinstance(value, Mapping | list) else f"{value}"

"""Which runs belong together: one method on one network and data set, a run a seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bayesprune.store.runs import RunRecord


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

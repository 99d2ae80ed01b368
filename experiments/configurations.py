"""Which runs belong together: one method with the same settings, a run a seed."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bayesprune.experiments.matching import Kin, kin
from bayesprune.experiments.run_settings import (
    OPTION,
    SIZES,
    decisive_settings,
    is_technical,
    method_of,
    place_of,
    shown,
)
from bayesprune.store.identity import canonical_json
from bayesprune.store.runs import RunRecord


@dataclass(frozen=True)
class Configuration:
    """Runs to be averaged: one method with the same settings, a run a seed.

    Attributes:
        label: the method, with whatever else tells it from other configurations shown beside it.
        method: its name.
        records: its runs.
    """

    label: str
    method: str
    records: tuple[RunRecord, ...]


def configurations(records: Sequence[RunRecord]) -> list[Configuration]:
    """The runs by all their settings but the seed, in the order of first appearance.

    Runs that took their sizes from the results of another configuration, seed by seed, belong together although their
    budgets or densities differ; `bayesprune.experiments.matching` says how they are recognised. Where two
    configurations came to the same size, a run that took it belongs to both. A run that is given twice counts once.
    """
    runs = unique_runs(records)
    settings = {run.id: decisive_settings(run, runs) for run in runs}
    alike = _grouped(runs, lambda run: settings[run.id])
    families = _grouped(runs, lambda run: _without_size(settings[run.id]))
    found = [one for family in families for one in kin(family, alike)]
    place = {run.id: number for number, run in enumerate(runs)}
    found.sort(key=lambda one: place[one.runs[0].id])
    labels = _labels(found, [settings[one.runs[0].id] for one in found])
    return [Configuration(labels[number], method_of(one.runs[0]), one.runs) for number, one in enumerate(found)]


def unique_runs(records: Sequence[RunRecord]) -> list[RunRecord]:
    """The runs in their order, each once."""
    found: dict[str, RunRecord] = {}
    for record in records:
        found.setdefault(record.id, record)
    return list(found.values())


def _grouped(runs: Sequence[RunRecord], key: Callable[[RunRecord], Any]) -> list[list[RunRecord]]:
    """The runs by key, in the order of first appearance."""
    groups: dict[str, list[RunRecord]] = {}
    for run in runs:
        groups.setdefault(canonical_json(key(run)), []).append(run)
    return list(groups.values())


def _without_size(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in SIZES}


def _labels(found: Sequence[Kin], settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Method, and in parentheses whatever tells a configuration from the others of its method."""
    places = [place_of(one.runs[0]) for one in found]
    one_place = len(set(places)) <= 1
    notes: list[list[str]] = [[] if one_place else [f"{network} on {data}"] for network, data in places]
    kinds = [(method_of(one.runs[0]), place) for one, place in zip(found, places, strict=True)]
    shown_settings = [_without_size(own) if one.source else own for one, own in zip(found, settings, strict=True)]
    for technical in (False, True):
        repeated = _repeated(kinds, notes)
        for number, kind in enumerate(kinds):
            if number in repeated:
                rivals = [shown_settings[other] for other, its in enumerate(kinds) if its == kind and other in repeated]
                notes[number] = notes[number] + _differing(shown_settings[number], rivals, technical)
    for number in _repeated(kinds, notes):
        given_by = {run.id for run in found[number].source}
        source = next((other for other, one in enumerate(found) if one.runs[0].id in given_by), None)
        if source is not None:
            notes[number] = [*notes[number], f"sized like {' '.join([kinds[source][0], *notes[source]])}"]
    return [f"{kind[0]} ({', '.join(own)})" if own else kind[0] for kind, own in zip(kinds, notes, strict=True)]


def _repeated(kinds: Sequence[tuple[str, Any]], notes: Sequence[Sequence[str]]) -> set[int]:
    """The configurations that nothing tells from another so far."""
    counts = Counter((kind, *own) for kind, own in zip(kinds, notes, strict=True))
    return {number for number, own in enumerate(notes) if counts[(kinds[number], *own)] > 1}


def _differing(settings: Mapping[str, Any], all_of: Sequence[Mapping[str, Any]], technical: bool) -> list[str]:
    """The settings that are not the same everywhere, as `name=value`; sizes that another run gave are left out."""
    names = dict.fromkeys(name for one in all_of for name in one if is_technical(name) == technical)
    varied = [name for name in names if len({canonical_json(one.get(name)) for one in all_of}) > 1]
    # A size is missing where another run gave it.
    present = [name for name in varied if name in settings or name not in SIZES]
    return [f"{name.removeprefix(OPTION)}={shown(settings.get(name))}" for name in present]

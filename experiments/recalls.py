"""The share of right answers in each class, and classes that a network never gets right."""

from collections.abc import Mapping, Sequence

from bayesprune.experiments.run_settings import method_of
from bayesprune.experiments.words import counted, listed
from bayesprune.store.runs import RunRecord

_NAMED = 5
"""So many classes are named one by one."""


def recalls_of(run: RunRecord) -> list[float | None]:
    """For each class the share of its test examples with the right answer; None for a class without any.

    Empty for tasks without classes, and for runs of older versions.
    """
    return list(run.result.get("recalls") or [])


def unseen_classes(run: RunRecord) -> list[int]:
    """The classes of which no test example gets the right answer."""
    return [number for number, recall in enumerate(recalls_of(run)) if recall == 0.0]


def unseen_sentence(runs: Sequence[RunRecord]) -> str:
    """Which methods never get some class right, and in how many runs; empty where all classes are recognised."""
    found: dict[str, list[list[int]]] = {}
    for run in runs:
        if classes := unseen_classes(run):
            found.setdefault(method_of(run), []).append(classes)
    return " ".join(_told(found, len(runs)))


def _told(found: Mapping[str, Sequence[Sequence[int]]], count: int) -> list[str]:
    """A sentence a method."""
    lines = []
    for method, runs in found.items():
        classes = sorted({number for one in runs for number in one})
        few = classes[:_NAMED]
        which = listed(classes) if few == classes else f"{', '.join(map(str, few))}, ..."
        those = f"class {which}" if len(classes) == 1 else f"classes {which}"
        if count == 1:
            lines.append(f"No test example of {those} gets the right answer.")
        else:
            times = counted(len(runs), "run")
            lines.append(f"In {times} of {method} no test example of some class gets the right answer ({those}).")
    return lines

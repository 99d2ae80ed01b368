"""The runs of the study of teachers as data: methods by draws of data.

Settings come from runs on draws 100 to 104, judged by the negative log-likelihood of the validation split;
docs/teachers.md tells which of them were tried there and which were not. The draws of the study are 0 to 9.
"""

from dataclasses import replace
from typing import Any

from bayesprune.experiments.papers.rows import Row
from bayesprune.run.settings import RunSettings

PARTS = ("teacher200", "teacher2000")
METHODS = ("parsimonious", "spike-slab", "spike-slab-flat")
DRAWS = 10
RESTARTS = 3
"""Runs a draw, of which the one with the least validation NLL counts: false inputs are closed, but so may be true ones
whose part of the targets was learnt too late."""

QUICK_DRAWS, QUICK_EPOCHS = 2, 20

_BASE: dict[str, dict[str, Any]] = {
    "teacher200": {"network": "lenet300", "widths": (7, 7), "epochs": 100, "learning_rate": 5e-3},
    "teacher2000": {"network": "lenet300", "widths": (7, 7), "epochs": 60, "learning_rate": 5e-3},
}
_QUIET = {"noise": 0.0, "consistency": 0.0}
_OWN: dict[str, dict[str, Any]] = {
    "parsimonious": {
        "price": 40.0, **_QUIET, "options": {"ramp_share": 0.8, "start": 0.9, "prune_share": 0.7},
    },
    "spike-slab": {"options": {"input_gates": True, "slab": 0.5, "inclusion": 0.01}},
    "spike-slab-flat": {
        "price": 40.0, **_QUIET, "options": {"ramp_share": 0.8, "start": 0.9, "prune_share": 0.7, "slab": 0.5},
    },
}  # fmt: skip


def plan(draws: int) -> list[Row]:
    """A row for each method and draw; its factor is the part of the study."""
    seeds = tuple(range(RESTARTS))
    return [
        Row(part, f"{method}, draw {draw}", settings_for(part, method, draw), seeds, _quick(part, method, draw))
        for part in PARTS
        for method in METHODS
        for draw in range(draws)
    ]


def settings_for(part: str, method: str, draw: int) -> RunSettings:
    """The settings of a method on a draw of a teacher's data."""
    return RunSettings(method, data=f"{part}@{draw}", inputs="all", **_BASE[part], **_OWN[method])


def quick(row: Row) -> Row:
    """The short runs of a row."""
    return replace(row, settings=replace(row.settings, epochs=QUICK_EPOCHS), seeds=row.seeds[: row.quick])


def _quick(part: str, method: str, draw: int) -> int:
    """Whether the quick study has the row: two draws of the smaller teacher, one method on one of the larger."""
    if part == PARTS[0]:
        return int(draw < QUICK_DRAWS)
    return int(draw == 0 and method == METHODS[0])


def part_of(row: Row) -> str:
    """The part that a row belongs to."""
    return row.factor


def method_of(row: Row) -> str:
    """Its method."""
    return row.settings.method

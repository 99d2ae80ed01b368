"""The runs of the study of uncertainty: compact networks in groups of restarts, and what they are compared with."""

from collections.abc import Sequence
from dataclasses import replace

from bayesprune.experiments.papers.parsimonious.runs import QUICK_PRICE
from bayesprune.experiments.papers.rows import Row, varied
from bayesprune.run.settings import RunSettings

MEMBERS, QUICK_MEMBERS = 5, 3
"""Restarts of a group, and members of a deep ensemble."""

REPEATS = 2
"""Groups of restarts, and runs of everything else."""

EPOCHS, QUICK_EPOCHS = 5, 30
PRICE = 14.0

COMPACT, DENSE, DEEP, SMALL, DROPOUT = "compact", "dense", "deep ensemble", "small deep ensemble", "mc-dropout"
"""Factors: what is trained."""

BASE = RunSettings("parsimonious", "lenet300", "mnist", epochs=EPOCHS, price=PRICE, budget="macs=20%")
"""The cap of a fifth of the dense network's MACs lets five restarts cost no more than one dense network."""

SMALL_WIDTHS = (45, 20)
"""Of the members of the small deep ensemble: 36,380 MACs each, about those of a compact network."""


def plan(repeats: int = REPEATS) -> list[Row]:
    """The rows of the study; a repeat has `MEMBERS` seeds in a row, of which single runs take the first."""
    every, first = tuple(range(MEMBERS * repeats)), tuple(range(0, MEMBERS * repeats, MEMBERS))
    dense = RunSettings("dense", BASE.network, BASE.data, epochs=EPOCHS)
    deep = replace(dense, method="ensemble", options={"members": MEMBERS})
    small = replace(deep, widths=SMALL_WIDTHS)
    return [
        Row(COMPACT, "parsimonious", BASE, every, QUICK_MEMBERS),
        Row(DENSE, "one dense network", dense, first, 1),
        Row(DEEP, "dense members", deep, first, 1),
        Row(SMALL, f"members of widths {'-'.join(map(str, SMALL_WIDTHS))}", small, first, 1),
        Row(DROPOUT, "one dense network", replace(dense, method="mc-dropout"), first, 1),
    ]


def quick(row: Row) -> Row:
    """The short runs of a row: one group of fewer restarts, and a price for fewer images."""
    changes = {"price": round(PRICE * QUICK_PRICE, 3)} if row.factor == COMPACT else {}
    settings = varied(row.settings, epochs=QUICK_EPOCHS, **changes)
    if "members" in settings.options:
        settings = varied(settings, options={"members": QUICK_MEMBERS})
    return replace(row, settings=settings, seeds=row.seeds[: row.quick])


def repeat_of(seed: int) -> int:
    """The repeat that a seed belongs to."""
    return seed // MEMBERS


def groups_of(seeds: Sequence[int]) -> dict[int, list[int]]:
    """For each repeat the places of its seeds."""
    found: dict[int, list[int]] = {}
    for place, seed in enumerate(seeds):
        found.setdefault(repeat_of(seed), []).append(place)
    return found

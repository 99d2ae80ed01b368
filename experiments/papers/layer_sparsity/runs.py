"""The runs of the study of layer sparsity as data.

The protocol is ours: of the paper (Hebiri and Lederer, arXiv 2006.15604) neither tables nor settings could be read.
Strengths were chosen by validation, on draws 0 to 9 of the teachers and on seed 0 of mnist5k: docs/layer-sparsity.md.
"""

from dataclasses import replace
from typing import Any

from bayesprune.experiments.papers.rows import Row
from bayesprune.run.settings import RunSettings

METHOD = "layer-sparsity"
STUDENTS, FRESH, REFIT = "students", "fresh-students", "refit"
PARTS, EXTRA_PARTS = (STUDENTS, "mnist", "fashion"), (FRESH, REFIT)
"""The other two are not part of all: draws on which nothing was chosen, and refits of several lengths and rates."""

NONE, L1, LAYER, BOTH = "none", "l1 only", "layer only", "l1 + layer"
ARMS = (NONE, L1, LAYER, BOTH)
SHALLOW = "one hidden layer, dense"
DRAWS, REPEATS = 10, 3
"""Draws of each teacher; seeds of the pictures."""

DEPTH = 9
"""Hidden layers of every deep network: ten matrices."""

TEACHERS = (1, 2)
"""Hidden layers of the teachers, all active."""

STUDENT_STRENGTH, STUDENT_STRENGTHS = 4e-2, (1e-2, 2e-2, 4e-2)
STUDENT_LAM, RISE = 1e-4, 0.5
"""Of the l1 penalty of students, and their `warm_up`."""

EPS = 0.02
"""Of students: a layer goes too where at most this share of its values is negative; its change is measured."""

STRENGTH, STRENGTHS = 1e-3, (1e-4, 3e-4, 1e-3, 3e-3)
LAM = 4e-4
QUICK_EPOCHS, QUICK_STUDENT_EPOCHS, QUICK_RATE = 24, 8, 1.5e-2
REFIT_EPOCHS = 120

FRESH_STRENGTHS = {1: STUDENT_STRENGTH, 2: 1e-2}
"""By hidden layers of the teacher: the best on draws 0 to 9, of two layers on the few that were run."""

REFITS: dict[str, dict[str, Any]] = {
    "the last 40 % at 2e-3": {},
    "the last 40 % at 5e-3": {"fixed_learning_rate": 5e-3},
    "the last 70 % at 5e-3": {"prune_share": 0.3, "fixed_learning_rate": 5e-3},
    "the last 70 % at 2e-3": {"prune_share": 0.3},
    "the last 70 % at 2e-3, twice the strength": {"prune_share": 0.3, "strength": 2 * STRENGTH},
    "the last 70 % at 2e-3, three times the strength": {"prune_share": 0.3, "strength": 3 * STRENGTH},
}
"""The first is the default; 5e-3 is the rate at which the network with one hidden layer is trained."""

_DATA = {"mnist": "mnist", "fashion": "fashion-mnist"}
_STUDENT = RunSettings(
    METHOD, network="mlp", widths=(50,) * DEPTH, epochs=40, batch_size=50, learning_rate=1e-2, noise=0.0,
    consistency=0.0, options={"prune_share": 0.7, "eps": EPS, "memory": 200},
)  # fmt: skip
_DEEP = RunSettings(METHOD, network="mlp", widths=(100,) * DEPTH, epochs=8)
_SHALLOW = RunSettings("dense", network="mlp", widths=(100,), epochs=8)


def plan(repeats: int) -> list[Row]:
    """All rows; `repeats` is how many seeds the runs on pictures have."""
    pictures = [row for part in _DATA for row in _pictures(part, repeats)]
    return [*_students(), *pictures, *_fresh(), *_refits(tuple(range(repeats)))]


def options_of(arm: str, strength: float, lam: float = LAM) -> dict[str, Any]:
    """The options of an arm."""
    return {"strength": strength if arm in (LAYER, BOTH) else 0.0, "lam": lam if arm in (L1, BOTH) else 0.0}


def with_options(base: RunSettings, **options: Any) -> RunSettings:
    """A base with some options besides its own."""
    return replace(base, options={**base.options, **options})


def quick(row: Row) -> Row:
    """The short runs of a row: pictures are those of mnist5k."""
    students = of_students(part_of(row))
    settings = replace(row.settings, epochs=QUICK_STUDENT_EPOCHS if students else QUICK_EPOCHS)
    settings = settings if students or settings.method != METHOD else replace(settings, learning_rate=QUICK_RATE)
    settings = settings if students else replace(settings, data="mnist5k")
    return replace(row, settings=settings, seeds=row.seeds[: row.quick])


def part_of(row: Row) -> str:
    """The part that a row belongs to."""
    return row.factor


def of_students(part: str) -> bool:
    """Whether the runs of a part are students of teachers."""
    return part in (STUDENTS, FRESH)


def arm_of(row: Row) -> str:
    """Which of the four arms, or the shallow network."""
    if row.settings.method != METHOD:
        return SHALLOW
    strength, lam = row.settings.options["strength"], row.settings.options["lam"]
    return BOTH if strength and lam else LAYER if strength else L1 if lam else NONE


def strength_of(row: Row) -> float:
    """r of a row; 0 where there is none."""
    return float(row.settings.options.get("strength", 0.0))


def teacher_of(row: Row) -> tuple[int, int]:
    """Layers of the teacher, and the draw."""
    name, _, draw = row.settings.data.partition("@")
    return int(name.removeprefix("layers")), int(draw)


def _students() -> list[Row]:
    """Every teacher and draw at the strengths; the other arms on three draws of the teacher of two layers."""
    rows = []
    for layers in TEACHERS:
        for draw in range(DRAWS):
            rows += [_student(layers, draw, BOTH, strength) for strength in STUDENT_STRENGTHS]
            if layers == 2 and draw < REPEATS:
                rows += [_student(layers, draw, arm, STUDENT_STRENGTH) for arm in ARMS[:3]]
    return rows


def _fresh() -> list[Row]:
    """Ten more draws of each teacher at the strength chosen on the others."""
    draws = range(DRAWS, 2 * DRAWS)
    return [_student(layers, draw, BOTH, r, FRESH) for layers, r in FRESH_STRENGTHS.items() for draw in draws]


def _refits(seeds: tuple[int, ...]) -> list[Row]:
    """The deep network on mnist5k with both penalties, refitted in several ways, and the shallow network."""
    base = with_options(replace(_DEEP, data="mnist5k", epochs=REFIT_EPOCHS), **options_of(BOTH, STRENGTH))
    rows = [Row(REFIT, f"refit in {name}", with_options(base, **given), seeds) for name, given in REFITS.items()]
    return [*rows, Row(REFIT, SHALLOW, replace(_SHALLOW, data="mnist5k", epochs=REFIT_EPOCHS), seeds)]


def _student(layers: int, draw: int, arm: str, strength: float, part: str = STUDENTS) -> Row:
    rise = {"warm_up": RISE} if arm in (LAYER, BOTH) else {}
    settings = with_options(
        replace(_STUDENT, data=f"layers{layers}@{draw}"), **options_of(arm, strength, STUDENT_LAM), **rise
    )
    shown = f"{arm} at r = {strength:g}" if arm in (LAYER, BOTH) else arm
    few = int(draw == 0 and strength == STUDENT_STRENGTH and arm in (NONE, BOTH))
    return Row(part, f"{layers} layers, draw {draw}, {shown}", settings, (0,), few)


def _pictures(part: str, repeats: int) -> list[Row]:
    """The arms at one strength, strengths of the last arm, and the shallow network."""
    seeds, quick = tuple(range(repeats)), int(part == "mnist")
    base = replace(_DEEP, data=_DATA[part])
    rows = [Row(part, arm, with_options(base, **options_of(arm, STRENGTH)), seeds, quick) for arm in ARMS]
    rows += [
        Row(part, f"{BOTH} at r = {r:g}", with_options(base, **options_of(BOTH, r)), seeds[:1], quick * (r < STRENGTH))
        for r in STRENGTHS
        if r != STRENGTH
    ]
    return [*rows, Row(part, SHALLOW, replace(_SHALLOW, data=_DATA[part]), seeds, quick)]

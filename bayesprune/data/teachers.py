"""Regressions whose true inputs are known: numbers drawn by a formula that reads five of many inputs.

    teacher200:   x ~ U(-1, 1)^200,                            y = 7 x2 / (1 + x1^2) + 5 sin(x3 x4) + 2 x5 + N(0, 1)
    teacher2000:  x ~ N(0, 1)^2000, all pairs correlated 0.5,  y = 5 x2 / (1 + x1^2) + 5 sin(x3 x4) + 2 x5 + N(0, 1)

The first is of Bai, Song and Cheng (2020), the second of Sun, Song and Liang; both test which inputs a network selects.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bayesprune.data.draws import plain_and_draw
from bayesprune.data.examples import Examples, RawData, to_examples

Array = npt.NDArray[np.floating[Any]]

TRUE_INPUTS = (0, 1, 2, 3, 4)
"""Positions of the inputs that the targets depend on."""


@dataclass(frozen=True)
class Teacher:
    """A regression by formula.

    Attributes:
        name: to load it by.
        inputs: p.
        sizes: training, validation and test examples.
        factor: of x2 / (1 + x1^2).
        correlation: of every pair of inputs, which are normal; None for independent uniform ones.
        what: what it is, in a few words.
    """

    name: str
    inputs: int
    sizes: tuple[int, int, int]
    factor: float
    correlation: float | None
    what: str

    def mean(self, inputs: Array) -> Array:
        """Targets [N] without noise, of inputs [N, p]."""
        x1, x2, x3, x4, x5 = inputs[:, :5].T.astype(np.float64)
        found: Array = self.factor * x2 / (1 + x1**2) + 5 * np.sin(x3 * x4) + 2 * x5
        return found

    def draw(self, count: int, random: np.random.Generator) -> Array:
        """Inputs [N, p]: float32, since that is what networks read."""
        shape = (count, self.inputs)
        if self.correlation is None:
            uniform: Array = random.uniform(-1.0, 1.0, shape).astype(np.float32)
            return uniform
        own, common = random.standard_normal(shape, np.float32), random.standard_normal((count, 1), np.float32)
        drawn: Array = (self.correlation**0.5) * common + ((1 - self.correlation) ** 0.5) * own
        return drawn.astype(np.float32)


TEACHERS = {
    one.name: one
    for one in (
        Teacher(
            "teacher200", 200, (3_000, 1_000, 1_000), 7.0, None,
            "a number by formula: 5 of 200 independent inputs count; teacher200@3 is another draw",
        ),
        Teacher(
            "teacher2000", 2_000, (10_000, 2_000, 2_000), 5.0, 0.5,
            "a number by formula: 5 of 2,000 correlated inputs count; teacher2000@3 is another draw",
        ),
    )
}  # fmt: skip
"""By name."""


def is_teacher(name: str) -> bool:
    """Whether a name of data, with or without its draw, is that of a teacher."""
    return name.partition("@")[0] in TEACHERS


def read_teacher(name: str) -> RawData:
    """Draw the three splits of a teacher: "teacher200" is draw 0, "teacher200@3" draw 3.

    Equal names give equal numbers. All examples of a draw are new, and splits of different draws have none in common.

    Raises:
        SettingError: the draw is no whole number from 0 on.
    """
    plain, draw = plain_and_draw(name)
    teacher = TEACHERS[plain]
    random = np.random.default_rng([teacher.inputs, draw])
    train, validation, test = (_examples(teacher, count, random, name) for count in teacher.sizes)
    features = tuple(f"x{place + 1}" for place in range(teacher.inputs))
    return RawData(name, train, validation, test, task="regression", features=features)


def _examples(teacher: Teacher, count: int, random: np.random.Generator, name: str) -> Examples:
    """So many examples with their noise of standard deviation 1."""
    inputs = teacher.draw(count, random)
    return to_examples(inputs, teacher.mean(inputs) + random.standard_normal(count), name)

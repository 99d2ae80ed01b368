"""Regressions by a network of rectifiers whose number of active layers is known.

    layers2@3:  x ~ N(0, 1)^10,   y = f(x) / std(f) + N(0, 0.1^2),   f: a perceptron 10-20-20-1, draw 3

The weights of the teacher are N(0, 2 / inputs) and its biases N(0, 0.1^2), drawn anew for each draw. "layers1",
"layers2" and "layers3" have one, two and three hidden layers, all of which act. The protocol is ours, after the idea of
Hebiri and Lederer (arXiv 2006.15604).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bayesprune.data.draws import plain_and_draw
from bayesprune.data.examples import Examples, RawData, to_examples

Array = npt.NDArray[np.floating[Any]]

INPUTS, WIDTH, NOISE, BIAS = 10, 20, 0.1, 0.1
_LARGE = 10_000


@dataclass(frozen=True)
class DeepTeacher:
    """A regression by a network.

    Attributes:
        name: to load it by.
        layers: hidden layers, all active.
        sizes: training, validation and test examples.
        what: what it is, in a few words.
    """

    name: str
    layers: int
    sizes: tuple[int, int, int]
    what: str

    def weights(self, random: np.random.Generator) -> list[tuple[Array, Array]]:
        """Matrices [I, O] and biases [O], the first one first."""
        sizes = (INPUTS, *[WIDTH] * self.layers, 1)
        return [
            ((2 / reads) ** 0.5 * random.standard_normal((reads, writes)), BIAS * random.standard_normal(writes))
            for reads, writes in zip(sizes, sizes[1:], strict=False)
        ]


DEEP_TEACHERS = {
    f"layers{layers}": DeepTeacher(
        f"layers{layers}", layers, (5_000, 1_000, 2_000),
        f"a number by a network of {layers} hidden layer{'s' if layers > 1 else ''}; layers{layers}@3 is another draw",
    )
    for layers in (1, 2, 3)
}  # fmt: skip
"""By name."""


def is_deep_teacher(name: str) -> bool:
    """Whether a name of data, with or without its draw, is that of such a teacher."""
    return name.partition("@")[0] in DEEP_TEACHERS


def read_deep_teacher(name: str) -> RawData:
    """Draw network and splits: "layers2" is draw 0, "layers2@3" draw 3; equal names give equal numbers.

    Raises:
        SettingError: the draw is no whole number from 0 on.
    """
    plain, draw = plain_and_draw(name)
    teacher = DEEP_TEACHERS[plain]
    random = np.random.default_rng([teacher.layers, draw])
    weights = teacher.weights(random)
    scale = float(outputs(weights, random.standard_normal((_LARGE, INPUTS))).std())
    train, validation, test = (_examples(weights, scale, count, random, name) for count in teacher.sizes)
    features = tuple(f"x{place + 1}" for place in range(INPUTS))
    return RawData(name, train, validation, test, task="regression", features=features)


def outputs(weights: list[tuple[Array, Array]], inputs: Array) -> Array:
    """What the teacher says [N] of inputs [N, I], without noise and before it is scaled."""
    values = inputs.astype(np.float64)
    for matrix, bias in weights[:-1]:
        values = np.maximum(values @ matrix + bias, 0.0)
    last, bias = weights[-1]
    found: Array = (values @ last + bias)[:, 0]
    return found


def _examples(
    weights: list[tuple[Array, Array]], scale: float, count: int, random: np.random.Generator, name: str
) -> Examples:
    """So many examples with their noise."""
    inputs = random.standard_normal((count, INPUTS), np.float32)
    return to_examples(inputs, outputs(weights, inputs) / scale + NOISE * random.standard_normal(count), name)

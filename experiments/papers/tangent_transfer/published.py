"""What the two notebooks that come with the authors' code printed: MNIST, 3 % density, two runs each.

They are the only accuracies of neural tangent transfer that could be read; those of the paper could not.
"""

from dataclasses import dataclass

LEVELS = (90, 93, 95, 97)
"""Test accuracies in percent whose first step is looked for."""


@dataclass(frozen=True)
class Printed:
    """A method of a notebook.

    Attributes:
        method: as ours are called.
        accuracies: of the last record of both runs, in percent.
        steps: to each of `LEVELS`, of both runs; None for never.
        kernels: distance at the start and at the end, of both runs, on validation images; none for random.
    """

    method: str
    accuracies: tuple[float, float]
    steps: tuple[tuple[int | None, int | None], ...]
    kernels: tuple[tuple[int, int], ...] = ()


PRINTED: dict[str, tuple[Printed, ...]] = {
    "lenet300": (
        Printed(
            "ntt",
            (96.46, 96.46),
            ((501, 401), (1_001, 1_101), (2_301, 2_201), (12_501, 9_101)),
            ((6_439, 431), (8_147, 537)),
        ),
        Printed("random (released)", (93.78, 93.15), ((1_601, 2_801), (6_501, 15_701), (None, None), (None, None))),
    ),
    "lenet5": (
        Printed("ntt", (98.18, 98.17), ((201, 201), (401, 401), (501, 701), (1_501, 1_601)), ((634, 25), (462, 16))),
        Printed("random (released)", (96.43, 97.02), ((1_001, 701), (2_201, 1_901), (4_801, 4_401), (None, 20_901))),
    ),
}
"""By network."""

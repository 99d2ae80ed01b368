"""Studies made up by rule: finished runs for the rows of a plan, without training."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from bayesprune.experiments.papers.rows import Row, RowRuns, gather, jobs_of
from bayesprune.run.settings import RunSettings
from bayesprune.store.runs import RunRecord

SIZES: dict[str, dict[str, int]] = {
    "lenet300": {"inputs": 784, "fc1": 300, "fc2": 100},
    "lenet5": {"conv1": 20, "conv2": 50, "fc1": 500},
    "mlp": {"inputs": 784},
}
POSITIONS = 16
"""Places of a 28x28 image that are left of each filter of LeNet-5's second convolution."""
MakeStudy = Callable[..., list[RowRuns]]
USUAL: tuple[float, ...] = (1.5, 20_000, 4_000, 0.01)
"""What a run comes to by default: error in percent, MACs, parameters, share of gates undecided when pruning ended."""


def sizes_of(settings: RunSettings) -> dict[str, int]:
    """Groups of gates of a LeNet of these settings."""
    sizes = dict(SIZES[settings.network])
    if settings.widths is not None:
        first = ["conv1", "conv2"] if settings.network == "lenet5" else []
        units = [f"fc{number}" for number in range(1, len(settings.widths) - len(first) + 1)]
        sizes |= dict(zip([*first, *units], settings.widths, strict=True))
    return sizes | ({"fc1.inputs": POSITIONS * sizes["conv2"]} if settings.flatten_inputs else {})


def as_convolutional(run: RunRecord) -> None:
    """Make the first two of the layers convolutions, and flatten the second's output."""
    for layer in run.layers[:2]:
        layer["kind"] = "Conv2d"
    run.layers[2]["inputs"] = POSITIONS * run.layers[1]["outputs"]


@pytest.fixture
def make_study(make_run: Callable[..., RunRecord]) -> MakeStudy:
    """Makes the rows of a plan with finished runs that come to what a function of row and seed says.

    The function gives the first entries of `USUAL`, or None for a run that is missing.
    """

    def make(
        rows: Sequence[Row],
        outcome: Callable[[Row, int], tuple[float, ...] | None] = lambda row, seed: (),
        result: Mapping[str, Any] | None = None,
    ) -> list[RowRuns]:
        jobs, records = [], []
        for job in jobs_of(rows):
            settings = job.settings
            row = next(row for row in rows if job in row.jobs())
            made = outcome(row, settings.seed)
            if made is None:
                continue
            error, macs, params, decided = [*made, *USUAL[len(made) :]]
            run = make_run(
                settings.method, settings.seed, sizes=sizes_of(settings), network=settings.network,
                data=settings.data, epochs=settings.epochs or 6, input_shape=(1, 28, 28),
                settings=settings.to_json(),
                accuracy=1 - error / 100, macs=int(macs), params=int(params),
                decided_at_end=round(decided * sum(sizes_of(settings).values())), **(result or {}),
            )  # fmt: skip
            run.data["split_sizes"]["test"] = 10_000
            if settings.network == "lenet5":
                as_convolutional(run)
            jobs.append(job)
            records.append(run)
        return gather(rows, jobs, records)

    return make

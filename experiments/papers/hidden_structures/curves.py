"""How accuracy falls with size in one run of plain pruning."""

from dataclasses import dataclass

from bayesprune.store.runs import RunRecord

ROUNDS = "round"
"""How the phases after pruning begin their names."""


@dataclass(frozen=True)
class Step:
    """After the training that followed a round of pruning.

    Attributes:
        weights: that are left.
        accuracy: on the test split, in percent, after the last epoch.
        epochs: of that training.
    """

    weights: int
    accuracy: float
    epochs: int


def steps(run: RunRecord) -> list[Step]:
    """The rounds of a run, in order."""
    last: dict[str, Step] = {}
    for record in run.history:
        phase = str(record["phase"])
        if phase.startswith(ROUNDS):
            before = last[phase].epochs if phase in last else 0
            last[phase] = Step(int(record["weights_left"]), 100.0 * float(record["test_accuracy"]), before + 1)
    return list(last.values())


def smallest_within(run: RunRecord, base: float, points: float = 1.0) -> int | None:
    """The fewest weights at which accuracy is at most so many points below a base in percent; None for none."""
    found = [step.weights for step in steps(run) if step.accuracy >= base - points]
    return min(found, default=None)


def best_of_half(run: RunRecord, whole: int) -> float | None:
    """The best test accuracy with at most half of the weights left; None where there is no such step.

    It is the best over the steps of a run, as the paper's authors kept it: not a figure of the last epoch.
    """
    return max((step.accuracy for step in steps(run) if step.weights <= whole / 2), default=None)

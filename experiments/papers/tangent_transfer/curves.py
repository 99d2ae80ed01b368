"""How fast the runs of the study learn, and how near the transfer brings their kernels: numbers of one run."""

from bayesprune.store.runs import RunRecord

Curve = list[tuple[int, float]]
"""Steps, and a number at each: test accuracy in percent, or a distance."""

_TRANSFER = "transfer"
"""How the phase before training is called."""


def learning_curve(run: RunRecord) -> Curve:
    """Test accuracy in percent at steps 1, 101, ... of training; empty where the run did not take it down."""
    return [
        (int(step), 100.0 * float(accuracy))
        for record in run.history for step, accuracy in record.get("test_curve", [])
    ]  # fmt: skip


def training_steps(run: RunRecord) -> int:
    """Steps with labels."""
    return sum(int(record["steps"]) for record in run.history if record["phase"] != _TRANSFER)


def steps_to(run: RunRecord, accuracy: float) -> int | None:
    """The first step at which the test accuracy was seen to be at least so many percent; None where it never was."""
    return next((step for step, value in learning_curve(run) if value >= accuracy), None)


def counted_steps(run: RunRecord, accuracy: float) -> float:
    """The same, with all of its steps for a run that never gets there."""
    found = steps_to(run, accuracy)
    return float(training_steps(run) if found is None else found)


def kernel_curve(run: RunRecord) -> Curve:
    """The kernel's distance from the teacher's before the transfer and after each of its epochs; else empty."""
    records = [record for record in run.history if "kernel_distance" in record]
    if not records:
        return []
    after = [(int(record["step"]), float(record["kernel_distance"])) for record in records]
    return [(0, float(records[0]["kernel_distance_at_start"])), *after]


def kernel_start(run: RunRecord) -> float:
    """The kernel's distance before the transfer; NaN for other methods."""
    curve = kernel_curve(run)
    return curve[0][1] if curve else float("nan")


def kernel_ratio(run: RunRecord) -> float:
    """The kernel's distance at the end of the transfer over that at its start; NaN for other methods."""
    curve = kernel_curve(run)
    return curve[-1][1] / curve[0][1] if curve and curve[0][1] else float("nan")


def phase_seconds(run: RunRecord, *, transfer: bool) -> float:
    """Wall time of the transfer, or of the training after it; what looking at the test split took is part of it."""
    return sum(float(record["seconds"]) for record in run.history if (record["phase"] == _TRANSFER) is transfer)

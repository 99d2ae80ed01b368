"""What a run of the study came to."""

from dataclasses import dataclass

from bayesprune.experiments.papers.layer_sparsity.runs import METHOD
from bayesprune.store.runs import RunRecord


@dataclass(frozen=True)
class Outcome:
    """One run; errors are shares of wrong answers, or root mean squares for students.

    Attributes:
        active: hidden layers whose activation acts when the fit is over; after the collapse there are as many.
        depth: hidden layers at the start.
        before, after: error on the validation split before and after the collapse; None for a dense run.
        validation: the same after the last epoch.
        test: error on the test split after the last epoch.
        change: root mean square change of the outputs by the collapse, relative; None for a dense run.
        params, nonzero, macs: of the network at the end.
    """

    active: int
    depth: int
    before: float | None
    after: float | None
    validation: float
    test: float
    change: float | None
    params: int
    nonzero: int
    macs: int


def outcome_of(run: RunRecord) -> Outcome:
    """Read a finished run."""
    last, result = run.history[-1], run.result
    classes = "accuracy" in result["metrics"]
    depth = len(run.settings.get("widths") or ())
    found = last.get("collapse") if run.settings["method"] == METHOD else None
    score = float(last["validation_score"])
    test = float(result["metrics"]["accuracy" if classes else "rmse"]["value"])
    before, after = (None, None) if found is None else (_error(found[when], classes) for when in ("before", "after"))
    return Outcome(
        depth if found is None else len(found["left"]), depth, before, after, 1 - score if classes else score,
        1 - test if classes else test, None if found is None else found["mean_change"],
        result["params"], result["nonzero_weights"], result["macs"],
    )  # fmt: skip


def _error(scores: dict[str, float], classes: bool) -> float:
    return 1 - scores["accuracy"] if classes else scores["rmse"]

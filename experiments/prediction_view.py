"""Predictions under draws of the gates for people: how far their probabilities hold, and where they are unsure."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from bayesprune.errors import BayespruneError
from bayesprune.experiments.evidence_view import all_with_data
from bayesprune.experiments.report.picture_file import write_picture
from bayesprune.run.predictive import Predictive
from bayesprune.run.tree.chains import chains_of
from bayesprune.run.tree.predictions import predictions
from bayesprune.store.runs import RunRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bayesprune.experiments.evidence_view import WithData
    from bayesprune.tasks import Metric, Task

EFFORT, NUMBERS = 1e12, 2e7
"""Draws times multiply-accumulates times examples, and draws times examples, where no number is asked for."""

BINS = 10

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Predictions:
    """The mean prediction of all draws, example by example.

    Attributes:
        predicted: what it was taken from.
        metrics: of the task, the most important first.
        confidence: probability [N] of the class that is answered; None for another task than classification.
        entropy: of the predictive distribution [N], nats; None likewise.
        right: whether the answer is [N].
    """

    predicted: Predictive
    metrics: "tuple[Metric, ...]"
    confidence: Floats | None = None
    entropy: Floats | None = None
    right: NDArray[np.bool_] | None = None

    @classmethod
    def of(cls, predicted: Predictive, task: "Task") -> "Predictions":
        """Those of a task."""
        chances, targets = task.probabilities(predicted.outputs), predicted.targets
        if chances is None or chances.dim() != 2 or targets.dim() != 1 or targets.is_floating_point():
            return cls(predicted, task.metrics)
        chances = chances.double()
        confidence, answer = chances.max(1)
        entropy = torch.special.entr(chances).sum(1)
        return cls(predicted, task.metrics, confidence.numpy(), entropy.numpy(), (answer == targets).numpy())

    def text(self) -> str:
        """A line or two."""
        chains, draws, examples = self.predicted.log_likelihood.shape
        values = ", ".join(
            f"{one.label} {one.show(self.predicted.metrics[one.key])}"
            for one in self.metrics
            if self.predicted.metrics.get(one.key) is not None
        )
        restarts = f" of {chains} restarts" if chains > 1 else ""
        head = f"{examples:,} test examples, the mean of {draws:,} draws{restarts}: {values}"
        if self.entropy is None or self.right is None:
            return head
        return (
            f"{head}\npredictive entropy, mean: {_mean(self.entropy[self.right])} nats where the answer is right, "
            + (f"{_mean(self.entropy[~self.right])} where it is wrong")
        )

    def document(self) -> dict[str, Any]:
        """The same as plain JSON."""
        chains, draws, examples = self.predicted.log_likelihood.shape
        found: dict[str, Any] = {"chains": chains, "draws": draws, "examples": examples}
        found["metrics"] = dict(self.predicted.metrics)
        if self.entropy is not None and self.right is not None:
            parts = {"right": self.entropy[self.right], "wrong": self.entropy[~self.right]}
            found["entropy"] = {name: float(part.mean()) if len(part) else None for name, part in parts.items()}
        return found

    def calibration(self) -> list[tuple[float, float, int]]:
        """Mean confidence, share of right answers and number of examples of each bin of confidence that has some."""
        if self.confidence is None or self.right is None:
            return []
        place = np.minimum((self.confidence * BINS).astype(int), BINS - 1)
        bins = [place == number for number in range(BINS)]
        return [
            (float(self.confidence[own].mean()), float(self.right[own].mean()), int(own.sum()))
            for own in bins
            if own.any()
        ]


def predictions_of(
    records: Sequence[RunRecord],
    draws: int,
    examples: int | None = None,
    loaded: "Sequence[WithData | str] | None" = None,
) -> Predictions | str:
    """Predictions of the test examples by restarts on disk, or a line that says why there are none.

    Args:
        records: as in `to_datatree`, read from their folders.
        draws: a chain.
        examples: test examples, at most; None for as many as take no more than some seconds.
        loaded: what `all_with_data` gave, where it was asked already.
    """
    loaded = all_with_data(records) if loaded is None else loaded
    missing = [one for one in loaded if isinstance(one, str)]
    if missing:
        return f"{missing[0]}: take bayesprune.to_datatree(runs, data=...) in Python"
    found = [one for one in loaded if not isinstance(one, str)]
    task, data = found[0][0].task, found[0][1]
    if task is None:
        return "the run's task was not saved along"
    if examples is None:
        costs = draws * sum(max(1, record.result["macs"]) for record in records)
        examples = max(100, int(min(EFFORT / costs, NUMBERS / (draws * len(records)))))
    try:
        chains = chains_of([pruned for pruned, _ in found], draws, 0, False)
        return Predictions.of(predictions(chains, chains.z, data, "test", min(examples, len(data.test)), 0), task)
    except BayespruneError as error:
        return " ".join(str(error).split())


def plot_calibration(found: Predictions, path: Path) -> Path:
    """Draw the share of right answers by confidence, and how many examples have it.

    Args:
        found: of a classification.
        path: of the picture: its suffix, .png or .svg, says which.

    Returns:
        `path`.

    Raises:
        SettingError: another suffix.
        StoreError: the picture cannot be written.
    """
    return write_picture(lambda: _calibration(found), path)


def plot_entropy(found: Predictions, path: Path) -> Path:
    """Draw the predictive entropy of right and of wrong answers; arguments and errors as in `plot_calibration`."""
    return write_picture(lambda: _entropy(found), path)


def _calibration(found: Predictions) -> "Figure":
    from matplotlib.figure import Figure

    from bayesprune.experiments.report.drawing import ACCENT, CONTRAST, PRINT_INK, write_counts

    rows = found.calibration()
    confidence, right, count = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    figure = Figure(figsize=(4.8, 5.2), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], color=PRINT_INK, linewidth=1.0, linestyle="--", label="calibrated")
    likely = (right * count + 1) / (count + 2)  # of few examples none may be wrong, and there is an error still
    error = np.sqrt(likely * (1 - likely) / count)
    upper.errorbar(confidence, right, error, color=ACCENT, fmt="o-", elinewidth=1.0, label="mean of the draws")
    upper.set(ylabel="share of right answers", xlim=(0.0, 1.02), ylim=(0.0, 1.02))
    upper.legend(loc="upper left")
    lower.bar(confidence, count, width=0.06, color=CONTRAST)
    lower.set(xlabel="probability of the answer", ylabel="examples", yscale="log", ylim=(0.7, None))
    write_counts(lower.yaxis)
    ece = found.predicted.metrics.get("ece")
    words = "" if ece is None else f"ECE {ece:.3f}; "
    figure.suptitle(f"{words}{int(count.sum()):,} test examples, with one standard error", fontsize=9)
    return figure


def _entropy(found: Predictions) -> "Figure":
    from bayesprune.experiments.report.drawing import ACCENT, CONTRAST, new_figure, write_counts

    figure, axes = new_figure(5.6, 3.4)
    entropy, right = found.entropy, found.right
    assert entropy is not None and right is not None  # asked for a classification only
    edges = np.linspace(0.0, max(float(entropy.max()), 1e-6), 31).tolist()
    for own, colour, name in ((right, ACCENT, "right"), (~right, CONTRAST, "wrong")):
        label = f"{name}: {int(own.sum()):,}, mean {_mean(entropy[own])}"
        axes.hist(entropy[own], bins=edges, color=colour, alpha=0.65, log=True, label=label)
    axes.set(xlabel="predictive entropy of the mean of the draws, nats", ylabel="test examples", ylim=(0.7, None))
    write_counts(axes.yaxis)
    axes.legend()
    return figure


def _mean(values: Floats) -> str:
    return f"{values.mean():.3f}" if len(values) else "-"

"""Classification: one of K classes an example."""

from dataclasses import dataclass
from math import log
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from bayesprune.errors import DataError, NetworkError
from bayesprune.evaluation.measures.classes import balanced_accuracy, recalls
from bayesprune.evaluation.metrics import measure
from bayesprune.tasks.likelihood import Categorical, Likelihood
from bayesprune.tasks.task import NLL, Array, Metric, Task, Values

ACCURACY = Metric("accuracy", "accuracy", "share of right answers", "%")


@dataclass(frozen=True)
class Classification(Task):
    """Targets are classes 0 .. outputs - 1, outputs are logits [B, K]."""

    name = "classification"
    has_classes = True
    metrics = (
        ACCURACY,
        Metric("balanced_accuracy", "balanced accuracy", "mean over classes of the share of right answers", "%"),
        Metric("lowest_recall", "lowest recall", "share of right answers in the class that has the lowest", "%"),
        NLL,
        Metric("ece", "ECE", "expected calibration error, 15 bins", higher_is_better=False),
        Metric("brier", "Brier", "mean squared distance of the probabilities to the label", higher_is_better=False),
    )
    meaning_of_outputs: ClassVar[str] = "logits"

    @classmethod
    def fitted(cls, targets: Array, where: str, outputs: int | None = None) -> "Task":
        """See `Task.fitted`; labels that look like identifiers and not like classes are refused."""
        labels = class_numbers(targets, where)
        largest = int(labels.max())
        if outputs is None and largest >= len(labels):
            raise DataError(
                f"the largest label of {where} is {largest} but there are only {len(labels):,} training examples; "
                'number the classes 0, 1, 2, ..., or give task="regression" or task="counts" for numbers to predict'
            )
        if len(np.unique(labels)) < 2:
            raise DataError(f"{where} holds one class only; at least 2 are needed to classify")
        return cls(largest + 1 if outputs is None else outputs)

    def targets(self, values: Array, where: str) -> Tensor:
        """See `Task.targets`: int64 [N]."""
        labels = class_numbers(values, where)
        check_range(labels, self.outputs, where)
        return torch.from_numpy(labels)

    def class_numbers(self, targets: Tensor) -> Tensor | None:
        """See `Task.class_numbers`."""
        return targets

    def likelihood(self) -> Likelihood:
        """See `Task.likelihood`."""
        return Categorical()

    def measured(self, outputs: Tensor, targets: Tensor, likelihood: Likelihood) -> Values:
        """See `Task.measured`."""
        found, answers = measure(outputs, targets), outputs.argmax(1)
        present = [each for each in recalls(answers, targets, outputs.shape[1]) if each is not None]
        return {
            "accuracy": found.accuracy,
            "balanced_accuracy": balanced_accuracy(answers, targets, outputs.shape[1]),
            "lowest_recall": min(present),
            "nll": found.nll,
            "ece": found.ece,
            "brier": found.brier,
        }

    def recalls(self, outputs: Tensor, targets: Tensor) -> tuple[float | None, ...]:
        """For each class the share of its examples that get the right answer; None for a class without examples."""
        return tuple(recalls(outputs.argmax(1), targets, outputs.shape[1])[: self.outputs])

    def answers(self, outputs: Tensor) -> Tensor:
        """The class [N] with the largest logit."""
        return outputs.argmax(1)

    def probabilities(self, outputs: Tensor) -> Tensor | None:
        """Of every class [N, K]."""
        return outputs.softmax(1)

    def averaged(self, several: Tensor) -> Tensor:
        """Logarithms of the mean probabilities."""
        return several.log_softmax(2).logsumexp(0) - log(len(several))

    def guess(self) -> float | None:
        """Of equal probabilities."""
        return log(self.outputs)

    def described(self) -> str:
        """See `Task.described`."""
        return f"the {self.outputs} classes"

    def check_outputs(self, outputs: Any, count: int, example_shape: Any, when: str, name: str) -> None:
        """See `Task.check_outputs`; one logit for two classes is another task."""
        single = isinstance(outputs, Tensor) and outputs.numel() == count and self.outputs == 2
        if single:
            raise NetworkError(
                f"the network's outputs{when} for a batch of {count} are {list(outputs.shape)}; logits [{count}, 2] "
                f'are needed for the 2 classes of {name}: let it give two, or make the data with task="binary"'
            )
        super().check_outputs(outputs, count, example_shape, when, name)

    def fits(self, outputs: Tensor, wanted: list[int]) -> bool:
        """More outputs than classes do no harm."""
        return (
            outputs.is_floating_point()
            and outputs.dim() == 2
            and outputs.shape[0] == wanted[0]
            and outputs.shape[1] >= wanted[1]
        )


def class_numbers(values: Array, where: str) -> Any:
    """Labels as int64 [N]; a column [N, 1] is taken, one-hot rows are not.

    Raises:
        DataError: they are no integers, or not one an example.
    """
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise DataError(
            f"the labels of {where} have shape {list(values.shape)}; one integer an example is needed "
            '(for one-hot rows: labels.argmax(1); for tags of which several may hold: task="multi-label")'
        )
    return whole_numbers(values, where)


def whole_numbers(values: Array, where: str) -> Any:
    """Labels of any shape as int64.

    Raises:
        DataError: they are no integers.
    """
    if values.dtype.kind == "f":
        raise DataError(
            f"the labels of {where} are {values.dtype}, not integers; give labels.astype(int) for classes, or "
            'task="regression" for numbers to predict'
        )
    if values.dtype.kind == "u" and values.size and int(values.max()) > np.iinfo(np.int64).max:
        raise DataError(f"the largest label of {where} is {int(values.max())}; number the classes 0, 1, 2, ...")
    return values.astype(np.int64)


def check_range(labels: Any, classes: int | None, where: str, ignored: int | None = None) -> None:
    """Refuse labels outside 0 .. classes - 1; without a number of classes, negative ones.

    Raises:
        DataError: names the first label out of range, its position, and the range.
    """
    wrong = labels < 0 if classes is None else (labels < 0) | (labels >= classes)
    if ignored is not None:
        wrong &= labels != ignored
    if wrong.any():
        place = tuple(int(index[0]) for index in np.nonzero(wrong))
        allowed = "must not be negative" if classes is None else f"must lie between 0 and {classes - 1}"
        raise DataError(
            f"label {int(labels[place])} of example {place[0]} of {where} is out of range: labels {allowed} "
            f"({int(wrong.sum()):,} of {labels.size:,} are wrong)"
        )

"""Tags that are there or not: one (binary) or several (multi-label), each with a logit."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from bayesprune.errors import DataError
from bayesprune.evaluation.measures import tags
from bayesprune.evaluation.measures.classes import balanced_accuracy
from bayesprune.tasks.likelihood import Bernoulli, Likelihood, rows
from bayesprune.tasks.task import NLL, Array, Metric, Task, Values, as_columns, numbers


@dataclass(frozen=True)
class _Tags(Task):
    """Targets are 0 or 1 for each of K tags, outputs are logits [B, K]."""

    meaning_of_outputs: ClassVar[str] = "logits"

    @classmethod
    def fitted(cls, targets: Array, where: str, outputs: int | None = None) -> Self:
        """See `Task.fitted`."""
        values = cls._zeros_and_ones(targets, where)
        cls._check_count(values.shape[1], where)
        if bool((values == values[0]).all()):
            raise DataError(f"all examples of {where} have the same targets: there is nothing to learn")
        return cls(values.shape[1])

    def targets(self, values: Array, where: str) -> Tensor:
        """See `Task.targets`: float32 [N, K]."""
        found = self._zeros_and_ones(values, where)
        self.check_columns(found, where)
        return torch.from_numpy(found.astype(np.float32))

    @staticmethod
    def _zeros_and_ones(values: Array, where: str) -> Array:
        found = numbers(as_columns(values, where), where)
        wrong = (found != 0) & (found != 1)
        if wrong.any():
            row, column = (int(index[0]) for index in np.nonzero(wrong))
            raise DataError(
                f"the target of example {row} of {where} is {found[row, column]:g}; tags are 0 or 1 "
                '(numbers to predict: task="regression"; classes: task="classification")'
            )
        return found

    @classmethod
    def _check_count(cls, columns: int, where: str) -> None:
        """Refuse a number of columns that the task cannot have."""

    def likelihood(self) -> Likelihood:
        """See `Task.likelihood`."""
        return Bernoulli()

    def probabilities(self, outputs: Tensor) -> Tensor | None:
        """Of every tag [N, K]."""
        return rows(outputs).sigmoid()

    def averaged(self, several: Tensor) -> Tensor:
        """Logits of the mean probabilities."""
        return logsigmoid(several).logsumexp(0) - logsigmoid(-several).logsumexp(0)

    def guess(self) -> float | None:
        """Of probabilities that are all one half."""
        return self.outputs * float(np.log(2.0))


@dataclass(frozen=True)
class Binary(_Tags):
    """One tag: whether something holds. Outputs are one logit an example, [B, 1] or [B]."""

    name = "binary"
    has_classes = True
    metrics = (
        Metric("accuracy", "accuracy", "share of right answers", "%"),
        Metric("balanced_accuracy", "balanced accuracy", "mean of the recalls of 0 and of 1", "%"),
        Metric("f1", "F1", "harmonic mean of precision and recall of 1"),
        Metric("roc_auc", "ROC AUC", "chance that a 1 gets a higher logit than a 0"),
        Metric("average_precision", "average precision", "mean precision over the recalls of 1"),
        NLL,
    )

    @classmethod
    def _check_count(cls, columns: int, where: str) -> None:
        if columns != 1:
            raise DataError(
                f'the targets of {where} have {columns} columns; task="binary" has one (several: task="multi-label")'
            )

    def class_numbers(self, targets: Tensor) -> Tensor | None:
        """See `Task.class_numbers`."""
        return targets[:, 0].long()

    def measured(self, outputs: Tensor, targets: Tensor, likelihood: Likelihood) -> Values:
        """See `Task.measured`."""
        logits, truth = rows(outputs).double(), targets.double()
        answers, labels = (logits[:, 0] > 0).long(), truth[:, 0].long()
        return {
            "accuracy": float((answers == labels).double().mean()),
            "balanced_accuracy": balanced_accuracy(answers, labels, 2),
            "f1": tags.f1(logits[:, 0], labels),
            "roc_auc": tags.roc_auc(logits[:, 0], labels),
            "average_precision": tags.average_precision(logits, truth),
            "nll": float(likelihood.loss(logits, truth)),
        }

    def answers(self, outputs: Tensor) -> Tensor:
        """0 or 1 [N]."""
        return (rows(outputs)[:, 0] > 0).long()


@dataclass(frozen=True)
class MultiLabel(_Tags):
    """K tags of which several may hold."""

    name = "multi-label"
    metrics = (
        Metric("macro_f1", "macro F1", "mean over tags of the harmonic mean of precision and recall"),
        Metric("average_precision", "average precision", "mean over tags and recalls of the precision"),
        Metric("tag_accuracy", "tag accuracy", "share of right tags", "%"),
        Metric("subset_accuracy", "subset accuracy", "share of examples whose tags are all right", "%"),
        NLL,
    )

    def measured(self, outputs: Tensor, targets: Tensor, likelihood: Likelihood) -> Values:
        """See `Task.measured`."""
        logits, truth = rows(outputs).double(), targets.double()
        return {
            "macro_f1": tags.macro_f1(logits, truth),
            "average_precision": tags.average_precision(logits, truth),
            "tag_accuracy": tags.hamming_accuracy(logits, truth),
            "subset_accuracy": tags.subset_accuracy(logits, truth),
            "nll": float(likelihood.loss(logits, truth)),
        }

    def answers(self, outputs: Tensor) -> Tensor:
        """0 or 1 for every tag [N, K]."""
        return (rows(outputs) > 0).long()

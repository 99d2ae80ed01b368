"""A class for every position: segmentation of pictures, tagging of sequences."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from bayesprune.errors import DataError
from bayesprune.evaluation.measures.positions import accuracy_of, balanced_accuracy_of, confusion, iou_of
from bayesprune.tasks.classes import check_range, whole_numbers
from bayesprune.tasks.likelihood import IGNORED, Likelihood, Positions, check_logits_finite
from bayesprune.tasks.task import Array, Metric, Task, Values


@dataclass(frozen=True)
class Segmentation(Task):
    """Targets are classes [N, ...], -100 where a position does not count; outputs are logits [B, K, ...]."""

    name = "segmentation"
    metrics = (
        Metric("mean_iou", "mean IoU", "mean over classes of intersection over union of answers and labels", "%"),
        Metric("accuracy", "accuracy", "share of positions with the right answer", "%"),
        Metric("balanced_accuracy", "balanced accuracy", "mean over classes of the share of right positions", "%"),
        Metric("nll", "NLL", "mean negative log-likelihood of a position", "nats", higher_is_better=False),
    )
    meaning_of_outputs: ClassVar[str] = "logits"

    @classmethod
    def fitted(cls, targets: Array, where: str, outputs: int | None = None) -> Self:
        """See `Task.fitted`."""
        labels = cls._labels(targets, where)
        counted = labels[labels != IGNORED]
        if not len(counted):
            raise DataError(f"no position of {where} counts: all labels are {IGNORED}")
        if len(np.unique(counted)) < 2:
            raise DataError(f"the positions of {where} have one class only; at least 2 are needed to classify")
        return cls(int(counted.max()) + 1 if outputs is None else outputs)

    def targets(self, values: Array, where: str) -> Tensor:
        """See `Task.targets`: int64 [N, ...]."""
        labels = self._labels(values, where)
        check_range(labels, self.outputs, where, IGNORED)
        return torch.from_numpy(labels)

    @staticmethod
    def _labels(values: Array, where: str) -> Any:
        if values.ndim < 2:
            raise DataError(
                f"the labels of {where} have shape {list(values.shape)}; segmentation and tagging need a class for "
                "each position: [N, H, W] or [N, L]"
            )
        return whole_numbers(values, where)

    def class_numbers(self, targets: Tensor) -> Tensor | None:
        """See `Task.class_numbers`."""
        return targets

    def likelihood(self) -> Likelihood:
        """See `Task.likelihood`."""
        return Positions()

    def collected(self, outputs: Tensor, targets: Tensor, likelihood: Likelihood) -> Any:
        """Confusion matrix, sum of the negative log-likelihoods, and positions that count."""
        outputs, targets = outputs.detach().cpu(), targets.detach().cpu()
        check_logits_finite(outputs)
        total = float(likelihood.terms(outputs.double(), targets).sum())
        return confusion(outputs.argmax(1), targets, self.outputs), total, int((targets != IGNORED).sum())

    def measure(self, collected: Sequence[Any], likelihood: Likelihood) -> Values:
        """See `Task.measure`."""
        matrix = torch.stack([one[0] for one in collected]).sum(0)
        positions = sum(one[2] for one in collected)
        return {
            "mean_iou": iou_of(matrix),
            "accuracy": accuracy_of(matrix),
            "balanced_accuracy": balanced_accuracy_of(matrix),
            "nll": sum(one[1] for one in collected) / positions if positions else None,
        }

    def measured(self, outputs: Tensor, targets: Tensor, likelihood: Likelihood) -> Values:
        """See `Task.measured`."""
        return self.measure([self.collected(outputs, targets, likelihood)], likelihood)

    def answers(self, outputs: Tensor) -> Tensor:
        """The class [N, ...] of every position."""
        return outputs.argmax(1)

    def probabilities(self, outputs: Tensor) -> Tensor | None:
        """Of every class [N, K, ...]."""
        return outputs.softmax(1)

    def averaged(self, several: Tensor) -> Tensor:
        """Logarithms of the mean probabilities."""
        return several.log_softmax(2).logsumexp(0) - log(len(several))

    def guess(self) -> float | None:
        """Of equal probabilities, a position."""
        return log(self.outputs)

    def output_shape(self, count: int, example_shape: Any) -> list[int]:
        """See `Task.output_shape`."""
        return [count, self.outputs, *example_shape]

    def fits(self, outputs: Tensor, wanted: list[int]) -> bool:
        """See `Task.fits`."""
        return outputs.is_floating_point() and list(outputs.shape) == wanted

    def cure(self, outputs: Any, wanted: list[int]) -> str:
        """See `Task.cure`; many networks have the classes last."""
        if isinstance(outputs, Tensor) and list(outputs.shape) == [wanted[0], *wanted[2:], wanted[1]]:
            return "its classes come last: let forward return outputs.movedim(-1, 1)"
        return super().cure(outputs, wanted)

    def described(self) -> str:
        """See `Task.described`."""
        return f"the {self.outputs} classes of each position"

"""Measures of dense prediction: one class at each position of an example, such as each pixel of a picture.

Positions labelled -100 are ignored. Over a large split, sum the confusion matrices of its batches and call
`accuracy_of`, `balanced_accuracy_of` or `iou_of`. For very many classes, whose K x K matrix is too large, only
`position_accuracy` and `position_nll` will do.
"""

import torch
from torch import Tensor

from bayesprune.evaluation.measures.values import mean, to_float64, to_int64

IGNORED = -100
"""The label of a position that does not count, as in `torch.nn.functional.cross_entropy`."""

POSITIONS_AT_ONCE = 2**22
"""How many positions `confusion` takes at a time, so that its own memory stays below a few hundred MiB."""


def position_accuracy(log_probabilities: Tensor, labels: Tensor) -> float | None:
    """Share of positions that are answered right, in [0, 1]; of equal log-probabilities the first counts.

    Args:
        log_probabilities: [N, K, ...], classes in dimension 1.
        labels: [N, ...], integers in 0..K-1, or -100 where the position is ignored.

    Returns:
        None where every position is ignored.
    """
    true = to_int64(labels)
    right = (_answers(log_probabilities) == true)[true != IGNORED]
    return mean(right) if right.numel() else None


def position_nll(log_probabilities: Tensor, labels: Tensor) -> float | None:
    """Mean over positions of -log probability of the true class, in nats; otherwise as `position_accuracy`."""
    true = to_int64(labels)
    # Pick first, then widen: all classes in float64 may be twice the memory.
    chosen = log_probabilities.detach().cpu().gather(1, true.clamp_min(0)[:, None])[:, 0]
    kept = chosen[true != IGNORED]
    return 0.0 - mean(kept) if kept.numel() else None  # 0 - x, not -x: 0.0 never turns into -0.0


def mean_iou(log_probabilities: Tensor, labels: Tensor) -> float | None:
    """Mean intersection over union of the classes that occur; arguments as in `position_accuracy`, else as `iou_of`."""
    return iou_of(confusion(_answers(log_probabilities), labels, log_probabilities.shape[1]))


def confusion(answers: Tensor, labels: Tensor, classes: int) -> Tensor:
    """How many positions of each class got each answer, ignored positions left out.

    Args:
        answers: any shape, integers in 0..classes-1.
        labels: the same shape, integers in 0..classes-1, or -100 where the position is ignored.
        classes: number of classes.

    Returns:
        [classes, classes] int64; the row is the true class, the column the answer. Those of batches add up.
    """
    counts = torch.zeros(classes * classes, dtype=torch.int64)
    parts = (to_int64(values).flatten().split(POSITIONS_AT_ONCE) for values in (answers, labels))
    for given, true in zip(*parts, strict=True):
        kept = true != IGNORED
        counts += torch.bincount(true[kept] * classes + given[kept], minlength=len(counts))
    return counts.reshape(classes, classes)


def accuracy_of(confusion: Tensor) -> float | None:
    """Share of positions answered right, in [0, 1], from a confusion matrix [K, K]; None if it is empty."""
    return _mean_share(confusion.diagonal().sum()[None], confusion.sum()[None])


def balanced_accuracy_of(confusion: Tensor) -> float | None:
    """Mean recall over the classes that occur in the labels, in [0, 1]; None if the confusion matrix [K, K] is empty.

    Source: scikit-learn's `balanced_accuracy_score`.
    """
    return _mean_share(confusion.diagonal(), confusion.sum(dim=1))


def iou_of(confusion: Tensor) -> float | None:
    """Mean intersection over union (Jaccard index) of the classes that occur in labels or answers, in [0, 1].

    Args:
        confusion: [K, K], true class by answer, such as `confusion` returns.

    Returns:
        None where the matrix is empty.

    Source: Jaccard (1912); scikit-learn's `jaccard_score(average="macro")`.
    """
    intersection = confusion.diagonal()
    return _mean_share(intersection, confusion.sum(dim=0) + confusion.sum(dim=1) - intersection)


def _answers(log_probabilities: Tensor) -> Tensor:
    # On the CPU, where argmax takes the first of equal values.
    return log_probabilities.detach().cpu().argmax(dim=1)


def _mean_share(part: Tensor, whole: Tensor) -> float | None:
    """Mean of part / whole over the entries whose whole is not 0."""
    occurs = whole > 0
    return mean(to_float64(part)[occurs.cpu()] / to_float64(whole)[occurs.cpu()]) if occurs.any() else None

"""Measures of a classifier's answers that count every class alike, however rare it is."""

import torch
from torch import Tensor

from bayesprune.evaluation.measures.values import mean, to_int64


def recalls(answers: Tensor, labels: Tensor, classes: int) -> list[float | None]:
    """Share of the examples of each class that are answered right, in [0, 1].

    Args:
        answers: [N], integers in 0..classes-1, the class that is answered.
        labels: [N], integers in 0..classes-1, the true class.
        classes: number of classes.

    Returns:
        One recall a class; None for a class that does not occur in the labels.
    """
    right, total = _right_and_total(answers, labels, classes)
    return [int(hits) / int(count) if count else None for hits, count in zip(right, total, strict=True)]


def balanced_accuracy(answers: Tensor, labels: Tensor, classes: int) -> float:
    """Mean recall over the classes that occur in the labels, in [0, 1]; arguments as in `recalls`.

    Raises:
        DataError: there are no examples.

    Source: Brodersen et al. (2010), "The Balanced Accuracy and Its Posterior Distribution", for more than two
    classes as in scikit-learn's `balanced_accuracy_score`.
    """
    right, total = _right_and_total(answers, labels, classes)
    occurs = total > 0
    return mean(right[occurs].double() / total[occurs])


def _right_and_total(answers: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Right answers and examples of each class, [classes] each."""
    given, true = to_int64(answers), to_int64(labels)
    return torch.bincount(true[given == true], minlength=classes), torch.bincount(true, minlength=classes)

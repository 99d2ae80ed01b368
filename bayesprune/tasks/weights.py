"""What classes and examples count in training."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from bayesprune.errors import SettingError
from bayesprune.tasks.likelihood import IGNORED
from bayesprune.tasks.task import Task

BALANCED = "balanced"


def class_weights_of(
    given: Sequence[float] | Mapping[int, float] | str | None, task: Task, targets: Tensor, weights: Tensor | None
) -> Tensor | None:
    """Weights of the training examples [N], or of their targets [N, ...], with mean 1; None where all count alike.

    Args:
        given: one a class (or by class), "balanced" for the inverse of how frequent each class is, or None.
        task: what is to be learnt.
        targets: of the training split.
        weights: of the examples, which those of the classes multiply.

    Raises:
        SettingError: the task has no classes, or the weights do not fit them.
    """
    if given is not None:
        by_class = _of_classes(given, task, targets)
        weights = by_class if weights is None else by_class * _alongside(weights, by_class)
    if weights is None:
        return None
    mean = weights.double().mean()
    if not float(mean) > 0:
        raise SettingError("class_weights and example_weights leave no training example that counts: give larger ones")
    return (weights.double() / mean).float()


def _alongside(weights: Tensor, other: Tensor) -> Tensor:
    return weights.reshape(*weights.shape, *[1] * (other.dim() - weights.dim()))


def _numbers(given: Any, count: int) -> Tensor:
    """One weight a class, from a list or a table by class; empty where it is neither."""
    try:
        if isinstance(given, Mapping):
            given = [given[number] for number in range(count)] if len(given) == count else []
        return torch.as_tensor([float(weight) for weight in given], dtype=torch.float64)
    except (LookupError, TypeError, ValueError):
        return torch.empty(0)


def _shown(given: Any) -> Any:
    return given if isinstance(given, Mapping) or not hasattr(given, "__iter__") else list(given)


def _of_classes(given: Sequence[float] | Mapping[int, float] | str, task: Task, targets: Tensor) -> Tensor:
    """The weight of every target's class."""
    classes = task.class_numbers(targets)
    if classes is None:
        raise SettingError(
            f"class_weights is for tasks with classes, and this one is {task.name!r}: leave it out, or give "
            "example_weights"
        )
    count = max(task.outputs, 2)
    counted = classes != IGNORED
    if isinstance(given, str):
        if given != BALANCED:
            raise SettingError(f"class_weights is {given!r}: give one number a class, or {BALANCED!r}")
        frequencies = classes[counted].flatten().bincount(minlength=count).double()
        each = torch.where(frequencies > 0, 1 / frequencies.clamp_min(1), 0.0)
    else:
        each = _numbers(given, count)
        if len(each) != count or not bool((each.isfinite() & (each >= 0)).all()):
            raise SettingError(f"class_weights {_shown(given)}: give {count} finite numbers >= 0, one for each class")
    return torch.where(counted, each[classes.clamp_min(0)], 0.0).float()

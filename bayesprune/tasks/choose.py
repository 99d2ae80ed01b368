"""The task by name, or the one that the targets suggest."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bayesprune.errors import SettingError, UnknownNameError, a_kind
from bayesprune.tasks.classes import Classification
from bayesprune.tasks.numbers import Counts, Regression
from bayesprune.tasks.own import OwnTask
from bayesprune.tasks.positions import Segmentation
from bayesprune.tasks.tags import Binary, MultiLabel
from bayesprune.tasks.task import Array, Task

TASKS: Mapping[str, type[Task]] = {
    kind.name: kind for kind in (Classification, Binary, MultiLabel, Regression, Counts, Segmentation)
}
"""The built-in tasks by name."""


def task_for(
    wanted: Task | str | None, targets: Array, input_shape: Any, where: str, outputs: int | None = None
) -> Task:
    """The task that is asked for, fitted to the training targets; without a wish the one that they suggest.

    Args:
        wanted: a task as it is, a name, or None.
        targets: [N, ...] of the training split.
        input_shape: of one example.
        where: what is read, for messages.
        outputs: number of classes (or other outputs) that the user gives.

    Raises:
        UnknownNameError: there is no task of this name.
        SettingError: it is none of these.
        DataError: the targets do not fit the task.
    """
    if isinstance(wanted, Task):
        return wanted
    if wanted is None:
        wanted = Classification.name if outputs is not None and targets.ndim < 2 else suggested(targets, input_shape)
    if not isinstance(wanted, str):
        raise SettingError(f"task is {a_kind(wanted)}: give a name ({', '.join(TASKS)}) or a task")
    if wanted not in TASKS:
        raise UnknownNameError("task", wanted, TASKS)
    return TASKS[wanted].fitted(targets, where, outputs)


def suggested(targets: Array, input_shape: Any) -> str:
    """The name of the task that targets suggest; classification where nothing else does."""
    if targets.dtype.kind == "f":
        fractions = targets.size and not bool((np.floor(targets) == targets)[np.isfinite(targets)].all())
        return Regression.name if fractions and targets.ndim < 3 else Classification.name
    if targets.ndim < 2 or targets.shape[1:] == (1,):
        return Classification.name
    if _positions(targets.shape[1:], input_shape):
        return Segmentation.name
    tags = targets.ndim == 2 and bool(((targets == 0) | (targets == 1)).all())
    one_hot = tags and bool((targets.sum(1) == 1).all())
    return MultiLabel.name if tags and not one_hot else Classification.name


def _positions(shape: tuple[int, ...], input_shape: Any) -> bool:
    """Whether there is a target for each position of a picture [C, H, W] or of a sequence of tokens [L]."""
    return isinstance(input_shape, tuple) and shape in (input_shape[1:], input_shape if len(input_shape) == 1 else None)


def from_json(document: Any) -> Task | None:
    """The task that `Task.to_json` wrote; None for one that only the user has.

    Raises:
        ValueError: the document is damaged.
    """
    if not isinstance(document, Mapping) or not isinstance(document.get("name"), str):
        raise ValueError("task")
    if document["name"] == OwnTask.name:
        return None
    try:
        return TASKS[document["name"]].from_document(document)
    except (LookupError, TypeError, OverflowError) as error:
        raise ValueError("task") from error

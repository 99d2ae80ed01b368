"""Tasks: what a network is to learn, with the likelihood of its targets and the metrics of its answers."""

from bayesprune.tasks.choose import TASKS, from_json, suggested, task_for
from bayesprune.tasks.classes import Classification
from bayesprune.tasks.likelihood import Likelihood
from bayesprune.tasks.numbers import Counts, Regression
from bayesprune.tasks.own import OwnTask
from bayesprune.tasks.positions import Segmentation
from bayesprune.tasks.tags import Binary, MultiLabel
from bayesprune.tasks.task import Metric, Task

__all__ = [
    "TASKS",
    "Binary",
    "Classification",
    "Counts",
    "Likelihood",
    "Metric",
    "MultiLabel",
    "OwnTask",
    "Regression",
    "Segmentation",
    "Task",
    "from_json",
    "suggested",
    "task_for",
]


def __dir__() -> list[str]:
    return sorted(__all__)

"""The one evaluation of every method's result."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import torch
from torch import nn

from bayesprune.batches import call, each
from bayesprune.data import Data, Split
from bayesprune.devices import device_of, fitting
from bayesprune.evaluation.cost import cost
from bayesprune.evaluation.latency import latency_ms
from bayesprune.structure import evaluating
from bayesprune.tasks import Classification, Likelihood, Task

Scores = Mapping[str, float | None]
"""Metrics of a task by key."""


@dataclass(frozen=True)
class Evaluation:
    """Quality on the test split and cost.

    The metrics can be read as attributes, too: `evaluation.accuracy`, `evaluation.rmse`.

    Attributes:
        metrics: of the task, by key; None where one is not defined.
        params, nonzero_weights, macs: of the stored network, one sample.
        latency_ms: median wall time of one sample on one thread.
        recalls: of every class, the share of its examples that get the right answer (None without examples); empty for
            other tasks than classification.
    """

    metrics: Scores
    params: int
    nonzero_weights: int
    macs: int
    latency_ms: float
    recalls: tuple[float | None, ...] = ()

    def __getattr__(self, name: str) -> Any:
        metrics = self.__dict__.get("metrics", {})
        if name in metrics:
            return metrics[name]
        have = ", ".join((*metrics, *(field.name for field in fields(self))))
        raise AttributeError(f"this evaluation has no {name!r}: it has {have}")


@dataclass(frozen=True)
class Prediction:
    """What a network makes of a split.

    Attributes:
        metrics: of the task.
        recalls: see `Evaluation`.
    """

    metrics: Scores
    recalls: tuple[float | None, ...] = ()


@torch.inference_mode()
def predict(
    network: nn.Module, split: Split, task: Task, likelihood: Likelihood | None = None, batch_size: int = 1000
) -> Scores:
    """Metrics of a network on a split, in evaluation mode.

    Args:
        network: its outputs are what the task needs.
        split: with targets as the task has them.
        task: whose metrics are wanted.
        likelihood: with what it has learnt; None for a fresh one.
        batch_size: examples at a time.

    Raises:
        NetworkError: an output is NaN or infinite.
    """
    return _predicted(network, split, task, likelihood, batch_size).metrics


def _predicted(
    network: nn.Module, split: Split, task: Task, likelihood: Likelihood | None, batch_size: int
) -> Prediction:
    likelihood = task.likelihood() if likelihood is None else likelihood
    likelihood, fits, collected = likelihood.to(device_of(network)), partial(fitting, network), []
    with evaluating(network):
        for inputs, targets in split.batches(batch_size):
            plain = targets[0] if isinstance(targets, tuple) else targets
            collected.append(task.collected(call(network, each(fits, inputs)), plain, likelihood))
    return Prediction(task.measure(collected, likelihood), _recalls(task, collected))


def _recalls(task: Task, collected: list[Any]) -> tuple[float | None, ...]:
    """Of every class, for classification."""
    if not isinstance(task, Classification):
        return ()
    outputs, targets = (torch.cat([one[place] for one in collected]).cpu() for place in (0, 1))
    return task.recalls(outputs, targets)


def evaluate(
    network: nn.Module, data: Data, task: Task | None = None, likelihood: Likelihood | None = None
) -> Evaluation:
    """Measure a network on the test split, and count and time it.

    Args:
        network: its outputs are what the task needs.
        data: whose test split is used.
        task: that it was trained for; None for that of the data.
        likelihood: with what it has learnt; None for a fresh one.
    """
    return evaluate_split(network, data.test, task or data.task, likelihood)


@torch.inference_mode()
def evaluate_split(network: nn.Module, split: Split, task: Task, likelihood: Likelihood | None = None) -> Evaluation:
    """Measure a network on a split, and count and time it; arguments as in `evaluate`."""
    example = next(iter(split.batches(1)))[0]
    found = _predicted(network, split, task, likelihood, 1000)
    example = each(partial(fitting, network), example)
    costs = cost(network, example)
    return Evaluation(
        metrics=found.metrics,
        params=costs.params,
        nonzero_weights=costs.nonzero_weights,
        macs=costs.macs,
        latency_ms=latency_ms(network, example),
        recalls=found.recalls,
    )

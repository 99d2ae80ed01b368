"""The best answer that does not look at its inputs: what a network must beat to have learnt anything."""

from dataclasses import dataclass
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from bayesprune.data import Split
from bayesprune.tasks import Likelihood, OwnTask, Task
from bayesprune.tasks.likelihood import unweighted

MOST_TARGETS, BATCH = 10_000, 1_000
"""Training targets that the constant is fitted to at most, and how many are read at a time."""

ROUNDS = 100
"""Of L-BFGS."""

NOTABLE = 0.02
"""Share of a score, or of the scale of negative log-likelihoods, by which a network must be better."""


@dataclass(frozen=True)
class Constant:
    """One output for all examples, the best on the training targets.

    Attributes:
        output: [K], as a network would say it of one example (of one position).
        loss: mean loss of an example with it, in the likelihood's unit.
        likelihood: fitted beside it, where it learns.
    """

    output: Tensor
    loss: float
    likelihood: Likelihood

    def outputs(self, targets: Tensor, task: Task) -> Tensor:
        """The same output [B, ...] for each of the targets."""
        shape = task.output_shape(len(targets), targets.shape[1:])
        return self.output.reshape(1, -1, *[1] * (len(shape) - 2)).expand(shape).contiguous()


def best_constant(task: Task, likelihood: Likelihood, train: Split) -> Constant | None:
    """Fit a constant to training targets, by L-BFGS; None where a task of the user's own takes no such outputs.

    Args:
        task: what is learnt.
        likelihood: a fresh one, as training begins with; noise that it learns is fitted once the constant stands.
        train: its targets are read, in an order of its own.
    """
    given = _targets(train)
    plain = torch.cat([unweighted(one)[0] for one in given])
    weights = [unweighted(one)[1] for one in given]
    targets: Any = plain if weights[0] is None else (plain, torch.cat([each for each in weights if each is not None]))
    likelihood = likelihood.to(plain.device)
    found = Constant(torch.zeros(task.outputs, device=plain.device, requires_grad=True), 0.0, likelihood)
    optimizer = torch.optim.LBFGS([found.output], max_iter=ROUNDS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = likelihood.loss(found.outputs(plain, task), targets)
        value.backward()
        return value

    try:
        with torch.enable_grad():
            optimizer.step(loss)
            value = float(loss().detach())
    except Exception:
        if isinstance(task, OwnTask):  # what a law or a loss of the user's takes is not known
            return None
        raise
    for parameter in likelihood.parameters():
        parameter.grad = None
    output = found.output.detach()
    likelihood.refit([(found.outputs(plain, task).detach(), targets)])
    return Constant(output, value, likelihood) if bool(output.isfinite().all()) else None


@torch.no_grad()
def is_no_better(scores: Any, constant: Constant, split: Split, task: Task) -> tuple[float, float] | None:
    """Whether scores on a split are no better than a constant's: then the constant's (metric, NLL), else None.

    Better is a network whose first metric or whose negative log-likelihood is notably better.

    Args:
        scores: metrics of a network on the split, by key.
        constant: of the training targets.
        split: on which both are measured.
        task: whose metrics are compared.
    """
    measured: dict[str, list[Any]] = {"targets": []}
    for _, targets in split.batches(BATCH):
        measured["targets"].append(unweighted(targets)[0].to(constant.output.device))
    targets = torch.cat(measured["targets"])
    outputs = constant.outputs(targets, task)
    if isinstance(task, OwnTask):  # metrics of the user's are not called once more
        found: Any = {"nll": float(constant.likelihood.loss(outputs, targets))}
    else:
        found = task.measure([task.collected(outputs, targets, constant.likelihood)], constant.likelihood)
    nll, own_nll, metric = found["nll"], scores.get("nll"), task.metric
    if nll is None or own_nll is None:
        return None
    score, own = found.get(metric.key), scores.get(metric.key)
    if nll - own_nll > NOTABLE * (abs(nll) if isinstance(task, OwnTask) else task.scale_of_guess()):
        return None
    if score is not None and own is not None:
        error = 2 * sqrt(score * (1 - score) / len(targets)) if metric.unit == "%" else NOTABLE * abs(score)
        if metric.better(own, score) > error:
            return None
    return (nll if score is None else score), nll


def _targets(train: Split) -> list[Any]:
    """Targets of some training examples, drawn by an order of their own."""
    found, count = [], 0
    for _, targets in train.batches(BATCH, seed=0):
        found.append(targets)
        count += len(unweighted(targets)[0])
        if count >= MOST_TARGETS:
            break
    return found

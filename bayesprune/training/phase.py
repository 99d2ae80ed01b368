"""A phase of training: what is minimised, by which optimizer, for how many steps."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from math import cos, pi
from typing import Any, Protocol

from torch import nn
from torch.optim import SGD, Optimizer

from bayesprune.data import Split
from bayesprune.errors import SettingError
from bayesprune.training.adam import ClippedAdam, fused_adam
from bayesprune.training.objectives import Objective
from bayesprune.training.state import TrainState

MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]
Start = Callable[[TrainState], None]
"""What is done to the state before a phase's first step: deciding gates, pruning."""
Schedule = Callable[[float], float]
"""From the share of the phase that is done (0 to 1) to the factor of the learning rate."""


class Update(Protocol):
    """Something done after every optimizer step that is not autograd's: a projection, a mask, a shrink."""

    def __call__(self, state: TrainState) -> None:
        """Change the state; `state.phase_step` is the number of the step just done, from 1."""
        ...


@dataclass(frozen=True)
class Phase:
    """One phase; its optimizer starts fresh.

    Attributes:
        name: shown in progress and history.
        steps: optimizer steps.
        objective: gives the loss of a mini-batch.
        optimizer: makes the optimizer of the network's parameters.
        schedule: factor of the learning rate over the phase.
        extra_optimizers: made for parameters outside the network (gates), by name; stepped after the weights.
        updates: run after every step, in order.
        start: run once before the first step (not again on resuming): deciding gates, pruning to a budget.
        batch_size: examples a step; None for the run's.
        ends: asked after every epoch's record; True ends the phase before its steps are done.
        train: examples of its own instead of the run's training split.
    """

    name: str
    steps: int
    objective: Objective
    optimizer: MakeOptimizer
    schedule: Schedule
    extra_optimizers: Callable[[TrainState], dict[str, Optimizer]] | None = None
    updates: Sequence[Update] = ()
    start: Start | None = None
    batch_size: int | None = None
    ends: Callable[[TrainState], bool] | None = None
    train: Split | None = None

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise SettingError(f"phase {self.name!r} cannot take {self.steps} steps: give 0 or more")


def adam(learning_rate: float, weight_decay: float = 0.0, *, clip: float | None = None) -> MakeOptimizer:
    """Adam with coupled weight decay (an L2 term, as a Gaussian prior gives).

    With `clip`, gradients that are longer in all (Euclidean norm) are scaled down to that length before each step.
    """
    if not 0 < learning_rate < float("inf"):
        raise SettingError(f"the learning rate must be a finite number > 0, not {learning_rate}")

    def make(parameters: Iterable[nn.Parameter]) -> Optimizer:
        given = list(parameters)
        return (
            fused_adam(given, learning_rate, weight_decay)
            if clip is None
            else ClippedAdam(given, clip, learning_rate, weight_decay)
        )

    return make


def sgd(learning_rate: float, weight_decay: float = 0.0) -> MakeOptimizer:
    """Stochastic gradient descent with Nesterov's momentum of 0.9 and coupled weight decay."""
    if not 0 < learning_rate < float("inf"):
        raise SettingError(f"the learning rate must be a finite number > 0, not {learning_rate}")

    def make(parameters: Iterable[nn.Parameter]) -> Optimizer:
        return SGD(parameters, learning_rate, momentum=0.9, weight_decay=weight_decay, nesterov=True)

    return make


MAKERS = {"adam": adam, "sgd": sgd}
"""Optimizers of the network's weights by the names of the setting `optimizer`."""


def constant(_: float) -> float:
    """The full learning rate throughout."""
    return 1.0


def cosine(done: float) -> float:
    """From the full learning rate to 0 along half a cosine."""
    return 0.5 * (1 + cos(pi * min(done, 1.0)))


def _groups(state: TrainState) -> list[Any]:
    """The network's parameters, and those of a likelihood that learns, which do not decay."""
    own = list(state.network.parameters())
    learnt = list(state.likelihood.parameters())
    return [{"params": own}, {"params": learnt, "weight_decay": 0.0}] if learnt else own


def make_optimizers(state: TrainState, phase: Phase) -> None:
    """Fresh optimizers for a phase; the state can make them again (`TrainState.make_optimizers`)."""
    state.make_optimizers = partial(make_optimizers, state, phase)
    state.optimizers = {"network": phase.optimizer(_groups(state))}
    for group in state.optimizers["network"].param_groups:
        group["initial_lr"] = group["lr"]
    if phase.extra_optimizers is not None:
        state.optimizers |= phase.extra_optimizers(state)

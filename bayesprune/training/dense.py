"""What dense training costs, which a run's training is compared to."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch

from bayesprune.batches import head, repeated
from bayesprune.devices import random_apart
from bayesprune.structure import MacCounter
from bayesprune.training.heads import Heads
from bayesprune.training.objectives import Objective
from bayesprune.training.state import TrainState


def dense_step(state: TrainState, objective: Objective, targets: Any) -> Callable[[int], float]:
    """Multiply-accumulates of a training step of the network as it is now, as a function of the number of examples.

    A step costs a constant and so much an example. Both are found by counting a step of 2 and one of 3 examples on a
    copy; nothing of the state changes.

    Args:
        state: of a run that has not begun.
        objective: what dense training minimises.
        targets: of some examples.
    """
    two, three = (_count(state, objective, targets, examples) for examples in (2, 3))
    return lambda examples: two + (three - two) * (examples - 2)


def _count(state: TrainState, objective: Objective, targets: Any, examples: int) -> int:
    """One step on copies of one example."""
    copy = TrainState(deepcopy(state.network).train(), state.structure, state.example, state.task)
    copy.place, copy.heads = state.place, Heads.of(copy.network)
    state.place.settle(copy.likelihood)
    inputs = repeated(head(state.example, 1), examples)
    objective.attach(copy)
    try:
        with random_apart(state.place.device), torch.enable_grad(), MacCounter() as counter:
            with state.place.computing():
                loss = objective.loss(copy, inputs, repeated(head(targets, 1), examples))
            loss.backward()
    finally:
        objective.detach()
    macs: int = counter.macs
    return macs

"""What dense training costs, which a run's training is compared to."""

from collections.abc import Callable
from copy import deepcopy

import torch

from bayesprune.structure import MacCounter
from bayesprune.training.objectives import Objective
from bayesprune.training.state import TrainState


def dense_step(state: TrainState, objective: Objective) -> Callable[[int], float]:
    """Multiply-accumulates of a training step of the network as it is now, as a function of the number of examples.

    A step costs a constant and so much an example. Both are found by counting a step of 2 and one of 3 examples on a
    copy; nothing of the state changes.

    Args:
        state: of a run that has not begun.
        objective: what dense training minimises.
    """
    two, three = (_count(state, objective, examples) for examples in (2, 3))
    return lambda examples: two + (three - two) * (examples - 2)


def _count(state: TrainState, objective: Objective, examples: int) -> int:
    """One step on copies of one example; its class does not matter."""
    copy = TrainState(deepcopy(state.network).train(), state.structure, state.example)
    inputs = state.example[:1].expand(examples, *state.example.shape[1:]).clone()
    objective.attach(copy)
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad(), MacCounter() as counter:
            objective.loss(copy, inputs, torch.zeros(examples, dtype=torch.long)).backward()
    finally:
        objective.detach()
    macs: int = counter.macs
    return macs

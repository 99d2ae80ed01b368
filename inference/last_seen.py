"""What the averaged gradient said of a gate when it was last there: all that is known of channels that are gone."""

from dataclasses import dataclass

import torch
from torch import Tensor

from bayesprune.inference.objective import GATES, gate_optimizer, guide_of
from bayesprune.training import Memory, TrainState


@dataclass
class LastSeen(Memory):
    """By how much closing each gate raises the loss, by the averaged gradient when it was last looked at.

    Attributes:
        rise: [J at the start], per training example, float32; NaN for gates that were never looked at.
    """

    rise: Tensor | None = None


def look(state: TrainState) -> None:
    """Take down what the averaged gradient says of the gates that are there; nothing before it is one."""
    if GATES not in state.optimizers:
        return
    optimizer, theta = gate_optimizer(state), guide_of(state).theta
    if not optimizer.state.get(theta):
        return
    memory, structure = state.memory(LastSeen), state.structure
    if memory.rise is None:
        memory.rise = torch.full((structure.initial_gate_count,), torch.nan, dtype=torch.float32)
    memory.rise[structure.original_gates()] = -optimizer.average(theta).detach().cpu().float()

"""Going back to the weights of an earlier step.

To the initial ones: lottery tickets (arXiv 1803.03635); to those of a later step: late rewinding (arXiv 1912.05671).
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from bayesprune.training import Memory, TrainState


@dataclass
class WeightsKept(Memory):
    """A network's state at the step that was kept.

    Attributes:
        values: its parameters and buffers by name.
    """

    on_device = True
    values: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Remember:
    """Keeps the network as it is at a step of its phase.

    Attributes:
        step: 0 for the start.
    """

    step: int

    def at_start(self, state: TrainState) -> None:
        """Before the first step."""
        if self.step == 0:
            _keep(state)

    def __call__(self, state: TrainState) -> None:
        """After a step."""
        if state.phase_step == self.step:
            _keep(state)


@torch.no_grad()
def rewind(state: TrainState) -> None:
    """Give the network the weights it had at the step that was kept, pruned ones at zero."""
    state.network.load_state_dict(state.memory(WeightsKept).values)
    state.apply_masks()


def _keep(state: TrainState) -> None:
    weights = {name: value.detach().clone() for name, value in state.network.state_dict().items()}
    state.memory(WeightsKept).values = weights

"""Going back to the weights of an earlier step.

To the initial ones: lottery tickets (arXiv 1803.03635); to those of a later step: late rewinding (arXiv 1912.05671).
"""

from dataclasses import dataclass

import torch

from bayesprune.training import TrainState

_MEMORY = "rewind"


@dataclass(frozen=True)
class Remember:
    """Keeps the network as it is at a step of its phase among the state's values.

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
    state.network.load_state_dict(state.values[_MEMORY])
    state.apply_masks()


def _keep(state: TrainState) -> None:
    state.values[_MEMORY] = {name: value.detach().clone() for name, value in state.network.state_dict().items()}

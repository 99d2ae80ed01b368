"""Several networks as one module that predicts their mean."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bayesprune.batches import call
from bayesprune.tasks import Task
from bayesprune.training.heads import picked


class Ensemble(nn.Module):
    """Outputs [B, ...] that say the mean of what R networks predict (`Task.averaged`).

    Args:
        networks: with the same inputs and outputs.
        task: of their outputs; without one the outputs themselves are averaged.
        output: which of several outputs counts.
    """

    def __init__(self, networks: Sequence[nn.Module], task: Task | None, output: str = "") -> None:
        super().__init__()
        self.networks, self._task, self._output = nn.ModuleList(networks), task, output

    def forward(self, inputs: Any, /) -> Tensor:
        """Takes one batch: a tensor, or the tuple or dict of tensors that each network takes."""
        said = torch.stack([picked(call(network, inputs), self._output) for network in self.networks])
        return said.mean(0) if self._task is None else self._task.averaged(said)

"""Objectives: the loss of a mini-batch."""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from bayesprune.errors import SettingError
from bayesprune.structure import Gating
from bayesprune.training.state import TrainState


class Objective(Protocol):
    """What a phase minimises.

    Attributes:
        needs_labels: objectives that say False are never given any.
    """

    needs_labels: bool

    def attach(self, state: TrainState) -> None:
        """Prepare for the network as it is now; called at the start, on resuming and after every shrink."""
        ...

    def detach(self) -> None:
        """Leave the network as it was found (take hooks off)."""
        ...

    def loss(self, state: TrainState, inputs: Tensor, labels: Tensor | None) -> Tensor:
        """The scalar to minimise, per example."""
        ...

    def passes(self, batch_size: int) -> float:
        """Cost of a step in forward passes of the network; 3 for one forward and one backward."""
        ...


class CrossEntropy:
    """Mean cross-entropy, optionally with multiplicative Gaussian noise on every gate of every example.

    The noise 1 + s N(0, 1) on what consumers read is the recipe's regulariser at fixed structure; it is 0 at
    test time.

    Args:
        noise: its standard deviation s; 0 is the plain loss.
    """

    needs_labels = True

    def __init__(self, noise: float = 0.0) -> None:
        if not 0 <= noise < float("inf"):
            raise SettingError(f"noise must be a finite number >= 0, not {noise}")
        self.noise = noise
        self._gating: Gating | None = None

    def attach(self, state: TrainState) -> None:
        """Put the noise's hooks on the network."""
        self.detach()
        if self.noise > 0 and state.structure.gate_count:
            self._gating = Gating(state.network, state.structure)

    def detach(self) -> None:
        """Take them off."""
        if self._gating is not None:
            self._gating.remove()
            self._gating = None

    def loss(self, state: TrainState, inputs: Tensor, labels: Tensor | None) -> Tensor:
        """Mean cross-entropy of logits [B, K] and labels [B]."""
        if self._gating is None:
            return cross_entropy(state.network(inputs), labels)  # type: ignore[arg-type]  # given: needs_labels
        noise = torch.randn(len(inputs), state.structure.gate_count).mul_(self.noise).add_(1)
        with self._gating.applied(noise):
            return cross_entropy(state.network(inputs), labels)  # type: ignore[arg-type]

    def passes(self, batch_size: int) -> float:
        """One forward, one backward."""
        return 3.0

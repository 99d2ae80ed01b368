"""Objectives: the loss of a mini-batch."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from bayesprune.batches import count, repeated
from bayesprune.errors import SettingError
from bayesprune.structure import Gating
from bayesprune.training.draws import draw_uniform
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

    def loss(self, state: TrainState, inputs: Any, labels: Any) -> Tensor:
        """The scalar to minimise: nats per training example where there is a likelihood, never of a whole data set."""
        ...

    def kind(self, state: TrainState) -> str:
        """What the coming step does: steps of one kind, at one shape and batch size, cost the same."""
        ...


@runtime_checkable
class HasParts(Protocol):
    """An objective that says what its last loss was made of.

    Attributes:
        parts: by name, for the progress bar; on an accelerator tensors, which are read when they are shown.
    """

    parts: Mapping[str, float | Tensor]


class NegativeLogLikelihood:
    """Mean negative log-likelihood of the targets, optionally with multiplicative noise on every gate.

    The noise 1 + s e on what consumers read, e uniform with variance 1 and another one for every example (for every
    mini-batch where gates are global), is the recipe's regulariser at fixed structure; it is 0 at test time. A normal e
    gives the same errors and takes three times as long to draw. With `consistency` a > 0 every example is seen twice,
    under noise 1 + s e and 1 - s e of the same draw e, and

        loss = (l(+e) + l(-e)) / 2 + a (KL(p(+e) || p(-e)) + KL(p(-e) || p(+e))) / 2

    also asks that both predict the same law p (R-Drop, arXiv 2106.14448, which draws the two independently).

    Args:
        noise: its standard deviation s; 0 is the plain loss.
        consistency: its weight a; without noise it has nothing to compare.
    """

    needs_labels = True

    def __init__(self, noise: float = 0.0, consistency: float = 0.0) -> None:
        for name, value in (("noise", noise), ("consistency", consistency)):
            if not 0 <= value < float("inf"):
                raise SettingError(f"{name} must be a finite number >= 0, not {value}")
        self.noise, self.consistency = noise, consistency
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

    def loss(self, state: TrainState, inputs: Any, labels: Any) -> Tensor:
        """Mean loss of outputs [B, ...] and targets, and what two noisy predictions differ by."""
        assert labels is not None  # needs_labels
        if self._gating is None:
            return state.loss(state.outputs(inputs), labels)
        if not state.structure.per_example:
            noise = self.draw(state, 1)[0]
            gates: list[Tensor] = [1 + noise, 1 - noise]
        else:
            noise = self.draw(state, count(inputs))
            gates = [1 + noise] if self.consistency == 0 else [torch.cat([1 + noise, 1 - noise])]
        if self.consistency == 0:
            with self._gating.applied(gates[0]):
                return state.loss(state.outputs(inputs), labels)
        outputs = twice(self._gating, gates, state, inputs)
        one, other = outputs.chunk(2)
        difference = state.likelihood.divergence(one, other).mean()
        loss: Tensor = state.loss(outputs, repeated(labels, 2)) + 0.5 * self.consistency * difference
        return loss

    def draw(self, state: TrainState, count: int) -> Tensor:
        """Noise [count, J] around 0."""
        return draw_uniform(count, state.structure.gate_count, self.noise, state.place.device)

    def kind(self, state: TrainState) -> str:
        """All steps do the same."""
        return "step"


def twice(gating: Gating, gates: Sequence[Tensor], state: TrainState, inputs: Any) -> Tensor:
    """Outputs [2 B, ...] of the same inputs under two sets of gates: together [2 B, J], or one after the other [J]."""
    if len(gates) == 1:
        with gating.applied(gates[0]):
            together: Tensor = state.outputs(repeated(inputs, 2))
        return together
    said = []
    for one in gates:
        with gating.applied(one):
            said.append(state.outputs(inputs))
    return torch.cat(said)

"""The full objective of the networks that a run visits, on one sample of the training data."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from bayesprune.batches import call, count, head, join
from bayesprune.data import Split
from bayesprune.models.prices import Price
from bayesprune.structure import Gating
from bayesprune.structure.modes import batch_statistics
from bayesprune.training import TrainState


@dataclass(frozen=True, eq=False)
class Objective:
    """N times the mean negative log-likelihood plus the prices of what is open, in nats, at decided gates.

    Attributes:
        losses: negative log-likelihood [n] of the sample's examples.
        price: nats of all that is open.
        size: training examples N.
    """

    losses: Tensor
    price: float
    size: int

    @property
    def value(self) -> float:
        """The objective, estimated from the sample."""
        return self.size * float(self.losses.mean()) + self.price

    def above(self, other: "Objective") -> tuple[float, float]:
        """By how much it is above another one of the same sample, and the standard error of that, in nats."""
        difference = self.losses - other.losses.to(self.losses.device)
        count = len(difference)
        left_out = max(0.0, 1 - count / self.size)
        error = self.size * float(difference.std()) * (left_out / count) ** 0.5 if count > 1 else 0.0
        return self.size * float(difference.mean()) + self.price - other.price, error


@dataclass(frozen=True, eq=False)
class Sample:
    """Fixed training examples on which networks are compared.

    Attributes:
        inputs, labels: n examples.
        size: training examples N that they stand for.
    """

    inputs: Any
    labels: Any
    size: int

    @classmethod
    def draw(cls, train: Split, seed: int, most: int) -> "Sample":
        """At most so many training examples, chosen by the seed; all of them where there are no more."""
        inputs, labels, found = [], [], 0
        for some, theirs in train.batches(min(most, len(train)), seed=seed):
            inputs.append(some)
            labels.append(theirs)
            found += count(some)
            if found >= most:  # a loader has batches of its own size
                break
        return cls(head(join(inputs), most), head(join(labels), most), len(train))

    def __len__(self) -> int:
        return count(self.inputs)

    def first(self, most: int) -> "Sample":
        """The first so many of its examples."""
        return replace(self, inputs=head(self.inputs, most), labels=head(self.labels, most))

    @torch.no_grad()
    def losses(self, state: TrainState, gates: Tensor) -> Tensor:
        """Negative log-likelihood [n] of every example under gates [J]; the network stays as it is."""
        gating = Gating(state.network, state.structure)
        try:
            return self.gated_losses(state, gating, gates)
        finally:
            gating.remove()

    @torch.no_grad()
    def gated_losses(self, state: TrainState, gating: Gating, gates: Tensor) -> Tensor:
        """The same through a gating that is on the network already."""
        with batch_statistics(state.network), gating.applied(gates):
            return state.likelihood.negative_log(call(state.network, self.inputs), self.labels)

    def objective(self, state: TrainState, price: Price, gates: Tensor) -> Objective:
        """The objective at gates [J] in [0, 1]; exact at decided ones.

        Args:
            state: of the run.
            price: of what is open.
            gates: by which the network is gated.
        """
        nats = price.total(state.structure, state.expected_cost(), gates)
        return Objective(self.losses(state, gates), nats, self.size)

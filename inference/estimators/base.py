"""What an estimator of the gates' gradient sees, and what it returns."""

from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import Tensor


class GateProblem(Protocol):
    """A mini-batch of the data term C(theta) = E_z[mean negative log-likelihood]."""

    @property
    def size(self) -> int:
        """Examples B in the mini-batch."""
        ...

    def predict(self, gates: Tensor, rows: Tensor | None = None) -> Any:
        """The distribution of the labels (batch shape [B]) under gates [J] or [B, J]; of examples `rows` only [R]."""
        ...

    def labels(self, rows: Tensor | None = None) -> Any:
        """The observed labels of all examples, or of `rows`."""
        ...

    def apart(self) -> AbstractContextManager[bool]:
        """For a while examples do not see each other; yields whether they otherwise do (batch normalisation)."""
        ...


class GateEstimator(Protocol):
    """Estimates dC/dtheta_j = E[C(z_j=1) - C(z_j=0)] along with the loss.

    Attributes:
        name: as in settings.
        unbiased: whether the estimate's expectation is the exact gradient.
    """

    name: str
    unbiased: bool

    def loss(self, problem: GateProblem, theta: Tensor) -> Tensor:
        """A scalar whose value is the mean negative log-likelihood under sampled gates.

        Its gradient with respect to the weights is that of this value; with respect to theta [J] it is the estimate.
        """
        ...


def negative_log_likelihood(problem: GateProblem, gates: Tensor, rows: Tensor | None = None) -> Tensor:
    """For each example [B] (or row [R]) the negative log-likelihood under its gates."""
    log_prob: Tensor = problem.predict(gates, rows).log_prob(problem.labels(rows))
    return -log_prob


def surrogate(theta: Tensor, gradient: Tensor) -> Tensor:
    """Zero, with the given gradient [J] with respect to theta."""
    return torch.dot(theta - theta.detach(), gradient.detach())


def attached(gates: Tensor, theta: Tensor) -> Tensor:
    """The gates [B, J] with derivative one with respect to theta [J]."""
    return gates + (theta - theta.detach())


def interior(theta: Tensor) -> Tensor:
    """Which gates are undecided: bool [J]."""
    return (theta > 0) & (theta < 1)


def clamped(theta: Tensor, margin: float) -> Tensor:
    """Inclusion probabilities away from 0 and 1 where they are undecided, for division."""
    return torch.where(interior(theta), theta.clamp(margin, 1 - margin), theta)

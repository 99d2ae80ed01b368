"""What an estimator of the gates' gradient sees, and what it returns."""

from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import Tensor

from bayesprune.inference.handlers import draw_gates


class GateProblem(Protocol):
    """A mini-batch of the data term C(theta) = E_z[mean negative log-likelihood]."""

    @property
    def size(self) -> int:
        """Examples B in the mini-batch."""
        ...

    @property
    def per_example(self) -> bool:
        """Whether every example can have gates of its own; else they are global, one set for the mini-batch."""
        ...

    def predict(self, gates: Tensor, rows: Tensor | None = None) -> Any:
        """The distribution of the labels (batch shape [B]) under gates [J] or [S, J]; of examples `rows` only [R]."""
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


def sets_of(problem: GateProblem) -> int:
    """Sets S of gates that the mini-batch is run under: one an example, or 1 where gates are global."""
    return problem.size if problem.per_example else 1


def draw_sets(problem: GateProblem, theta: Tensor) -> Tensor:
    """Gates [S, J] with inclusion probabilities theta [J] for the mini-batch, see `sets_of`."""
    return draw_gates(theta, sets_of(problem))


def losses_under(problem: GateProblem, gates: Tensor) -> Tensor:
    """Negative log-likelihoods [K, S] under K times the sets that the mini-batch takes, gates [K, S, J].

    Of every example under its own set; where gates are global (S = 1) the mean over the examples.
    """
    if problem.per_example:
        rows = torch.arange(problem.size, device=gates.device).repeat(len(gates))
        losses: Tensor = negative_log_likelihood(problem, gates.flatten(0, 1), rows).unflatten(0, gates.shape[:2])
        return losses
    return torch.stack([negative_log_likelihood(problem, one).mean(0, keepdim=True) for one in gates])


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

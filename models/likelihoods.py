"""What the network's outputs say of the labels."""

from typing import Any, Protocol

import pyro.distributions as dist
import torch
from torch import Tensor

from bayesprune import tasks
from bayesprune.errors import SettingError
from bayesprune.models.priors._settings import SCALAR, Shape
from bayesprune.tasks.likelihood import Categorical


class Likelihood(Protocol):
    """Turns outputs [B, K] into a distribution over labels with batch shape [B]."""

    def __call__(self, outputs: Tensor) -> Any:
        """The distribution of y given the network's outputs."""
        ...


class CategoricalLikelihood:
    """Classes: y ~ Categorical(softmax(outputs))."""

    def __call__(self, outputs: Tensor) -> Any:
        """Batch shape [B], event shape ()."""
        return FastCategorical(outputs)


class GaussianLikelihood:
    """Regression: y [B, K] ~ N(outputs, scale^2).

    Args:
        scale: standard deviation of the noise.
    """

    def __init__(self, scale: float = 1.0) -> None:
        if not 0 < scale < float("inf"):
            raise SettingError(f"the noise scale must be a finite number > 0, not {scale}")
        self.scale = scale

    def __call__(self, outputs: Tensor) -> Any:
        """Batch shape [B], event shape [K]."""
        return dist.Normal(outputs, self.scale, validate_args=False).to_event(1)


class TaskLikelihood:
    """What a task's likelihood says, as a distribution of Pyro's.

    Args:
        likelihood: of floor 1, with what it learns.
    """

    def __init__(self, likelihood: tasks.Likelihood) -> None:
        self.likelihood = likelihood

    def __call__(self, outputs: Tensor) -> Any:
        """Batch shape [B]."""
        if type(self.likelihood) is Categorical:
            return FastCategorical(outputs)
        return Predicted(self.likelihood, outputs)


class Predicted(dist.TorchDistribution):
    """The law of the targets of B examples that a task's likelihood gives for a network's outputs.

    Args:
        likelihood: the law.
        outputs: [B, ...].
    """

    arg_constraints: dict[str, Any] = {}
    has_enumerate_support = False
    support = dist.constraints.dependent

    def __init__(self, likelihood: tasks.Likelihood, outputs: Tensor) -> None:
        self.likelihood, self.outputs = likelihood, outputs
        super().__init__(outputs.shape[:1], torch.Size(), validate_args=False)

    def log_prob(self, value: Any) -> Tensor:
        """Log probability [B] of targets, or of a pair (targets, weights)."""
        return -self.likelihood.negative_log(self.outputs, value)

    def sample(self, sample_shape: Shape = SCALAR) -> Tensor:
        """Targets, as the task has them; of shape `sample_shape` + theirs."""
        if not sample_shape:
            one: Tensor = self.likelihood.sample(self.outputs)
            return one
        drawn = [self.likelihood.sample(self.outputs) for _ in range(torch.Size(sample_shape).numel())]
        stacked: Tensor = torch.stack(drawn).unflatten(0, tuple(sample_shape))
        return stacked

    def expand(self, batch_shape: Any, _instance: Any = None) -> "Predicted":
        """The same outputs for a larger batch."""
        rest = self.outputs.shape[1:]
        return Predicted(self.likelihood, self.outputs.expand(*batch_shape, *rest))


class FastCategorical(dist.TorchDistribution):
    """A categorical distribution over the last axis of logits, without torch's costly set-up.

    `torch.distributions.Categorical` normalises in its constructor and checks shapes at every call, which is half of
    what a small network's step costs. This one normalises once, when it is first needed.

    Args:
        logits: unnormalised [..., K].
    """

    arg_constraints: dict[str, Any] = {}
    has_enumerate_support = False
    support = dist.constraints.nonnegative_integer

    def __init__(self, logits: Tensor) -> None:
        self._given, self._logits = logits, None  # type: Tensor, Tensor | None
        super().__init__(logits.shape[:-1], torch.Size(), validate_args=False)

    @property
    def logits(self) -> Tensor:
        """Normalised log probabilities [..., K]."""
        if self._logits is None:
            self._logits = torch.log_softmax(self._given, -1)
        return self._logits

    @property
    def probs(self) -> Tensor:
        """Probabilities [..., K]."""
        return self.logits.exp()

    def log_prob(self, value: Any) -> Tensor:
        """Log probability of classes [...] (int64); of a pair (classes, weights) multiplied by the weights."""
        if isinstance(value, tuple):
            weighted: Tensor = self.log_prob(value[0]) * value[1]
            return weighted
        if value.shape == self.batch_shape and value.dtype == torch.int64:
            return self.logits.gather(-1, value.unsqueeze(-1)).squeeze(-1)
        value, logits = torch.broadcast_tensors(value.unsqueeze(-1), self.logits[..., :1])
        full = self.logits.expand(*value.shape[:-1], self.logits.shape[-1])
        return full.gather(-1, value.long()).squeeze(-1)

    def sample(self, sample_shape: Shape = SCALAR) -> Tensor:
        """Classes of shape `sample_shape + batch_shape`, by inverting the cumulative probabilities."""
        logits = self.logits  # normalised outside of no_grad: the result is kept
        with torch.no_grad():
            cumulative = logits.exp().cumsum(-1)
            uniform = (
                torch.rand((*sample_shape, *self.batch_shape, 1), device=logits.device, dtype=logits.dtype)
                * cumulative[..., -1:]
            )
            return (uniform >= cumulative[..., :-1]).sum(-1)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "FastCategorical":
        """The same logits for a larger batch."""
        return FastCategorical(self._given.expand(*batch_shape, self._given.shape[-1]))

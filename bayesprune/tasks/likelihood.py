"""What the outputs of a network say of the targets, as a law of probability: the likelihoods of the built-in tasks.

Losses are negative log-likelihoods in nats, one an example: the sum over all that an example has targets for. Targets
may be a pair (targets, weights): each weight multiplies the negative log-likelihood of an example [B], or of a single
target.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from math import log, pi
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from bayesprune.errors import NetworkError

IGNORED = -100
"""The label of a position that does not count, as in `torch.nn.functional.cross_entropy`."""

LEAST_DEVIATION = 1e-3
"""Of learnt noise, in standard deviations of the training targets."""

_FASTER = 10.0


def unweighted(targets: Any) -> tuple[Tensor, Tensor | None]:
    """Targets and their weights; None where they have none."""
    return (targets[0], targets[1]) if isinstance(targets, tuple) else (targets, None)


def per_example(terms: Tensor, weights: Tensor | None = None) -> Tensor:
    """Terms [B, ...] multiplied by weights [B] or [B, ...] and added up for each example: [B]."""
    if weights is not None:
        terms = terms * weights.reshape(*weights.shape, *[1] * (terms.dim() - weights.dim()))
    return terms.flatten(1).sum(1) if terms.dim() > 1 else terms


class Likelihood(nn.Module, ABC):
    """The law of the targets given a network's outputs; its parameters, if any, are learnt with the weights.

    Attributes:
        can_sample: whether targets can be drawn from it; a loss that is no law cannot.
    """

    can_sample = True

    @abstractmethod
    def terms(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Negative log-likelihood of every single target: [B] or [B, ...]."""

    def negative_log(self, outputs: Tensor, targets: Any) -> Tensor:
        """Negative log-likelihood [B] of outputs [B, ...] in nats, weighted where the targets bring weights."""
        plain, weights = unweighted(targets)
        return per_example(self.terms(outputs, plain), weights)

    def loss(self, outputs: Tensor, targets: Any) -> Tensor:
        """The mean of `negative_log` over the examples."""
        return self.negative_log(outputs, targets).mean()

    @abstractmethod
    def sample(self, outputs: Tensor) -> Tensor:
        """Targets drawn for each example, in the form that `terms` takes; without a gradient.

        Raises:
            SettingError: there is no law to draw from (`can_sample`).
        """

    @abstractmethod
    def divergence(self, one: Tensor, other: Tensor) -> Tensor:
        """KL(one || other) + KL(other || one) [B] of the laws that two outputs stand for, in nats."""

    def curvature(self, outputs: Tensor) -> Iterator[Tensor] | None:
        """Directions s_k [B, ...] at outputs with sum_k s_k s_k^T the Hessian of the negative log-likelihood.

        They are held constant. None where there are too many, or the Hessian depends on the targets.
        """
        return None

    def refit(self, said: Iterable[tuple[Tensor, Any]]) -> None:
        """Learn anew, for a network that does not change any more, from its outputs and targets in batches."""


class Categorical(Likelihood):
    """One of K classes for each example: outputs are logits [B, K], targets int64 [B]."""

    def terms(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See `Likelihood.terms`: [B]."""
        return cross_entropy(outputs, targets, reduction="none")

    def loss(self, outputs: Tensor, targets: Any) -> Tensor:
        """See `Likelihood.loss`."""
        return super().loss(outputs, targets) if isinstance(targets, tuple) else cross_entropy(outputs, targets)

    @torch.no_grad()
    def sample(self, outputs: Tensor) -> Tensor:
        """Classes [B, ...], by inverting the cumulative probabilities."""
        cumulative = outputs.movedim(1, -1).softmax(-1).cumsum(-1)
        uniform = torch.rand_like(cumulative[..., :1]) * cumulative[..., -1:]
        return (uniform >= cumulative[..., :-1]).sum(-1)

    def divergence(self, one: Tensor, other: Tensor) -> Tensor:
        """See `Likelihood.divergence`."""
        one, other = one.log_softmax(1), other.log_softmax(1)
        return per_example(((one.exp() - other.exp()) * (one - other)).sum(1))

    def curvature(self, outputs: Tensor) -> Iterator[Tensor] | None:
        """sqrt(p_k) (e_k - p) for each class k."""
        if outputs.dim() != 2:
            return None
        return _of_classes(outputs.softmax(1))


def _of_classes(probabilities: Tensor) -> Iterator[Tensor]:
    for k in range(probabilities.shape[1]):
        direction = -probabilities
        direction[:, k] += 1
        yield direction * probabilities[:, k : k + 1].sqrt()


class Positions(Categorical):
    """One of K classes for each position: logits [B, K, ...], targets int64 [B, ...], `IGNORED` where none counts."""

    def terms(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See `Likelihood.terms`: [B, ...], 0 where a position is ignored."""
        return cross_entropy(outputs, targets, reduction="none", ignore_index=IGNORED)

    def loss(self, outputs: Tensor, targets: Any) -> Tensor:
        """See `Likelihood.loss`."""
        return self.negative_log(outputs, targets).mean()


class Bernoulli(Likelihood):
    """Tags that are there or not, each with a logit: outputs [B, K] (or [B]), targets float 0 or 1 [B, K]."""

    def terms(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See `Likelihood.terms`: [B, K]."""
        return binary_cross_entropy_with_logits(outputs.reshape(targets.shape), targets, reduction="none")

    @torch.no_grad()
    def sample(self, outputs: Tensor) -> Tensor:
        """Tags [B, K] of 0 and 1."""
        return (torch.rand_like(rows(outputs)) < rows(outputs).sigmoid()).to(outputs.dtype)

    def divergence(self, one: Tensor, other: Tensor) -> Tensor:
        """See `Likelihood.divergence`."""
        return per_example((one.sigmoid() - other.sigmoid()) * (one - other))

    def curvature(self, outputs: Tensor) -> Iterator[Tensor] | None:
        """sqrt(p_k (1 - p_k)) e_k for each tag k."""
        probabilities = outputs.sigmoid()
        return _of_single((probabilities * (1 - probabilities)).sqrt())


class Gaussian(Likelihood):
    """Numbers with normal noise: outputs are means [B, K] (or [B]), targets [B, K], both in standard deviations.

    Attributes:
        log_tenth: a tenth of the logarithm of the noise's deviation [K]; a parameter where it is learnt. Adam's steps
            are of one length for all parameters, and the noise has farther to go than a weight: from the deviation of
            the targets to that of the errors.

    Args:
        outputs: K.
        deviation: of the noise, one for each output; None to learn it, from 1 on.
    """

    def __init__(self, outputs: int, deviation: tuple[float, ...] | None = None) -> None:
        super().__init__()
        if deviation is None:
            self.log_tenth: Tensor = nn.Parameter(torch.zeros(outputs))
        else:
            self.register_buffer("log_tenth", torch.tensor(deviation).log() / _FASTER)

    def deviation(self) -> Tensor:
        """Standard deviations [K] of the noise."""
        return self._log().exp()

    def _log(self) -> Tensor:
        return (_FASTER * self.log_tenth).clamp_min(log(LEAST_DEVIATION))

    def terms(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See `Likelihood.terms`: [B, K]."""
        logs = self._log()
        return 0.5 * ((targets - outputs.reshape(targets.shape)) * (-logs).exp()).square() + logs + 0.5 * log(2 * pi)

    @torch.no_grad()
    def sample(self, outputs: Tensor) -> Tensor:
        """Numbers [B, K]."""
        means = rows(outputs)
        return means + self.deviation() * torch.randn_like(means)

    def divergence(self, one: Tensor, other: Tensor) -> Tensor:
        """See `Likelihood.divergence`."""
        deviation = self.deviation().detach()  # else noise would grow, only to let predictions look alike
        return per_example((rows(one - other) / deviation).square())

    def curvature(self, outputs: Tensor) -> Iterator[Tensor] | None:
        """e_k / deviation_k for each output k."""
        return _of_single((torch.ones_like(rows(outputs)) / self.deviation().detach()).reshape(outputs.shape))

    @torch.no_grad()
    def refit(self, said: Iterable[tuple[Tensor, Any]]) -> None:
        """See `Likelihood.refit`: learnt noise becomes the root of the mean squared error.

        In training it is larger: outputs are noisy there, on purpose.
        """
        if not isinstance(self.log_tenth, nn.Parameter):
            return
        squares, weight = torch.zeros(2, len(self.log_tenth), dtype=torch.float64)
        for outputs, targets in said:
            plain, weights = unweighted(targets)
            each = (plain - outputs.reshape(plain.shape)).double().square().cpu()
            counts = torch.ones_like(each) if weights is None else weights.double().cpu().reshape(len(each), -1)
            squares += (each * counts).sum(0)
            weight += counts.expand_as(each).sum(0)
        deviation = (squares / weight.clamp_min(1e-12)).sqrt().clamp_min(LEAST_DEVIATION)
        if bool(deviation.isfinite().all()):
            self.log_tenth.copy_(deviation.log() / _FASTER)


class Poisson(Likelihood):
    """Counts: outputs are log rates [B, K] (or [B]), targets whole numbers as floats [B, K]."""

    def terms(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See `Likelihood.terms`: [B, K]."""
        logs = outputs.reshape(targets.shape)
        return logs.exp() - targets * logs + torch.lgamma(targets + 1)

    @torch.no_grad()
    def sample(self, outputs: Tensor) -> Tensor:
        """Counts [B, K] as floats."""
        return torch.poisson(rows(outputs).exp())

    def divergence(self, one: Tensor, other: Tensor) -> Tensor:
        """See `Likelihood.divergence`."""
        return per_example((one.exp() - other.exp()) * (one - other))

    def curvature(self, outputs: Tensor) -> Iterator[Tensor] | None:
        """sqrt(rate_k) e_k for each count k."""
        return _of_single((0.5 * outputs).exp())


def rows(outputs: Tensor) -> Tensor:
    """Outputs as [B, K]: a network with one output may say [B]."""
    return outputs.unsqueeze(1) if outputs.dim() == 1 else outputs


def _of_single(scales: Tensor) -> Iterator[Tensor]:
    """One direction an output, scaled for each example."""
    if scales.dim() == 1:
        yield scales
        return
    for k in range(scales.shape[1]):
        direction = torch.zeros_like(scales)
        direction[:, k] = scales[:, k]
        yield direction


def check_logits_finite(outputs: Tensor) -> None:
    """Refuse outputs that cannot be measured.

    Raises:
        NetworkError: some are NaN or infinite.
    """
    wrong = int((~outputs.flatten(1).isfinite() if outputs.dim() > 1 else ~outputs.isfinite()[:, None]).any(1).sum())
    if wrong:
        raise NetworkError(
            f"the network's outputs are NaN or infinite for {wrong} of {len(outputs)} samples: they cannot be "
            "measured; train again with a smaller learning rate or check the inputs"
        )

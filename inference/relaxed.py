"""Gates with a logit each, and their gradient through relaxed gates: what SS-IG learns by."""

from typing import Any

import torch
from torch import Tensor, nn

from bayesprune.errors import SettingError
from bayesprune.inference.estimators.base import GateProblem, interior, negative_log_likelihood
from bayesprune.inference.guides import GaussianWeightGuide
from bayesprune.models.gated import GatedModel
from bayesprune.structure import Structure

MOST_LOGIT = 12.0
"""Logits are held within +-12 (inclusion within 6e-6 of 0 and 1): single precision still tells 1 - g from 0."""


class LogitGateGuide(GaussianWeightGuide):
    """Gaussian weights, and gates whose inclusion probability is sigmoid(logit), strictly inside (0, 1).

    Attributes:
        logit: [J].
        quiet: for how many steps each gate has been practically closed [J]; kept here to be saved and cut along.
        spike: 1 for gates that may close [J], 0 for those that stay open.
        decided: 1 once all gates that are left are open for good.

    Args:
        model: see `GaussianWeightGuide`.
        start: initial inclusion probability, strictly inside (0, 1).
        input_gates: whether gates of inputs and flattened features may close; else they are open for good.
        settings: of `GaussianWeightGuide`.
    """

    decided: Tensor

    def __init__(self, model: GatedModel, start: float, *, input_gates: bool = False, **settings: Any) -> None:
        if not 0 < start < 1:
            raise SettingError(f"a logit's inclusion probability must lie strictly between 0 and 1, not {start}")
        super().__init__(model, start, **settings)
        self.quiet = nn.Parameter(torch.zeros_like(self.logit), requires_grad=False)
        self.register_buffer("decided", torch.zeros(()))
        self.spike = nn.Parameter(spiked_gates(model.structure, input_gates).to(self.logit), requires_grad=False)

    def begin_gates(self, theta: Tensor) -> None:
        """Learn the logits of the inclusion probabilities."""
        self.logit = nn.Parameter(theta.logit().clamp(-MOST_LOGIT, MOST_LOGIT))

    @property
    def theta(self) -> Tensor:  # type: ignore[override]  # what is learnt here is the logit; theta is only read
        """Inclusion probabilities [J]; 1 where a gate has no spike or all is decided."""
        return torch.where((self.spike > 0) & (self.decided == 0), self.logit.sigmoid(), 1.0)

    def gate_parameters(self) -> list[nn.Parameter]:
        """What is cut along when gates are removed."""
        return [self.logit, self.quiet, self.spike]

    def open_all(self) -> None:
        """What is left is open for good."""
        self.decided.fill_(1.0)

    @torch.no_grad()
    def hold(self) -> None:
        """Keep the logits within their limits."""
        self.logit.clamp_(-MOST_LOGIT, MOST_LOGIT)


def spiked_gates(structure: Structure, input_gates: bool) -> Tensor:
    """Which gates have a spike, bool [J]: those of nodes, and those of inputs and flattened features on demand."""
    parts = [torch.full((len(one.kept),), input_gates or one.kind == "channels") for one in structure.groups]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.bool)


class RelaxedGates:
    """Gradients through relaxed gates, one set for the whole mini-batch; the forward pass takes hard ones.

        soft = sigmoid((logit theta + ln u - ln(1 - u)) / temperature),  u ~ U(0, 1),  hard = 1[soft > 1/2],

    which has P(hard = 1) = theta. The loss is that of the hard gates, its gradient that of the soft ones (straight
    through), so it is biased; at theta of exactly 0 or 1 there is none.

    Source: the public code of SS-IG (arXiv 2108.11000); the relaxation is that of arXiv 1611.00712.

    Args:
        temperature: the smaller, the closer soft is to hard, and the steeper.
    """

    name, unbiased = "relaxed", False

    def __init__(self, temperature: float = 0.5) -> None:
        if not 0 < temperature < float("inf"):
            raise SettingError(f"temperature must be a finite number > 0, not {temperature}")
        self.temperature = temperature

    def loss(self, problem: GateProblem, theta: Tensor) -> Tensor:
        """Mean negative log-likelihood under one set of hard gates."""
        inside = interior(theta)
        chance = torch.where(inside, theta, 0.5)
        uniform = torch.rand_like(theta).clamp(torch.finfo(theta.dtype).tiny, 1 - torch.finfo(theta.dtype).eps)
        noise = uniform.log() - torch.log1p(-uniform)
        soft = torch.sigmoid((chance.log() - torch.log1p(-chance) + noise) / self.temperature)
        hard = torch.where(inside, (soft > 0.5).to(theta.dtype), theta).detach()
        return negative_log_likelihood(problem, hard + torch.where(inside, soft - soft.detach(), 0.0)).mean()

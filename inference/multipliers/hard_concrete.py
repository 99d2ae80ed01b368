"""L0 regularisation: hard concrete gates, which are exactly 0 or 1 with positive probability."""

from math import log

import torch
from torch import Tensor, nn

from bayesprune.inference.multipliers.law import MultiplierLaw, chosen, open_unit

LOW, HIGH = -0.1, 1.1
"""The stretched interval that is clipped to [0, 1]."""

MOST_LOGIT = log(100.0)
"""Logits are held within +- this, as in the public code."""


class HardConcrete(MultiplierLaw):
    """Gates z = clip(1.2 s - 0.1, 0, 1), s = sigmoid((ln u - ln(1 - u) + logit) / temperature), u ~ U(0, 1).

    The penalty is cost * P(z > 0), the expected number of weights times their price, with

        P(z > 0) = sigmoid(logit - temperature ln(0.1 / 1.1)).

    At test time a gate is clip(1.2 sigmoid(logit) - 0.1, 0, 1); the channel goes where that is 0. The score is
    P(z > 0), a probability; where the gate at test time is 0 it is at most 0.31 (temperature 2/3), not 1/2.

    Source: Louizos, Welling and Kingma, arXiv 1712.01312, equations 10 to 13.

    Args:
        costs: nats of each gate's channel [J]: of its weights together (lambda times their number).
        temperature: between 0 and 1.
        start: probability 1 - p of a gate at the start: logit = ln(start / (1 - start)) [J].
    """

    def __init__(self, costs: Tensor, temperature: float, start: Tensor) -> None:
        super().__init__()
        self.temperature = temperature
        self.logit = nn.Parameter(start.logit() + 1e-2 * torch.randn_like(start))
        self.costs = nn.Parameter(costs.to(start), requires_grad=False)
        self.keep_above = 1 / (1 + (HIGH / -LOW) ** (1 - temperature))  # P(z > 0) where the fixed gate becomes 0

    def draw(self, shape: torch.Size, gates: Tensor | None = None) -> Tensor:
        """Gates in [0, 1]."""
        logit = chosen(self.logit, gates)
        uniform = open_unit(shape, logit)
        noise = uniform.log() - torch.log1p(-uniform)
        concrete = torch.sigmoid((noise + logit) / self.temperature)
        return (LOW + (HIGH - LOW) * concrete).clamp(0.0, 1.0)

    def penalty(self) -> Tensor:
        """The price of the weights that are expected to be there."""
        return self.costs * self.score()

    def fixed(self) -> Tensor:
        """The gate at the logit itself."""
        return (LOW + (HIGH - LOW) * self.logit.sigmoid()).clamp(0.0, 1.0)

    def score(self) -> Tensor:
        """P(z > 0)."""
        return torch.sigmoid(self.logit - self.temperature * log(-LOW / HIGH))

    @torch.no_grad()
    def hold(self) -> None:
        """Keep the logits within their limits."""
        self.logit.clamp_(-MOST_LOGIT, MOST_LOGIT)

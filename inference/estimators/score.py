"""Unbiased estimators that only look at losses under several sets of gates: noisy."""

import torch
from torch import Tensor

from bayesprune.errors import SettingError
from bayesprune.inference.estimators.base import GateProblem, clamped, interior, losses_under, sets_of, surrogate


class ScoreFunction:
    """l (z - theta) / (theta (1 - theta)) with the other draws' mean loss as baseline (leave-one-out).

    Decided gates (theta exactly 0 or 1) get no gradient. Gates are drawn with theta clamped to [margin, 1 - margin];
    inside that range the estimate is unbiased.

    Args:
        draws: sets of gates K for each example, at least 2.
        margin: keeps the division finite.
    """

    name, unbiased = "score-function", True

    def __init__(self, draws: int = 4, margin: float = 0.01) -> None:
        if draws < 2:
            raise SettingError(f"leave-one-out needs draws >= 2, not {draws}")
        self.draws, self.margin = draws, checked_margin(margin)

    def loss(self, problem: GateProblem, theta: Tensor) -> Tensor:
        """Mean negative log-likelihood over all draws with the score estimate attached."""
        chance = clamped(theta.detach(), self.margin)
        gates = torch.bernoulli(chance.expand(self.draws, sets_of(problem), -1))
        losses = losses_under(problem, gates)
        with torch.no_grad():
            others = (losses.sum(0) - losses) / (self.draws - 1)
            score = (gates - chance) / (chance * (1 - chance)).clamp_min(1e-12) * interior(theta)
            gradient = ((losses - others).unsqueeze(-1) * score).mean((0, 1))
        return losses.mean() + surrogate(theta, gradient)


class DisARM:
    """Antithetic pairs with the augmentation integrated out (Dong, Mnih and Tucker, arXiv 2006.10680).

    With z and its antithetic twin z' from u and 1 - u, the gradient with respect to the logit is estimated by
    `(1/2) (l(z) - l(z')) (-1)^{z'} 1[z != z'] sigmoid(|logit|)`; divided by theta (1 - theta) it is that with
    respect to theta.

    Args:
        margin: theta is clamped to [margin, 1 - margin].
    """

    name, unbiased = "disarm", True

    def __init__(self, margin: float = 0.01) -> None:
        self.margin = checked_margin(margin)

    def loss(self, problem: GateProblem, theta: Tensor) -> Tensor:
        """Mean negative log-likelihood over both twins with the estimate attached."""
        chance = clamped(theta.detach(), self.margin)
        uniform = torch.rand(sets_of(problem), theta.numel(), dtype=theta.dtype, device=theta.device)
        gates, twins = (uniform < chance).to(theta.dtype), (1 - uniform < chance).to(theta.dtype)
        losses = losses_under(problem, torch.stack([gates, twins]))
        with torch.no_grad():
            difference = (losses[0] - losses[1]).unsqueeze(-1)
            differs = (gates != twins) & interior(theta)
            sign = torch.where(twins > 0, -1.0, 1.0)
            largest = torch.maximum(chance, 1 - chance)
            by_logit = 0.5 * difference * sign * largest * differs
            gradient = by_logit.mean(0) / (chance * (1 - chance)).clamp_min(1e-12)
        return losses.mean() + surrogate(theta, gradient)


def checked_margin(margin: float) -> float:
    """Refuse a margin that leaves nothing inside.

    Raises:
        SettingError: it does not lie in [0, 1/2).
    """
    if not 0 <= margin < 0.5:
        raise SettingError(f"margin must lie in [0, 0.5), not {margin}")
    return margin

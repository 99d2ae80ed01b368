"""Normal multipliers: the variational information bottleneck, and Bayesian compression with Jeffreys' prior."""

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from bayesprune.inference.multipliers.law import MultiplierLaw, chosen

START = -9.0
"""Logarithm of the variance at the start, as published; means start around 1."""

LOG_VARIANCES = (-20.0, 5.0)
"""Within which the logarithms of the variances are held."""

LEAST_SQUARE = 1e-16
"""Stands for the square of a mean of 0."""

SLOPE = (0.63576, 1.87320, 1.48695)
"""k1, k2 and k3 of `log_uniform_divergence`."""


def log_uniform_divergence(log_alpha: Tensor) -> Tensor:
    """KL of N(m, alpha m^2) from the log-uniform prior p(|z|) ~ 1/|z|, in nats; it depends on alpha alone.

        k1 - k1 sigmoid(k2 + k3 log alpha) + log(1 + 1/alpha) / 2,

    a fit that is off by less than 0.02 nats; the constant that the improper prior leaves open makes it 0 at infinite
    alpha. Source: Molchanov, Ashukha and Vetrov, arXiv 1701.05369, equation 14.
    """
    k1, k2, k3 = SLOPE
    return k1 * torch.sigmoid(-(k2 + k3 * log_alpha)) + 0.5 * softplus(-log_alpha)


class NormalMultipliers(MultiplierLaw):
    """Multipliers z ~ N(mean, variance), whose fixed value is the mean.

    A channel goes where log alpha = log(variance / mean^2) is at or above a threshold. The score is
    1 / (1 + alpha exp(-threshold)), above 1/2 where the channel stays; it is no probability.

    Args:
        count: gates J.
        threshold: of log alpha.
    """

    def __init__(self, count: int, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold
        self.mean = nn.Parameter(1 + 0.01 * torch.randn(count))
        self.log_variance = nn.Parameter(START + 0.01 * torch.randn(count))

    @property
    def log_alpha(self) -> Tensor:
        """log(variance / mean^2) [J]."""
        return self.log_variance - self.mean.square().clamp_min(LEAST_SQUARE).log()

    def draw(self, shape: torch.Size, gates: Tensor | None = None) -> Tensor:
        """z, any real numbers."""
        noise = torch.randn(shape, dtype=self.mean.dtype, device=self.mean.device)
        return chosen(self.mean, gates) + (0.5 * chosen(self.log_variance, gates)).exp() * noise

    def fixed(self) -> Tensor:
        """The means."""
        return self.mean

    def score(self) -> Tensor:
        """1 / (1 + alpha exp(-threshold))."""
        return torch.sigmoid(self.threshold - self.log_alpha)

    @torch.no_grad()
    def hold(self) -> None:
        """Keep the variances within their limits."""
        self.log_variance.clamp_(*LOG_VARIANCES)


class InformationBottleneck(NormalMultipliers):
    """VIBNet: z ~ N(mean, variance), at a price for the information that passes.

    The penalty is weight * log(1 + mean^2 / variance) / 2: what is left of the divergence from the best zero-mean
    normal prior of each channel. A channel goes where variance >= mean^2 (threshold 0).

    Source: Dai, Zhu, Guo and Wipf, arXiv 1802.10399, equations 9 and 12; the public code prices mean losses, so that
    its `kl_fac` is the weight over N.

    Args:
        weight: nats that a nat of information costs, of each gate [J].
        threshold: of log alpha.
    """

    def __init__(self, weight: Tensor, threshold: float = 0.0) -> None:
        super().__init__(weight.numel(), threshold)
        self.weight = nn.Parameter(weight.to(self.mean), requires_grad=False)

    def penalty(self) -> Tensor:
        """The price of the information."""
        return self.weight * 0.5 * softplus(-self.log_alpha)


class JeffreysMultipliers(NormalMultipliers):
    """BC-GNJ: z ~ N(mean, variance) under the prior p(z) ~ 1/|z|, weights w | z ~ N(0, z^2 slab^2).

    The penalty is `log_uniform_divergence`. A channel goes where log alpha is at or above the threshold.

    Source: Louizos, Ullrich and Welling, arXiv 1705.08665, section 3.1.
    """

    def penalty(self) -> Tensor:
        """KL from the log-uniform prior."""
        return log_uniform_divergence(self.log_alpha)

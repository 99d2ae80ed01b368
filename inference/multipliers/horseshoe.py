"""Bayesian compression with the group horseshoe: positive multipliers with a scale of the unit and one of the layer."""

from math import log

import torch
from torch import Tensor, nn

from bayesprune.inference.multipliers.law import MultiplierLaw, chosen

START = -3.0
"""Logarithm of the deviations of all four logarithms at the start."""

LOG_DEVIATIONS = (-8.0, 1.0)
"""Within which these are held: the mean of a log-normal law grows as the exponential of its variance."""


def gamma_divergence(mean: Tensor, deviation: Tensor, scale: float = 1.0) -> Tensor:
    """KL of a log-normal A from Gamma(shape 1/2, scale `scale`^2), in nats; mean and deviation are those of log A."""
    expected = (mean + deviation.square() / 2).exp() / scale**2
    return expected + log(scale) - 0.5 * mean - deviation.log() - 0.5 * (1 + log(2.0))


def inverse_gamma_divergence(mean: Tensor, deviation: Tensor) -> Tensor:
    """KL of a log-normal B from InverseGamma(shape 1/2, scale 1), in nats."""
    return (deviation.square() / 2 - mean).exp() + 0.5 * mean - deviation.log() - 0.5 * (1 + log(2.0))


class HorseshoeMultipliers(MultiplierLaw):
    """BC-GHS: z = s t, unit scale t ~ C+(0, 1) and layer scale s ~ C+(0, global_scale), half-Cauchy laws.

    A half-Cauchy variable of scale g is sqrt(A B) with A ~ Gamma(1/2, scale g^2) and B ~ InverseGamma(1/2, 1). The
    posteriors of all A and B are log-normal, so that z is. A channel goes where the mode of z, exp(m - v) with mean m
    and variance v of log z, is at or below exp(-threshold). The score is mode / (mode + exp(-threshold)), above 1/2
    where the channel stays; it is no probability. The multiplier at test time is E[z] = exp(m + v / 2).

    Source: Louizos, Ullrich and Welling, arXiv 1705.08665, section 3.2.

    Args:
        groups: for each gate [J] the number of its group, whose layer scale it has.
        global_scale: of the layer scales (tau_0).
        threshold: of the negative logarithm of the mode.
    """

    def __init__(self, groups: Tensor, global_scale: float, threshold: float) -> None:
        super().__init__()
        self.global_scale, self.threshold = global_scale, threshold
        count, layers = len(groups), int(groups.max()) + 1 if len(groups) else 0
        self.groups = nn.Parameter(groups.float(), requires_grad=False)
        self.mean_a = nn.Parameter(0.01 * torch.randn(count))
        self.mean_b = nn.Parameter(0.01 * torch.randn(count))
        self.log_deviation_a = nn.Parameter(torch.full((count,), START))
        self.log_deviation_b = nn.Parameter(torch.full((count,), START))
        self.layer_mean_a = nn.Parameter(torch.full((layers,), 2 * log(global_scale)))
        self.layer_mean_b = nn.Parameter(torch.full((layers,), -2 * log(global_scale)))  # so that z starts around 1
        self.layer_log_deviation_a = nn.Parameter(torch.full((layers,), START))
        self.layer_log_deviation_b = nn.Parameter(torch.full((layers,), START))

    def shared_parameters(self) -> list[nn.Parameter]:
        """Those of the layer scales."""
        return [self.layer_mean_a, self.layer_mean_b, self.layer_log_deviation_a, self.layer_log_deviation_b]

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and variance of log z [J]."""
        layer_mean, layer_variance = self._layers()
        own = self.groups.long()
        return 0.5 * (self.mean_a + self.mean_b) + layer_mean[own], self._variance() + layer_variance[own]

    def draw(self, shape: torch.Size, gates: Tensor | None = None) -> Tensor:
        """z > 0; the channels of a group share the draw of its layer scale."""
        layer_mean, layer_variance = self._layers()
        unit, layer = (
            torch.randn(size, dtype=self.mean_a.dtype, device=self.mean_a.device)
            for size in (shape, (*shape[:-1], len(layer_mean)))
        )
        own = chosen(self.groups, gates).long()
        shared = (layer_mean + layer_variance.sqrt() * layer)[..., own]
        mean, deviation = chosen(0.5 * (self.mean_a + self.mean_b), gates), chosen(self._variance(), gates).sqrt()
        return (mean + deviation * unit + shared).exp()

    def penalty(self) -> Tensor:
        """KL of both parts of the unit scales."""
        first = gamma_divergence(self.mean_a, self.log_deviation_a.exp())
        return first + inverse_gamma_divergence(self.mean_b, self.log_deviation_b.exp())

    def shared_penalty(self) -> Tensor:
        """KL of both parts of the layer scales."""
        first = gamma_divergence(self.layer_mean_a, self.layer_log_deviation_a.exp(), self.global_scale)
        second = inverse_gamma_divergence(self.layer_mean_b, self.layer_log_deviation_b.exp())
        return (first + second).sum()

    def fixed(self) -> Tensor:
        """E[z]."""
        mean, variance = self.moments()
        return (mean + variance / 2).exp()

    def score(self) -> Tensor:
        """mode / (mode + exp(-threshold))."""
        mean, variance = self.moments()
        return torch.sigmoid(mean - variance + self.threshold)

    @torch.no_grad()
    def hold(self) -> None:
        """Keep the deviations within their limits."""
        for parameter in (
            self.log_deviation_a, self.log_deviation_b, self.layer_log_deviation_a, self.layer_log_deviation_b,
        ):  # fmt: skip
            parameter.clamp_(*LOG_DEVIATIONS)

    def _variance(self) -> Tensor:
        """Variance of log t [J]."""
        return 0.25 * ((2 * self.log_deviation_a).exp() + (2 * self.log_deviation_b).exp())

    def _layers(self) -> tuple[Tensor, Tensor]:
        """Mean and variance of log s, one a group."""
        variance = (2 * self.layer_log_deviation_a).exp() + (2 * self.layer_log_deviation_b).exp()
        return 0.5 * (self.layer_mean_a + self.layer_mean_b), 0.25 * variance

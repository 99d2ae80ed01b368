"""A Pyro model of accuracy given properties of a graph: robust regression under a regularised horseshoe.

For standardised properties x [K] and the standardised logit of accuracy y:

    y ~ StudentT(nu, b + w x, s exp(g x))         w_k ~ N(0, tau lambda_k c / sqrt(c^2 + tau^2 lambda_k^2))
    tau ~ HalfCauchy(tau_0)     lambda_k ~ HalfCauchy(1)     c^2 ~ InverseGamma(2, 8)     b ~ N(0, 1)
    ln s ~ N(ln 1/2, 1)         g_k ~ N(0, 1/4)              nu ~ 1 + Gamma(2, 1/10)

Weights of properties that say nothing are drawn to 0, others are not, up to the slab c (Piironen and Vehtari, 2017,
equations 2.8 and 3.12); heavy tails forgive the few networks whose training failed; noise differs with the graph.
Weights are written as standard normal numbers (site `plain`) times their scales, which spares samplers the funnel.
"""

from dataclasses import dataclass

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

FREEDOM_LEAST = 1.0
"""Degrees of freedom are more than this, so that the distribution has a mean."""


@dataclass(frozen=True)
class AccuracyRegression:
    """The model, of several sets of training rows at once; what one of them learns does not depend on the others.

    Attributes:
        shrinkage: scale tau_0 of the half-Cauchy prior of the global shrinkage. p_0 / ((K - p_0) sqrt(N)) stands for
            p_0 properties of K that matter, in N rows with unit noise.
    """

    shrinkage: float = 0.05

    def __call__(self, inputs: Tensor, targets: Tensor, used: Tensor) -> None:
        """Pyro's model.

        Args:
            inputs: properties [N, F, K], standardised for each of F sets of training rows.
            targets: [N, F], standardised likewise.
            used: [N, F], which rows a set learns from.
        """
        rows, sets, count = inputs.shape
        one = inputs.new_ones(())
        with pyro.plate("set", sets, dim=-1):
            overall = pyro.sample("shrinkage", dist.HalfCauchy(self.shrinkage * one))
            slab = pyro.sample("slab", dist.InverseGamma(2 * one, 8 * one))
            local = pyro.sample("local", dist.HalfCauchy(one.expand(count)).to_event(1))
            plain = pyro.sample("plain", dist.Normal(0 * one, one).expand([count]).to_event(1))
            weights = pyro.deterministic("weights", plain * weight_scales(overall, slab, local), event_dim=1)
            trend = pyro.sample("trend", dist.Normal(0 * one, 0.25 * one).expand([count]).to_event(1))
            level = pyro.sample("level", dist.Normal(0 * one, one))
            noise = pyro.sample("log_noise", dist.Normal((one / 2).log(), one))
            freedom = pyro.sample("freedom", dist.Gamma(2 * one, 0.1 * one))
            with pyro.plate("row", rows, dim=-2):
                law = row_law(inputs, weights, trend, level, noise, freedom)
                pyro.sample("target", law.mask(used), obs=targets)


def weight_scales(overall: Tensor, slab: Tensor, local: Tensor) -> Tensor:
    """Standard deviations [..., F, K] of the weights; c for an unlimited local scale, tau lambda_k for a small one."""
    wide = overall.unsqueeze(-1) * local
    limit = slab.unsqueeze(-1)
    return wide * (limit / (limit + wide**2)).sqrt()


def row_law(
    inputs: Tensor, weights: Tensor, trend: Tensor, level: Tensor, noise: Tensor, freedom: Tensor
) -> dist.StudentT:
    """The law of targets [..., N, F] given parameters [..., F] and [..., F, K]."""
    located = level + _products(inputs, weights)
    scale = (noise + _products(inputs, trend)).exp()
    return dist.StudentT(freedom + FREEDOM_LEAST, located, scale)


def _products(inputs: Tensor, weights: Tensor) -> Tensor:
    """Inputs [N, F, K] times weights [F, K] or [..., 1, F, K], as [..., N, F]."""
    plain = weights.squeeze(-3) if weights.dim() > 2 else weights
    return torch.einsum("nfk,...fk->...nf", inputs, plain)

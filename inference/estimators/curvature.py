"""Estimators from derivatives at the sampled gates: cheap, for any architecture, biased."""

import torch
from torch import Tensor

from bayesprune.inference.estimators.base import (
    GateProblem,
    attached,
    draw_sets,
    negative_log_likelihood,
    sets_of,
    surrogate,
)
from bayesprune.tasks.likelihood import IGNORED, Positions, unweighted


class StraightThrough:
    """dl/dz at the sampled gates: biased by (theta - 1/2) C'' and worse.

    At theta = 1 it says nothing about the loss of removing the unit (methods note, section 5): a baseline only.
    """

    name, unbiased = "straight-through", False

    def loss(self, problem: GateProblem, theta: Tensor) -> Tensor:
        """Mean negative log-likelihood; the gates pass their derivatives on to theta."""
        gates = attached(draw_sets(problem, theta), theta)
        return negative_log_likelihood(problem, gates).mean()


class SampledLabelCurvature:
    """Second-order difference at the sampled gates, the curvature from labels the model itself draws.

    With u_nj = d(-log p(y~_n | x_n))/dz_nj for y~_n drawn from the model, E[u^2] is the Gauss-Newton curvature, so
    `d_j = mean_n [t_nj + (1/2 - z_nj) u_nj^2]` estimates C(z_j = 1) - C(z_j = 0) to second order (recipe, estimator
    B). One extra backward pass without weight gradients; any architecture; any likelihood. With the true labels
    instead of drawn ones it collapses. A weight w of an example multiplies u^2: sqrt(w) multiplies -log p.

    Under one set of gates for the mini-batch only sum_n u_nj is known. Drawn labels are independent and E[u_nj] = 0, so
    its square has the expectation sum_n E[u_nj^2]: the same estimate, with more noise.
    """

    name, unbiased = "curvature", False

    def loss(self, problem: GateProblem, theta: Tensor) -> Tensor:
        """Mean negative log-likelihood with the second-order estimate attached."""
        sampled = draw_sets(problem, theta)
        gates = attached(sampled, theta)
        predicted = problem.predict(gates)
        labels = problem.labels()
        targets, weights = unweighted(labels)
        drawn = predicted.sample()
        if isinstance(getattr(predicted, "likelihood", None), Positions):
            drawn = torch.where(targets == IGNORED, targets, drawn)  # what does not count curves nothing
        own = -predicted.log_prob(drawn if weights is None else (drawn, weights.sqrt())).sum()
        (slope,) = torch.autograd.grad(own, gates, retain_graph=True)
        correction = slope.square_().mul_(0.5 - sampled).mean(0) * (sets_of(problem) / problem.size)
        loss: Tensor = -predicted.log_prob(labels).mean()
        return loss + surrogate(theta, correction)

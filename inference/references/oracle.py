"""Exact references by enumeration of all gates, for small numbers of gates."""

from itertools import product
from typing import Any

import torch
from torch import Tensor

from bayesprune.errors import SettingError
from bayesprune.inference.elbo import MiniBatch
from bayesprune.inference.guides import GateGuide
from bayesprune.models.gated import GatedModel

LARGEST = 12
"""More gates than this are refused: the sum has 2^J terms."""


def all_gates(count: int) -> Tensor:
    """Every setting of `count` gates: [2^count, count].

    Raises:
        SettingError: there are more gates than `LARGEST`.
    """
    if count > LARGEST:
        raise SettingError(f"{count} gates cannot be enumerated: at most {LARGEST} (2^{LARGEST} terms)")
    return torch.tensor(list(product([0.0, 1.0], repeat=count))).reshape(2**count, count)


@torch.no_grad()
def expected_loss(model: GatedModel, guide: GateGuide, inputs: Any, labels: Any) -> tuple[Tensor, Tensor]:
    """Exact E_z[mean negative log-likelihood] of the examples, and its exact gradient [J] in theta.

    The gradient is g_j = E[C(z_j = 1) - C(z_j = 0)] over the other gates.

    Raises:
        SettingError: there are too many gates, or the weights are not a point.
    """
    problem, theta = _point_problem(model, guide, inputs, labels), guide.theta.detach()
    settings = all_gates(len(theta)).to(theta.dtype)
    losses = torch.stack([-problem.predict(gates).log_prob(labels).mean() for gates in settings])
    chances = torch.where(settings > 0, theta, 1 - theta)
    value = (chances.prod(1) * losses).sum()
    slopes = []
    for gate in range(len(theta)):
        others = torch.cat([chances[:, :gate], chances[:, gate + 1 :]], 1).prod(1)
        slopes.append((others * losses * (2 * settings[:, gate] - 1)).sum())
    return value, torch.stack(slopes) if slopes else theta


@torch.no_grad()
def negative_elbo(model: GatedModel, guide: GateGuide, inputs: Any, labels: Any) -> Tensor:
    """Exact negative ELBO (nats) of a data set given whole: the sum over all 2^J gates, and the closed-form terms.

    Raises:
        SettingError: there are too many gates, or the weights are not a point.
    """
    problem = _point_problem(model, guide, inputs, labels)
    problem.predict(torch.ones_like(guide.theta))
    value, _ = expected_loss(model, guide, inputs, labels)
    return value * problem.weight + problem.penalty(guide.theta)


def _point_problem(model: GatedModel, guide: GateGuide, inputs: Any, labels: Any) -> MiniBatch:
    """The examples as an estimator sees them."""
    if model.weight_sites:
        raise SettingError("gates can be enumerated, weights with a distribution cannot: use weight_sites=False")
    return MiniBatch(model, guide, inputs, labels)

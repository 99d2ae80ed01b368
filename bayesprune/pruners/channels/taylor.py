"""Channels by what closing them does to the loss, to first order (arXiv 1906.10771)."""

import torch
from torch import Tensor

from bayesprune.pruners.problem import Problem, check_finite
from bayesprune.run.settings import check_integer
from bayesprune.structure import Gating


def taylor_units(problem: Problem, *, batches: int = 30, examples: int = 100) -> Tensor:
    """Square of each gate's derivative of the loss, averaged over mini-batches: scores [J].

    Molchanov et al., *Importance Estimation for Neural Network Pruning* (arXiv 1906.10771), Taylor-FO on gates. With
    gates z = 1 on what consumers read, closing gate j changes the mean loss L of a mini-batch by
    -dL/dz_j to first order. The square is of this derivative of the mean, not of each example's, and then the squares
    of the mini-batches are averaged:

        s_j = mean over mini-batches of (dL/dz_j)^2,    dL/dz_j = sum over the channel's weights of w dL/dw

    (the right half where the path between producer and consumer is linear). The network is in training mode.

    Args:
        problem: its training labels are read.
        batches: mini-batches, each drawn anew.
        examples: of a mini-batch.

    Raises:
        SettingError: fewer than one batch or example.
        DataError: a mini-batch has one class only.
        NetworkError: a weight or a derivative is not finite.
    """
    check_integer("batches", batches, 1)
    check_integer("examples", examples, 1)
    weights = problem.weights()
    ones = next(iter(weights.values())).new_ones(problem.structure.gate_count)
    gating = Gating(problem.network, problem.structure)
    total = torch.zeros_like(ones)
    try:
        with problem.scoring() as network, torch.enable_grad():
            for _ in range(batches):
                batch = problem.labelled(examples)
                gates = ones.clone().requires_grad_()
                with gating.applied(gates):
                    loss = problem.loss(network, batch)
                total += torch.autograd.grad(loss, gates, materialize_grads=True)[0].square()
    finally:
        gating.remove()
    check_finite("derivatives", {name: total[place] for name, place in problem.structure.slices().items()})
    return total / batches

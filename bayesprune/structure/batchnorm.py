"""Running statistics of batch normalisation, estimated anew."""

from collections.abc import Iterable

import torch
from torch import nn

from bayesprune.batches import Batch, call
from bayesprune.errors import SettingError
from bayesprune.structure.modes import evaluating, training

_BATCHNORM = nn.modules.batchnorm._BatchNorm


@torch.no_grad()
def reestimate_batchnorm(network: nn.Module, batches: Iterable[Batch]) -> None:
    """Estimate the running statistics of every batch normalisation anew from batches of inputs.

    They become the plain averages, over the batches, of each batch's mean and unbiased variance. Everything
    else runs in evaluation mode; a normalisation that its user keeps in it keeps its statistics.

    Raises:
        SettingError: there are no batches; the statistics stay as they were.
    """
    with training(network):  # which of them training changes: all that the user does not keep in evaluation mode
        norms = [
            m for m in network.modules() if isinstance(m, _BATCHNORM) and m.running_mean is not None and m.training
        ]
    momenta = [norm.momentum for norm in norms]
    remaining = iter(batches)
    inputs = next(remaining, None)
    if inputs is None:
        raise SettingError("batch normalisation cannot be estimated from no batches: give at least one")
    with evaluating(network):
        try:
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None  # a cumulative average
                norm.train()
            while inputs is not None:
                call(network, inputs)
                inputs = next(remaining, None)
        finally:
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum

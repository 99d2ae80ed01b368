"""Gaussian weights of linear layers, drawn for each example by what they do to its outputs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from bayesprune.structure.modes import hooked

LEAST_VARIANCE = 1e-16
"""Below it a variance counts as this one: the slope of the square root at 0 is infinite."""


@contextmanager
def local_noise(deviations: Mapping[nn.Linear, tuple[Tensor, Tensor | None]]) -> Iterator[None]:
    """Give linear layers noise for a while, as if each example had drawn weights of its own.

    With weights `w ~ N(mean, s^2)` an output is normal with the mean that the layer gives anyway and the variance
    `(s^2) . x^2 + s_bias^2`; drawing it directly has the law of a draw of the weights for each example, at the cost of
    one more product. Where a layer reads more than one vector of an example, [B, ..., F], these share the example's
    weights; there one draw serves the whole batch instead. A layer that is called several times in one pass draws anew
    each time.

    Source: the local reparameterisation of Kingma, Salimans and Welling, arXiv 1506.02557.

    Args:
        deviations: for each layer the standard deviations of weight and bias, in their shapes; without bias None.
    """
    with hooked(layer.register_forward_hook(_hook(*both)) for layer, both in deviations.items()):
        yield


def _hook(weight: Tensor, bias: Tensor | None) -> Any:
    """Adds the noise to what a layer says."""

    def add(_: nn.Module, arguments: tuple[Tensor, ...], outputs: Tensor) -> Tensor:
        inputs = arguments[0]
        if inputs.dim() != 2:
            drawn = None if bias is None else bias * torch.randn_like(bias)
            return outputs + linear(inputs, weight * torch.randn_like(weight), drawn)
        variance = linear(inputs.square(), weight.square(), None if bias is None else bias.square())
        return outputs + variance.clamp_min(LEAST_VARIANCE).sqrt() * torch.randn_like(outputs)

    return add

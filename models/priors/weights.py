"""Priors of the slab weights, independent of the gates."""

from collections.abc import Sequence
from math import log, pi
from typing import Any, Protocol

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from bayesprune.devices import device_of
from bayesprune.errors import SettingError
from bayesprune.structure.matrices import COUNTED


class WeightPrior(Protocol):
    """A prior over the weights of a network's linear and convolution layers."""

    def log_prob(self, network: nn.Module, parameters: Sequence[Tensor] | None = None) -> Tensor:
        """Log density (scalar, nats) of the network's own weights; `parameters` spares looking for them."""
        ...

    def sample(self, network: nn.Module) -> dict[str, Tensor]:
        """Inside a Pyro model: one site "w.<parameter>" a tensor."""
        ...


def slab_parameters(network: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters the slab covers: weights and biases of linear and convolution layers, by name."""
    return {
        f"{layer_name}.{name}" if layer_name else name: parameter
        for layer_name, layer in network.named_modules()
        if isinstance(layer, COUNTED)
        for name, parameter in layer.named_parameters(recurse=False)
    }


class _SumOfSquares(torch.autograd.Function):
    """Sum of the squares of all entries of many tensors, in two fused passes instead of two a tensor."""

    @staticmethod
    def forward(context: Any, *tensors: Tensor) -> Tensor:
        context.save_for_backward(*tensors)
        return torch.stack(torch._foreach_norm(tensors)).square_().sum()

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Any:
        return torch._foreach_mul(context.saved_tensors, 2 * gradients[0])


class GaussianSlab:
    """Every weight `w ~ N(0, scale^2)`.

    In the objective per training example this is weight decay `lambda = 1 / (N scale^2)`, not multiplied by the
    inclusion probability (reading (a) of the methods note).

    Args:
        scale: standard deviation; infinity is a flat slab, which adds nothing.
    """

    def __init__(self, scale: float = 1.0) -> None:
        if not scale > 0:
            raise SettingError(f"the slab's scale must be > 0, not {scale}")
        self.scale = scale

    def log_prob(self, network: nn.Module, parameters: Sequence[Tensor] | None = None) -> Tensor:
        """Sum of Normal log densities of all slab parameters."""
        parameters = tuple(slab_parameters(network).values()) if parameters is None else parameters
        if self.scale == float("inf") or not parameters:
            return torch.zeros((), device=device_of(network))
        squares: Tensor = _SumOfSquares.apply(*parameters)
        count = sum(parameter.numel() for parameter in parameters)
        return -squares / (2 * self.scale**2) - count * (log(self.scale) + 0.5 * log(2 * pi))

    def sample(self, network: nn.Module) -> dict[str, Tensor]:
        """One Normal site a tensor."""
        if self.scale == float("inf"):
            raise SettingError("weights cannot be sampled from a flat slab: give it a finite scale")
        return {name: pyro.sample(f"w.{name}", self._law(p)) for name, p in slab_parameters(network).items()}

    def _law(self, parameter: Tensor) -> Any:
        """Of a parameter's entries; everything of it lies where the parameter does."""
        law: Any = dist.Normal(torch.zeros_like(parameter), torch.full_like(parameter, self.scale))
        return law.to_event(parameter.dim())

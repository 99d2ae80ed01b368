"""Operations with slopes, scales and shifts, so made that `torch.func` finds their derivatives.

Under `vmap`, torch (seen with 2.13) takes the gradient in a parametric rectifier's slope from another sample or fails,
and the second derivatives in the scales of layer and instance normalisation are wrong. Without scales and shifts,
normalisation is differentiated well, so that these are all that has to be taken apart.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class Elementary(TorchFunctionMode):
    """Takes such operations apart meanwhile, whether a layer or a function calls them."""

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """The function's result."""
        return _INSTEAD.get(function, function)(*args, **(kwargs or {}))


def rectified(input: Tensor, weight: Tensor) -> Tensor:  # noqa: A002  # torch's name for it
    """As `functional.prelu`: inputs [B, C, ...] where they are positive, elsewhere times a slope [C] or [1]."""
    slopes = weight.view(-1, *[1] * (input.dim() - 2)) if weight.numel() > 1 else weight
    return torch.where(input > 0, input, slopes * input)


def layer_normalised(
    input: Tensor,  # noqa: A002
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """As `functional.layer_norm`."""
    return _scaled(functional.layer_norm(input, normalized_shape, eps=eps), weight, bias)


def instance_normalised(
    input: Tensor,  # noqa: A002
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *args: Any,
    **kwargs: Any,
) -> Tensor:
    """As `functional.instance_norm`: inputs [B, C, ...]."""
    normalised = functional.instance_norm(input, running_mean, running_var, None, None, *args, **kwargs)
    shape = (-1, *[1] * (input.dim() - 2))
    return _scaled(normalised, *(None if each is None else each.view(shape) for each in (weight, bias)))


def _scaled(values: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """Values times a scale plus a shift, where there are any."""
    scaled = values if weight is None else values * weight
    return scaled if bias is None else scaled + bias


_INSTEAD: dict[Callable[..., Any], Callable[..., Any]] = {
    functional.prelu: rectified,
    functional.layer_norm: layer_normalised,
    functional.instance_norm: instance_normalised,
}

"""Copies of networks, also of those that hold on to the result of an earlier pass."""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer
from torch.overrides import TorchFunctionMode

from bayesprune.errors import NetworkError


class _Plain(TorchFunctionMode):
    """Copies results of earlier passes and tensors of inference mode as plain tensors."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Take the place of what torch refuses to copy."""
        if func is not Tensor.__deepcopy__:
            return func(*args, **(kwargs or {}))
        tensor, memory = args
        if isinstance(tensor, UninitializedBuffer):
            make: Any = UninitializedBuffer
            return make(device=tensor.data.device, dtype=tensor.data.dtype)
        if (tensor.is_leaf and not tensor.is_inference()) or id(tensor) in memory:
            return func(*args, **(kwargs or {}))
        memory[id(tensor)] = copy = tensor.detach().clone()
        return copy


def copied(network: nn.Module) -> nn.Module:
    """A copy of a network that shares no tensor with it.

    Activations that the network keeps, and weights that it computes from others, are copied without their history.

    Raises:
        NetworkError: it holds something else that cannot be copied.
    """
    try:
        with torch.inference_mode(False), _Plain():
            return deepcopy(network)
    except Exception as error:  # whatever the user's own objects raise
        raise NetworkError(
            f"the network cannot be copied ({type(error).__name__}: {error}): keep open files, locks and generators "
            "out of its attributes"
        ) from error

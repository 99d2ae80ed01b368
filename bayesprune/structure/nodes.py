"""Making the graph that torch-pruning sees simple: one node a layer, one node a rearrangement, no guesses."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_SPLITTING = ("chunk", "split", "split_with_sizes", "tensor_split", "hsplit", "vsplit", "dsplit", "unbind")
_RESHAPING = ("view", "reshape", "view_as", "reshape_as", "flatten", "unflatten")


class Source(nn.Module):
    """Stands for the network's input, which torch-pruning does not see."""

    def __init__(self, example: Tensor) -> None:
        super().__init__()
        self.width = example.shape[1] if example.dim() > 1 else None

    def forward(self, inputs: Tensor) -> Tensor:
        """Pass the inputs on."""
        return inputs


class Opaque:
    """Tells torch-pruning that a layer reads and writes channels, and nothing of how."""

    pruning_dim = 1

    def prune_out_channels(self, layer: nn.Module, idxs: list[int]) -> nn.Module:
        """Do nothing: only the graph is used."""
        return layer

    def prune_in_channels(self, layer: nn.Module, idxs: list[int]) -> nn.Module:
        """Do nothing: only the graph is used."""
        return layer

    def get_out_channels(self, layer: nn.Module) -> int | None:
        """Known of the network's input only."""
        return layer.width if isinstance(layer, Source) else None

    def get_in_channels(self, layer: nn.Module) -> None:
        """Not known."""


class PlainNodes(TorchFunctionMode):
    """Makes one plain node of what splits or rearranges a tensor, other than by flattening it to [B, F].

    torch-pruning guesses what such steps do to channels, and fails on many. As plain nodes they hand channels
    on as they are, which `verify` then finds true or refuses.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the function, and hide what it does."""
        outputs = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") not in _SPLITTING + _RESHAPING:
            return outputs
        if _flattens(args[0] if args else None, outputs):
            # One node more after it, by whose width torch-pruning knows how many features a channel has.
            return hide(None, (outputs,), {}, outputs)
        return hide(None, args, kwargs or {}, outputs)


def _flattens(features: Any, outputs: Any) -> bool:
    """Whether every example became one row."""
    if not (isinstance(features, Tensor) and isinstance(outputs, Tensor)):
        return False
    return features.dim() > 2 and outputs.dim() == 2 and len(features) == len(outputs)


class _OneNode(torch.autograd.Function):
    """Outputs that depend on inputs by a single node of the graph."""

    @staticmethod
    def forward(context: Any, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(tensor.clone() for tensor in tensors[:count])

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Any:
        raise NotImplementedError("only traced, never differentiated")


def hide(_: nn.Module | None, arguments: tuple[Any, ...], keywords: dict[str, Any], outputs: Any) -> Any:
    """Replace what happens inside a layer by one node between its inputs and outputs.

    What torch does inside (views of weights, of groups of channels) would be taken for steps of the network.
    """
    inputs = [tensor for tensor in tensors_in([*arguments, *keywords.values()]) if tensor.requires_grad]
    seed = torch.zeros((), requires_grad=True)  # so that a layer whose inputs are integers has a node too
    written = [tensor.detach() for tensor in tensors_in(outputs) if tensor.is_floating_point()]
    hidden = iter(_OneNode.apply(len(written), *written, *inputs, seed))
    return _mapped(outputs, lambda tensor: next(hidden) if tensor.is_floating_point() else tensor)


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors in nested tuples, lists and dictionaries."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list, dict)):
        inner: Iterable[Any] = value.values() if isinstance(value, dict) else value
        for part in inner:
            yield from tensors_in(part)


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same nesting with every tensor changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: _mapped(part, change) for key, part in value.items()}
    if isinstance(value, (tuple, list)):
        parts = [_mapped(part, change) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value

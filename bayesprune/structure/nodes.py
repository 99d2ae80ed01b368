"""Making the graph that torch-pruning sees simple: one node a layer, one node a rearrangement, no guesses."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch_pruning.ops import OPTYPE, module2type

from bayesprune.batches import Batch, call, each, parts
from bayesprune.structure.kinds import kind_of
from bayesprune.structure.layers import channel_count, is_known, is_opaque, is_source, written_axes
from bayesprune.structure.nesting import mapped, tensors_in

_SLICING = ("__getitem__", "narrow", "select", "index_select")
_SPLITTING = ("chunk", "split", "split_with_sizes", "tensor_split", "hsplit", "vsplit", "dsplit", "unbind")
_RESHAPING = ("view", "reshape", "view_as", "reshape_as", "flatten", "unflatten")
_MOVING = ("permute", "transpose", "movedim", "moveaxis", "swapaxes", "swapdims", "t", "squeeze", "unsqueeze", "stack")
_AXIS = "axis_of_channels"
"""Where a tensor remembers along which axis the layer before it wrote its channels."""


class Source(nn.Module):
    """Stands for an input of the network, which torch-pruning does not see."""

    def __init__(self, example: Tensor) -> None:
        super().__init__()
        self.width = example.shape[1] if example.dim() > 1 and example.is_floating_point() else None

    def forward(self, inputs: Tensor) -> Tensor:
        """Pass the inputs on."""
        return inputs


class Fed(nn.Module):
    """A network behind a source for each of its inputs.

    Args:
        network: the network.
        example: inputs [B, ...], or a tuple or dict of such.
    """

    def __init__(self, network: nn.Module, example: Batch) -> None:
        super().__init__()
        self.network = network
        self.sources = nn.ModuleList([Source(part) for part in parts(example)])

    def forward(self, inputs: Batch, /) -> Any:
        """What the network says."""
        remaining = iter(self.sources)
        return call(self.network, each(lambda part: next(remaining)(part), inputs))


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
        """Known of the network's input, and of a layer that makes its channels."""
        if isinstance(layer, Source):
            return layer.width
        if not is_source(layer):
            return None
        return next(channel_count(layer, tensor, axis) for tensor, axis in written_axes(layer).items())

    def get_in_channels(self, layer: nn.Module) -> None:
        """Not known."""


class Handing(Opaque):
    """Tells torch-pruning that a layer hands its channels on one by one."""

    prune_in_channels = Opaque.prune_out_channels


def pruner_of(layer: nn.Module) -> Opaque | None:
    """What torch-pruning is to know of a layer that it does not know by itself; None where it does, or need not."""
    if is_opaque(layer):
        return Opaque()
    if not is_known(layer) or module2type(layer) != OPTYPE.ELEMENTWISE:
        return None
    return Opaque() if is_source(layer) else Handing()


class PlainNodes(TorchFunctionMode):
    """Makes one plain node of what splits or rearranges a tensor, other than by flattening it to [B, F].

    torch-pruning guesses what such steps do to channels, and fails on many. As plain nodes they hand channels
    on as they are, which `verify` then finds true or refuses.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the function, and hide what it does."""
        name, outputs = getattr(func, "__name__", ""), func(*args, **(kwargs or {}))
        if name in _SLICING and _keeps_channels(args[0] if args else None, outputs):
            return _tagged(hide(None, args, kwargs or {}, outputs), args)
        if name not in _SPLITTING + _RESHAPING:
            return outputs if name in _MOVING else _tagged(outputs, args)
        if _flattens(args[0] if args else None, outputs):
            # One node more after it, by whose width torch-pruning knows how many features a channel has.
            return hide(None, (outputs,), {}, outputs)
        hidden = hide(None, args, kwargs or {}, outputs)
        return _tagged(hidden, args) if name in _SPLITTING else hidden


def _tagged(outputs: Any, arguments: Any) -> Any:
    """Let outputs remember the axis that an argument remembers."""
    axes = (getattr(tensor, _AXIS, None) for tensor in tensors_in([*arguments]))
    axis = next((axis for axis in axes if axis is not None), None)
    if axis is not None:
        for tensor in tensors_in(outputs):
            setattr(tensor, _AXIS, axis)
    return outputs


def _keeps_channels(features: Any, outputs: Any) -> bool:
    """Whether a slice leaves the channels alone; False where their axis is not known."""
    axis = getattr(features, _AXIS, None)
    if axis is None or not isinstance(outputs, Tensor) or outputs.dim() < 2:
        return False
    return bool(outputs.shape[axis] == features.shape[axis])


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


def hide(layer: nn.Module | None, arguments: tuple[Any, ...], keywords: dict[str, Any], outputs: Any) -> Any:
    """Replace what happens inside a layer (or a function: None) by one node between its inputs and outputs.

    What torch does inside (views of weights, of groups of channels) would be taken for steps of the network.
    """
    inputs = [tensor for tensor in tensors_in([*arguments, *keywords.values()]) if tensor.requires_grad]
    seed = torch.zeros((), requires_grad=True)  # so that a layer whose inputs are integers has a node too
    written = [tensor.detach() for tensor in tensors_in(outputs) if tensor.is_floating_point()]
    hidden = iter(_OneNode.apply(len(written), *written, *inputs, seed))
    replaced = mapped(outputs, lambda tensor: next(hidden) if tensor.is_floating_point() else tensor)
    kind = None if layer is None else kind_of(layer)
    if kind is None or kind.reads is None:
        return _tagged(replaced, arguments) if kind is not None else replaced
    for tensor in tensors_in(replaced):
        setattr(tensor, _AXIS, kind.reads[1])
    return replaced

"""Asking torch-pruning's dependency graph which layers read and write the same channels."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch_pruning.ops import OPTYPE

from bayesprune.errors import NetworkError
from bayesprune.structure.layers import is_known, is_opaque, sharing_layers, trouble
from bayesprune.structure.modes import evaluating

_MOVES = (OPTYPE.CONCAT, OPTYPE.SPLIT, OPTYPE.RESHAPE, OPTYPE.ELEMENTWISE, OPTYPE.SLICE, OPTYPE.EXPAND)

_SPLITTING = ("chunk", "split", "split_with_sizes", "tensor_split", "hsplit", "vsplit", "dsplit", "unbind")
_RESHAPING = ("view", "reshape", "view_as", "reshape_as", "flatten", "unflatten")


@dataclass(frozen=True, eq=False)
class Member:
    """One layer's part in a set of coupled channels.

    Attributes:
        name: of the layer, or of a parameter that acts on the channels by itself.
        module: the layer; None for such a parameter.
        reads: whether it reads the channels, else it writes them or passes them on.
        positions: its channels.
        channels: the set's channel at each position.
        trouble: why it cannot be cut, or None.
    """

    name: str
    module: nn.Module | None
    reads: bool
    positions: list[int]
    channels: list[int]
    trouble: str | None


def coupled_channels(network: nn.Module, example: Tensor) -> list[list[Member]]:
    """Every set of coupled channels that reaches neither input nor output; the network is left as it was.

    Raises:
        NetworkError: torch-pruning cannot trace the network.
    """
    source = _Source(example)
    with _tracing(network, source) as opaque:
        try:
            graph = _graph()
            graph.build_dependency(
                nn.Sequential(source, network),
                example,
                forward_fn=_run,
                output_transform=_marked,
                customized_pruners={kind: _Opaque() for kind in opaque},
                verbose=False,
            )
            groups = list(graph.get_all_groups())
        except Exception as error:  # torch-pruning meets a graph that it does not expect
            raise NetworkError(f"the network cannot be traced for groups of channels: {error!r}") from error
        names: dict[Any, str] = {module: name for name, module in network.named_modules()}
        names |= {parameter: name for name, parameter in network.named_parameters()}
        shared = sharing_layers(network)
        found = [list(_members(graph, group, names, shared)) for group in groups]
    return [[m for m in members if m is not None] for members in found if None not in members]


def _members(graph: Any, group: Any, names: dict[Any, str], shared: frozenset[nn.Module]) -> Iterator[Member | None]:
    """The layers of one of torch-pruning's groups; None stands for the network's input or output."""
    for item in group:
        node, positions, channels = item.dep.target, list(item.idxs), list(item.root_idxs)
        if node.type == OPTYPE.OUTPUT or isinstance(node.module, _Source):
            yield None
        elif isinstance(node.module, nn.Module) and node.module in names:
            pruner = graph.get_pruner_of_module(node.module)
            both = pruner.prune_in_channels == pruner.prune_out_channels
            reads = not both and item.dep.handler == pruner.prune_in_channels
            reason = trouble(node.module, shared)
            yield Member(names[node.module], node.module, reads, positions, channels, reason)
        elif node.type not in _MOVES:
            name = names.get(node.module, node.name)
            yield Member(name, None, True, positions, channels, "acts on channels by itself")


@contextmanager
def _tracing(network: nn.Module, source: nn.Module) -> Iterator[set[type[nn.Module]]]:
    """Evaluation mode, gradients on, and every layer one node; yields the opaque layers' classes."""
    flags = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    layers = [layer for layer in network.modules() if layer is not network]
    opaque = [source, *filter(is_opaque, layers)]
    handles = [layer.register_forward_hook(_hide, with_kwargs=True) for layer in (*opaque, *filter(is_known, layers))]
    for parameter, _ in flags:
        parameter.requires_grad_(True)
    try:
        with evaluating(network), torch.enable_grad():
            yield {type(layer) for layer in opaque}
    finally:
        for handle in handles:
            handle.remove()
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


def _graph() -> Any:
    """A dependency graph that looks up numbers of channels which torch-pruning would guess from layers farther on."""
    graph = torch_pruning.DependencyGraph()
    reads, writes = graph.get_in_channels, graph.get_out_channels
    graph.get_in_channels = lambda node: _width(node) or reads(node)
    graph.get_out_channels = lambda node: _width(node) or writes(node)
    return graph


def _width(node: Any) -> int | None:
    """How many channels a step hands on: of rows [B, F], and of what was concatenated along its channels."""
    function = getattr(node, "grad_fn", None)
    metadata = getattr(function, "_input_metadata", ())
    if not metadata or node.type not in _MOVES:
        return None
    shape = metadata[0].shape
    if len(shape) == 2:
        return int(shape[1])
    if node.type == OPTYPE.CONCAT and len(shape) > 2:
        axis = len(shape) - 1 if _follows_linear(node) else 1
        return int(shape[axis]) if _axis(function) % len(shape) == axis else None
    return None


def _axis(function: Any) -> int:
    """The axis of a concatenation; torch shows negative ones as unsigned numbers."""
    axis = int(function._saved_dim)
    return axis - 2**64 if axis >= 2**63 else axis


def _follows_linear(node: Any) -> bool:
    """Whether the nearest layer before a step has its channels along the last axis."""
    while node.inputs:
        node = node.inputs[0]
        if is_known(node.module) or node.type == OPTYPE.CUSTOMIZED:
            return isinstance(node.module, nn.Linear)
    return False


class _PlainNodes(TorchFunctionMode):
    """Makes one plain node of what splits or rearranges a tensor, other than by flattening it to [B, F].

    torch-pruning guesses what such steps do to channels, and fails on many. As plain nodes they hand channels
    on as they are, which `verify` then finds true or refuses.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the function, and hide what it does."""
        outputs = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") not in _SPLITTING + _RESHAPING:
            return outputs
        if _flattens(args[0], outputs):
            args = (outputs,)  # a node after it, by whose width torch-pruning knows how many features a channel has
        return _hide(None, args, {}, outputs)


def _flattens(features: Any, outputs: Any) -> bool:
    """Whether every example became one row."""
    if not (isinstance(features, Tensor) and isinstance(outputs, Tensor)):
        return False
    return features.dim() > 2 and outputs.dim() == 2 and len(features) == len(outputs)


class _Source(nn.Module):
    """Stands for the network's input, which torch-pruning does not see."""

    def __init__(self, example: Tensor) -> None:
        super().__init__()
        self.width = example.shape[1] if example.dim() > 1 else None

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs


class _Opaque:
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
        return layer.width if isinstance(layer, _Source) else None

    def get_in_channels(self, layer: nn.Module) -> None:
        """Not known."""


class _OneNode(torch.autograd.Function):
    """Outputs that depend on inputs by a single node of the graph."""

    @staticmethod
    def forward(context: Any, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(tensor.clone() for tensor in tensors[:count])

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Any:
        raise NotImplementedError("only traced, never differentiated")


def _run(network: nn.Module, inputs: Tensor) -> Any:
    """Run the network for torch-pruning; the batch is one argument."""
    with _PlainNodes():
        return network(inputs)


def _hide(_: nn.Module | None, arguments: tuple[Any, ...], keywords: dict[str, Any], outputs: Any) -> Any:
    """Replace what happens inside a layer by one node between its inputs and outputs.

    What torch does inside (views of weights, of groups of channels) would be taken for steps of the network.
    """
    inputs = [tensor for tensor in _tensors([*arguments, *keywords.values()]) if tensor.requires_grad]
    seed = torch.zeros((), requires_grad=True)  # so that a layer whose inputs are integers has a node too
    written = [tensor.detach() for tensor in _tensors(outputs) if tensor.is_floating_point()]
    hidden = iter(_OneNode.apply(len(written), *written, *inputs, seed))
    return _mapped(outputs, lambda tensor: next(hidden) if tensor.is_floating_point() else tensor)


def _marked(outputs: Any) -> Any:
    """Give every output a node of its own, by which a group that reaches the output is known."""
    return [tensor * 1 for tensor in _tensors(outputs) if tensor.requires_grad]


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in nested tuples, lists and dictionaries."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list, dict)):
        inner: Iterable[Any] = value.values() if isinstance(value, dict) else value
        for part in inner:
            yield from _tensors(part)


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

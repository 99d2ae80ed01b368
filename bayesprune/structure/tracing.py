"""Asking torch-pruning's dependency graph which layers read and write the same channels."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning
from torch import nn
from torch_pruning.ops import OPTYPE

from bayesprune.batches import Batch
from bayesprune.errors import NetworkError
from bayesprune.structure.layers import is_known, is_opaque, is_source, sharing_layers, trouble, weight_of
from bayesprune.structure.modes import hooked
from bayesprune.structure.nesting import tensors_in
from bayesprune.structure.nodes import Fed, Opaque, PlainNodes, Source, hide, pruner_of
from bayesprune.structure.passes import Passes
from bayesprune.structure.walk import bounded

_MOVES = (OPTYPE.CONCAT, OPTYPE.SPLIT, OPTYPE.RESHAPE, OPTYPE.ELEMENTWISE, OPTYPE.SLICE, OPTYPE.EXPAND)


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


@dataclass(frozen=True, eq=False)
class Coupled:
    """A set of coupled channels.

    Attributes:
        members: the layers that write, pass on or read them.
        ends: whether they are the network's input or output, too, so that they stay.
    """

    members: list[Member]
    ends: bool

    def names(self) -> set[str]:
        """The layers that write or pass on these channels."""
        return {member.name for member in self.members if not member.reads}


def coupled_channels(network: nn.Module, example: Batch, passes: Passes) -> list[Coupled]:
    """Every set of coupled channels, also those that reach the input or output.

    Args:
        network: a copy, whose parameters' flags may change.
        example: inputs [B, ...].
        passes: how to run it.

    Raises:
        NetworkError: torch-pruning cannot trace the network.
    """
    fed = Fed(network, example)
    with _tracing(network, list(fed.sources)) as pruners:
        try:
            graph = _graph()
            graph.build_dependency(
                fed,
                example,
                forward_fn=lambda whole, inputs: _run(whole, inputs, passes),
                output_transform=_marked,
                customized_pruners=pruners,
                verbose=False,
            )
            endless = bounded(graph)
            makers = {type(layer) for layer in network.modules() if is_source(layer)}
            groups = list(graph.get_all_groups(root_module_types=tuple(makers)))
        except Exception as error:  # torch-pruning meets a graph that it does not expect
            raise NetworkError(
                f"the network cannot be traced for groups of channels ({type(error).__name__}: {error}): its channels "
                "cannot be removed; take a method that masks single weights, such as magnitude"
            ) from error
        names: dict[Any, str] = {module: name for name, module in network.named_modules()}
        names |= {parameter: name for name, parameter in network.named_parameters()}
        shared = sharing_layers(network)
        found = [list(_members(graph, group, names, shared)) for group in groups]
    lost = [_without_end(layer, names[layer]) for layer in endless]
    return [Coupled([m for m in members if m is not None], None in members) for members in (*found, *lost) if members]


def _without_end(layer: nn.Module, name: str) -> list[Member | None]:
    """What stands for a layer whose channels the walk through the graph did not finish to follow."""
    width = int(weight_of(layer).shape[0])
    places = list(range(width))
    reason = "is coupled with itself over and over, by slices or reshapes of its channels"
    return [Member(name, layer, False, places, places, reason), Member(name, layer, True, places, places, reason)]


def _members(graph: Any, group: Any, names: dict[Any, str], shared: frozenset[nn.Module]) -> Iterator[Member | None]:
    """The layers of one of torch-pruning's groups; None stands for the network's input or output."""
    for item in group:
        node, positions, channels = item.dep.target, list(item.idxs), list(item.root_idxs)
        if node.type == OPTYPE.OUTPUT or isinstance(node.module, Source):
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
def _tracing(network: nn.Module, sources: list[nn.Module]) -> Iterator[dict[type[nn.Module], Opaque]]:
    """Gradients on, and every layer one node; yields what torch-pruning is to know of layers' classes."""
    layers = [layer for layer in network.modules() if layer is not network]
    pruners = {type(layer): pruner for layer in layers if (pruner := pruner_of(layer)) is not None}
    nodes = [*sources, *(layer for layer in layers if is_opaque(layer) or is_known(layer))]
    hiding = (layer.register_forward_hook(hide, with_kwargs=True) for layer in nodes)
    for parameter in network.parameters():
        if parameter.is_floating_point():
            parameter.requires_grad_(True)
    with hooked(hiding), torch.enable_grad():
        yield pruners | {Source: Opaque()}


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


def _run(network: nn.Module, inputs: Batch, passes: Passes) -> Any:
    """Run the network for torch-pruning; the batch is one argument."""
    with PlainNodes():
        return passes(network, inputs)


def _marked(outputs: Any) -> Any:
    """Give every output a node of its own, by which a group that reaches the output is known."""
    return [tensor * 1 for tensor in tensors_in(outputs) if tensor.requires_grad]

"""Finding the groups of a network: torch-pruning's dependency graph, turned into gates on consumers."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
import torch_pruning
from torch import Tensor, nn
from torch_pruning.ops import OPTYPE

from bayesprune.errors import SettingError, UnsupportedLayerError
from bayesprune.structure.groups import UNGATED, Axis, Group, Reader, Structure
from bayesprune.structure.sources import flattened_readers, input_readers
from bayesprune.structure.verify import verify

_CONVOLUTION = nn.modules.conv._ConvNd
_TRANSPOSED = nn.modules.conv._ConvTransposeNd
_NORM = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)
_MOVES_CHANNELS = (OPTYPE.CONCAT, OPTYPE.SPLIT, OPTYPE.RESHAPE, OPTYPE.ELEMENTWISE, OPTYPE.SLICE, OPTYPE.EXPAND)


def find(
    network: nn.Module,
    example: Tensor,
    *,
    keep: Sequence[str] = (),
    inputs: Literal["auto", "all", "none"] = "auto",
    flatten_inputs: bool = False,
    check: bool = True,
) -> Structure:
    """Find which channels of a network can be removed together.

    Args:
        network: any module that torch-pruning's dependency graph understands; it is left as it is.
        example: a batch [B, ...] of inputs.
        keep: names of layers (or of modules that contain them) whose outputs must stay whole; "inputs" keeps every
            input feature.
        inputs: gates on input features: "auto" where a linear layer reads them, "all" also where a convolution
            does (its channels), "none" nowhere.
        flatten_inputs: give every flattened feature that a linear layer reads a gate of its own as well.
        check: compare a gated and a compacted copy on random gates, and refuse what is not the same function.

    Raises:
        UnsupportedLayerError: a layer whose channels cannot be removed exactly (LayerNorm, grouped convolution, ...).
        SettingError: `keep` names a layer that is not there.
    """
    names = [name for name, _ in network.named_modules() if name]
    for name in keep:
        if name not in names and name != "inputs":
            raise SettingError(f"keep names the layer {name!r}, which the network does not have; it has {names}")
    kept = {name for name in names if any(name == k or name.startswith(f"{k}.") for k in keep)}
    builder = _Builder()
    if "inputs" not in keep and inputs != "none":
        for layer, feature_axis, features in input_readers(network, example, convolutions=inputs == "all"):
            builder.add_selection("inputs", "inputs", layer, feature_axis, features)
    order = {name: number for number, name in enumerate(names)}
    for members in sorted(_coupled(network, example), key=lambda members: min(order[m[0]] for m in members)):
        if not _is_kept(members, kept):
            builder.add_channels(members, order)
    if flatten_inputs:
        for layer, features in flattened_readers(network, builder.arriving):
            if layer not in kept:
                builder.add_selection(f"{layer}.inputs", "flatten", layer, -1, features)
    structure = builder.build(network)
    if check:
        verify(network, structure, example)
    return structure


Member = tuple[str, nn.Module, bool, list[int], list[int]]
"""Name, module, whether it reads (else writes), its positions, and the group's channel of each."""


def _coupled(network: nn.Module, example: Tensor) -> Iterator[list[Member]]:
    """Every set of coupled channels that does not reach the network's output."""
    was_training = network.training
    flags = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    for parameter, _ in flags:
        parameter.requires_grad_(True)
    try:
        with torch.enable_grad():
            graph = torch_pruning.DependencyGraph().build_dependency(network, example, verbose=False)
            names = {module: name for name, module in network.named_modules()}
            for group in graph.get_all_groups():
                members = list(_members(graph, group, names))
                if not any(isinstance(module, _Output) for _, module, *_ in members):
                    yield members
    finally:
        network.train(was_training)
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


class _Output(nn.Module):
    """Stands for the network's output among the members of a group."""


def _members(graph: Any, group: Any, names: dict[nn.Module, str]) -> Iterator[Member]:
    """The layers of one of torch-pruning's groups."""
    for item in group:
        node, positions = item.dep.target, list(item.idxs)
        if node.type == OPTYPE.OUTPUT:
            yield "", _Output(), True, [], []
        elif node.module in names:
            pruner = graph.get_pruner_of_module(node.module)
            both = pruner.prune_in_channels == pruner.prune_out_channels
            reads = not both and item.dep.handler == pruner.prune_in_channels
            yield names[node.module], node.module, reads, positions, list(item.root_idxs)
        elif node.type not in _MOVES_CHANNELS:
            raise UnsupportedLayerError(
                f"{node.type.name.lower()} {node.name!r} cannot be gated exactly; name the layers around it in keep=[...]"
            )


def _is_kept(members: list[Member], kept: set[str]) -> bool:
    """Whether the user excluded a layer that writes these channels (or passes them on)."""
    return any(name in kept for name, _, reads, *_ in members if not reads)


class _Builder:
    """Collects groups, axes and readers while gates are numbered."""

    def __init__(self) -> None:
        self.groups: list[Group] = []
        self.arriving: dict[str, Tensor] = {}
        self._selection: dict[str, Tensor] = {}
        self._axes: dict[tuple[str, str], Tensor] = {}
        self._reads: dict[str, tuple[int, int]] = {}
        self._gates = 0

    def add_channels(self, members: list[Member], order: dict[str, int]) -> None:
        """A group of coupled channels; nothing when no layer reads it or none writes it of its own."""
        writers = [m for m in members if not m[2]]
        readers = [m for m in members if m[2]]
        sources = [m for m in writers if _is_source(m[1])]
        if not readers or not sources:
            return
        for name, module, *_ in members:
            _refuse_unknown(name, module)
        size = 1 + max(max(roots) for *_, roots in members)
        for name, module, _, positions, roots in writers:
            for tensor in _written_tensors(module):
                self._write(name, module, tensor, positions, roots)
        for name, module, _, positions, roots in readers:
            self._read(name, module, positions, roots)
        produce = tuple(sorted({m[0] for m in writers}, key=order.__getitem__))
        consume = tuple(sorted({m[0] for m in readers}, key=order.__getitem__))
        first = min((m[0] for m in sources), key=order.__getitem__)
        self._new_group(Group(first, size, torch.arange(size), produce, consume))

    def add_selection(self, name: str, kind: str, layer: str, feature_axis: int, features: int) -> None:
        """A group over features that a selector in front of the layer can leave out."""
        known = next((group for group in self.groups if group.name == name), None)
        start = self._gates if known is None else self._start_of(name)
        if known is not None and known.size != features:
            raise UnsupportedLayerError(
                f"layer {layer!r} reads {features} input features and another {known.size}; name 'inputs' in keep=[...]"
            )
        self.arriving.setdefault(layer, torch.full((features,), UNGATED))
        self._selection[layer] = torch.arange(start, start + features)
        self._reads[layer] = (1, feature_axis)
        if known is None:
            self._new_group(Group(name, features, torch.arange(features), (), (layer,), kind))
        else:
            index = self.groups.index(known)
            self.groups[index] = Group(name, features, known.kept, (), (*known.consumers, layer), kind)

    def build(self, network: nn.Module) -> Structure:
        """The structure of everything added."""
        axes = []
        for (layer, tensor), gates in self._axes.items():
            transposed = isinstance(network.get_submodule(layer), _TRANSPOSED) and tensor == "weight"
            axes.append(Axis(layer, tensor, 1 if transposed else 0, gates))
        readers = []
        for layer, arriving in self.arriving.items():
            weight_axis, feature_axis = self._reads[layer]
            selection = self._selection.get(layer)
            readers.append(Reader(layer, weight_axis, feature_axis, arriving, torch.arange(len(arriving)), selection))
        return Structure(tuple(self.groups), tuple(axes), tuple(readers))

    def _start_of(self, name: str) -> int:
        start = 0
        for group in self.groups:
            if group.name == name:
                return start
            start += group.size
        return start

    def _new_group(self, group: Group) -> None:
        self.groups.append(group)
        self._gates += group.size

    def _write(self, name: str, module: nn.Module, tensor: str, positions: list[int], roots: list[int]) -> None:
        value = getattr(module, tensor)
        width = value.shape[1] if isinstance(module, _TRANSPOSED) and tensor == "weight" else value.shape[0]
        gates = self._axes.setdefault((name, tensor), torch.full((width,), UNGATED))
        self._assign(name, gates, positions, roots)

    def _read(self, name: str, module: nn.Module, positions: list[int], roots: list[int]) -> None:
        axis = 0 if isinstance(module, _TRANSPOSED) else 1
        self._reads[name] = (axis, -1 if isinstance(module, nn.Linear) else 1)
        gates = self.arriving.setdefault(name, torch.full((module.weight.shape[axis],), UNGATED))
        self._assign(name, gates, positions, roots)

    def _assign(self, name: str, gates: Tensor, positions: list[int], roots: list[int]) -> None:
        """Give positions their gates; two gates at one position would not be understood."""
        index = torch.tensor(positions)
        if bool((gates[index] != UNGATED).any()):
            raise UnsupportedLayerError(f"channels of layer {name!r} belong to two groups; name it in keep=[...]")
        gates[index] = self._gates + torch.tensor(roots)


def _is_source(module: nn.Module) -> bool:
    """Whether a layer makes its channels itself (a depthwise convolution only passes them on)."""
    plain = isinstance(module, _CONVOLUTION) and module.groups == 1
    return plain or isinstance(module, nn.Linear)


def _is_depthwise(module: nn.Module) -> bool:
    """One filter a channel."""
    conv = isinstance(module, _CONVOLUTION) and not isinstance(module, _TRANSPOSED)
    return conv and module.groups == module.in_channels == module.out_channels


def _refuse_unknown(name: str, module: nn.Module) -> None:
    """Refuse a layer whose channels cannot be cut out exactly, by name."""
    understood = _is_source(module) or _is_depthwise(module) or isinstance(module, (*_NORM, nn.PReLU))
    if not understood:
        reason = "mixes channels" if isinstance(module, (nn.LayerNorm, nn.GroupNorm)) else "cannot be cut exactly"
        raise UnsupportedLayerError(
            f"{type(module).__name__} {name!r} {reason}: name it (or the layer before it) in keep=[...]"
        )


def _written_tensors(module: nn.Module) -> list[str]:
    """The tensors of a layer that have one entry (or slice) for each channel it writes."""
    if isinstance(module, nn.PReLU):
        return ["weight"] if module.weight.numel() > 1 else []
    names = ["weight", "bias", "running_mean", "running_var"]
    return [name for name in names if isinstance(getattr(module, name, None), Tensor)]

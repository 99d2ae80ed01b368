"""Networks as graphs: a vertex a layer, or a vertex a unit."""

from collections.abc import Mapping
from typing import Any

import networkx as nx
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from bayesprune.batches import Batch, named_parts
from bayesprune.errors import GraphError
from bayesprune.graphs.checks import DiGraph
from bayesprune.graphs.wiring import INPUT, WiredLayer, Wiring

MOST_UNITS = 3_000
"""Units, those of the input included, up to which every one becomes a vertex."""

_MASKS = ("mask", "mask_ih")
Weights = npt.NDArray[np.float64]


def layer_graph(network: nn.Module, example: Batch) -> DiGraph:
    """The layers of a network, with an edge where one reads another directly; any kind of layer.

    Vertices have the attributes `kind` (class), `units`, `weights` (entries of its matrices) and `alive` (those
    that are not 0). The input is a vertex as well.

    Args:
        network: left as it was.
        example: inputs [B, ...] as the network takes them; a few are enough.

    Raises:
        GraphError: it has no layers with weights, or fails on the example.
    """
    wiring = Wiring(network, example)
    graph: DiGraph = nx.DiGraph()
    for part, tensor in named_parts(example).items():
        units = wiring.input_units(part) or int(np.prod(tensor.shape[1:]))
        graph.add_node(_input(part), kind="input", units=units, weights=0, alive=0)
    for layer in wiring.layers.values():
        matrices = [one for one in layer.module.parameters() if one.dim() > 1]
        total, alive = sum(one.numel() for one in matrices), sum(int((one != 0).sum()) for one in matrices)
        graph.add_node(
            layer.name, kind=type(layer.module).__name__, units=layer.units, weights=total, alive=alive
        )  # fmt: skip
    for part in named_parts(example):
        graph.add_edges_from((_input(part), reader) for reader in wiring.input_readers(part))
    for name in wiring.layers:
        graph.add_edges_from((name, reader) for reader in wiring.readers(name))
    tokens = [_input(part) for part, tensor in named_parts(example).items() if not tensor.is_floating_point()]
    for name, layer in wiring.layers.items():
        if not layer.features:  # it reads tokens, which cannot be changed a little
            graph.add_edges_from((source, name) for source in tokens)
    return graph


def unit_graph(
    network: nn.Module, example: Batch, *, kept: Mapping[str, Tensor] | None = None, recurrent: bool = False
) -> DiGraph:
    """The units of a network, with an edge where one reads another through a weight that is not 0.

    Units are those of linear layers, channels of convolutions, and hidden units of recurrent ones; vertices are named
    "LAYER:UNIT" and have the attributes `layer`, `unit`, `role` ("input", "hidden", or "output" of layers that no other
    reads) and, where known, `original`: their index before anything was removed. Edges have the attribute `weight`, the
    sum of the absolute weights (over a kernel, over gates). Biases are no edges. Pixels are units of an input that a
    linear layer reads, channels where convolutions do. Behind a normalisation over channels (of layers or groups) each
    channel depends on all of them.

    Args:
        network: left as it was.
        example: inputs [B, ...] as the network takes them; a few are enough.
        kept: original indices by layer, such as `Pruned.kept`.
        recurrent: also with edges from hidden units to those of the same layer at the next step; they make cycles.

    Raises:
        GraphError: more than 3,000 units, a layer of which units are not known (attention, several recurrent layers in
            one, both directions), no layers with weights, or it fails on the example.
    """
    wiring = Wiring(network, example)
    inputs = {part: wiring.input_units(part) for part in named_parts(example)}
    total = sum(layer.units for layer in wiring.layers.values()) + sum(inputs.values())
    if total > MOST_UNITS:
        raise GraphError(
            f"the network has {total:,} units, and at most {MOST_UNITS:,} become vertices: take its layers"
        )
    weights = {name: _weights(layer) for name, layer in wiring.layers.items()}
    graph: DiGraph = nx.DiGraph()
    for part, units in inputs.items():
        _add_units(graph, _input(part), units, (kept or {}).get(f"{part}.inputs" if part else "inputs"))
        for unit in range(units):
            _join(graph, f"{_input(part)}:{unit}", wiring.input_readers(part, unit), weights)
    for name, layer in wiring.layers.items():
        _add_units(graph, name, layer.units, (kept or {}).get(name))
        for unit in range(layer.units):
            _join(graph, f"{name}:{unit}", wiring.readers(name, unit), weights)
    read = {name for name in wiring.layers if wiring.readers(name)}
    for _, known in graph.nodes(data=True):
        tokens = known["layer"] in wiring.layers and not wiring.layers[known["layer"]].features
        hidden = "hidden" if known["layer"] in read else "output"
        known["role"] = "input" if tokens or known["layer"] not in wiring.layers else hidden
    if recurrent:
        _join_steps(graph, wiring)
    return graph


def surviving(graph: DiGraph) -> DiGraph:
    """The vertices on some path from input to output units: what can carry anything through the network.

    Units that only their bias moves are left out. Where tokens come in, the embedding's units are the input.

    Args:
        graph: of `unit_graph`, or with the attribute `role` of its vertices.
    """
    role = dict(graph.nodes(data="role"))
    forward = _reached(graph, [vertex for vertex in graph if role[vertex] == "input"])
    backward = _reached(graph.reverse(copy=False), [vertex for vertex in graph if role[vertex] == "output"])
    kept = forward & backward
    return graph.subgraph([vertex for vertex in graph if vertex in kept]).copy()


def largest_component(graph: DiGraph) -> DiGraph:
    """The largest part that is connected, directions left out; of equal ones the first."""
    if not len(graph):
        raise GraphError("the graph has no vertices left: nothing leads from the input to the output")
    return graph.subgraph(max(nx.weakly_connected_components(graph), key=len)).copy()


def _reached(graph: DiGraph, starts: list[Any]) -> set[Any]:
    reached, waiting = set(starts), list(starts)
    while waiting:
        new = [after for after in graph.successors(waiting.pop()) if after not in reached]
        reached.update(new)
        waiting.extend(new)
    return reached


def _input(part: str) -> str:
    return f"{INPUT}.{part}" if part else INPUT


def _add_units(graph: DiGraph, layer: str, units: int, original: Tensor | None) -> None:
    known = original is not None and len(original) == units
    for unit in range(units):
        more = {"original": int(original[unit])} if known and original is not None else {}
        graph.add_node(f"{layer}:{unit}", layer=layer, unit=unit, **more)


def _join(graph: DiGraph, source: str, readers: Mapping[str, Any], weights: Mapping[str, Weights | None]) -> None:
    """Edges from a unit to those that read it."""
    for reader, features in readers.items():
        matrix = weights[reader]
        if matrix is None:
            continue
        strength = matrix[:, features].sum(1)
        graph.add_edges_from(
            (source, f"{reader}:{unit}", {"weight": float(strength[unit])}) for unit in np.flatnonzero(strength)
        )


def _join_steps(graph: DiGraph, wiring: Wiring) -> None:
    """Edges of the hidden-to-hidden matrices."""
    for name, layer in wiring.layers.items():
        around = next(
            (getattr(layer.module, n, None) for n in ("weight_hh", "weight_hh_l0") if hasattr(layer.module, n)), None
        )
        if isinstance(around, Tensor):
            strength = _by_gates(_masked(layer.module, around, ("mask_hh",)), layer.units)
            graph.add_edges_from(
                (f"{name}:{start}", f"{name}:{end}", {"weight": float(strength[end, start]), "recurrent": True})
                for end, start in np.argwhere(strength)
            )


def _weights(layer: WiredLayer) -> Weights | None:
    """Absolute weights [units, features] of a layer; None for one that reads tokens.

    Raises:
        GraphError: it has none of this form.
    """
    module = layer.module
    if not layer.features:
        return None
    found: Weights | None = None
    if isinstance(module, nn.modules.conv._ConvNd):
        found = _of_convolution(module)
    elif isinstance(module, nn.RNNBase):
        if module.num_layers == 1 and not module.bidirectional and not getattr(module, "proj_size", 0):
            found = _by_gates(_masked(module, module.get_parameter("weight_ih_l0"), ()), layer.units)
    else:
        own = next(
            (module._parameters.get(name) for name in ("weight", "weight_ih") if name in module._parameters), None
        )
        if own is not None and own.dim() == 2:
            found = _by_gates(_masked(module, own, _MASKS), layer.units)
    if found is None or found.shape != (layer.units, layer.features):
        raise GraphError(
            f"layer {layer.name!r} is a {type(module).__name__}, whose units are not known one by one: take the graph "
            "of the layers"
        )
    return found


def _masked(module: nn.Module, weight: Tensor, masks: tuple[str, ...]) -> Weights:
    mask = next((module._buffers[name] for name in masks if module._buffers.get(name) is not None), None)
    found: Weights = (weight if mask is None else weight * mask).detach().abs().double().cpu().numpy()
    return found


def _by_gates(weight: Weights, units: int) -> Weights:
    """Rows (gate, unit) summed over gates."""
    if len(weight) % units:
        return weight
    found: Weights = weight.reshape(-1, units, weight.shape[1]).sum(0)
    return found


def _of_convolution(module: Any) -> Weights:
    """Summed over the kernel, with all input channels of a grouped one."""
    with torch.no_grad():
        weight = module.weight.abs().double().flatten(2).sum(2).cpu()
    inputs, outputs, groups = module.in_channels, module.out_channels, module.groups
    found = np.zeros((outputs, inputs))
    for group in range(groups):
        read = slice(group * inputs // groups, (group + 1) * inputs // groups)
        write = slice(group * outputs // groups, (group + 1) * outputs // groups)
        found[write, read] = weight[read].T if module.transposed else weight[write]
    return found

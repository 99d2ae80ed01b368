"""Flipping single gates exactly, from the gated layer on: what stands before it is computed once for all gates.

Closing one gate changes the output of a layer that reads it by that channel's part of a sum: a term of rank one for a
linear layer, one input channel's convolution for a convolution. Everything behind it is run again.
"""

import operator
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from bayesprune.batches import call, head
from bayesprune.devices import device_of
from bayesprune.structure.copying import copied
from bayesprune.structure.gating import Gating
from bayesprune.structure.groups import Structure
from bayesprune.structure.members import UNGATED, Reader
from bayesprune.structure.modes import evaluating

Layers = frozenset[str]
"""Names of the layers that read a gate."""

CHECKED_GATES, CHECKED_EXAMPLES, AGREES = 64, 3, 1e-9
"""Gates and examples on which replays are compared with whole passes in float64; the relative difference allowed."""

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NOT_IN_PLACE = {operator.iadd: operator.add, operator.imul: operator.mul, operator.isub: operator.sub}
_NOT_IN_PLACE_METHODS = {"relu_": "relu", "add_": "add", "mul_": "mul", "sub_": "sub"}


@dataclass(frozen=True, eq=False)
class _Route:
    """How a change of gates that the same layers read runs through a network.

    Attributes:
        steps: the nodes that change, in order, and whether each reads an unchanged input itself.
        reads_again: whether a layer behind the first ones reads these gates as well.
        ends: whether the change reaches the outputs.
    """

    steps: tuple[tuple[fx.Node, bool], ...]
    reads_again: bool
    ends: bool


class Replay:
    """Runs a network once for a batch, and again from a gated layer on for every flip of a gate.

    Use it inside `ready`. Only networks that torch.fx can trace, with one tensor as input, can be replayed; `of` says
    whether one can, after a comparison with whole passes.

    Args:
        network: in its present shape.
        structure: its groups.
        graph: of the network in evaluation mode.
    """

    def __init__(self, network: nn.Module, structure: Structure, graph: fx.Graph) -> None:
        self._network, self._structure, self._graph = network, structure, graph
        self._readers = {reader.layer: reader for reader in structure.readers}
        self._features = {reader.layer: _features_by_gate(reader) for reader in structure.readers}
        self._routes: dict[Layers, _Route] = {}
        self._values: dict[fx.Node, Any] = {}
        self._seen: dict[fx.Node, tuple[Tensor, Tensor]] = {}
        self._present: Tensor | None = None
        self._varies = _depending(graph)

    @classmethod
    def of(cls, network: nn.Module, structure: Structure, inputs: Any) -> "Replay | None":
        """The replay of a network; None where it cannot be replayed exactly.

        Args:
            network: in its present shape.
            structure: its groups.
            inputs: some examples, on which flips are compared with whole passes in float64.
        """
        graph = _traced(network) if isinstance(inputs, Tensor) and not structure.sections else None
        if graph is None or not _agrees(network, structure, inputs):
            return None
        return cls(network, structure, graph)

    def another(self) -> "Replay":
        """One of the same network for another batch, whose values are kept apart."""
        return Replay(self._network, self._structure, self._graph)

    def layers(self, gate: int) -> Layers:
        """The layers that read a gate."""
        return frozenset(layer for layer, features in self._features.items() if gate in features)

    def alike(self, gates: Sequence[int]) -> Iterator[list[int]]:
        """The gates in lists of those that the same layers read, which can be flipped together."""
        by_layers: dict[Layers, list[int]] = {}
        for gate in gates:
            by_layers.setdefault(self.layers(gate), []).append(gate)
        yield from by_layers.values()

    @contextmanager
    def ready(self) -> Iterator["Replay"]:
        """Evaluation mode, gates on the readers, and nothing done in place; afterwards all is as before."""
        gating = Gating(self._network, self._structure)
        try:
            with torch.no_grad(), evaluating(self._network), _not_in_place(self._network):
                self._gating = gating
                yield self
        finally:
            gating.remove()
            self._values, self._seen = {}, {}

    def run(self, inputs: Tensor, present: Tensor | None = None) -> Any:
        """What the network says of inputs [B, ...] under gates [J] in {0, 1}; None for all open.

        What every layer says is kept for the flips to come.
        """
        self._present, self._values, self._seen = present, {}, {}
        if present is None:
            return self._run(inputs)
        with self._gating.applied(present):
            return self._run(inputs)

    def numbers(self) -> int:
        """How many numbers are kept of an example that was run."""
        values = [value for node, value in self._values.items() if node in self._varies and _is_tensor(value)]
        return sum(int(value.numel()) for value in values) // max(1, _batch(self._values))

    def flipped(self, gates: Sequence[int]) -> Any:
        """What the network says of the same inputs with one gate flipped: [K * B, ...], gate after gate.

        Args:
            gates: K of them, read by the same layers (`alike`).
        """
        layers = self.layers(gates[0])
        route = self._routes.get(layers)
        if route is None:
            route = self._routes[layers] = _route(self._graph, layers)
        batch = _batch(self._values)
        present = self._present
        if present is None and not route.reads_again:
            return self._replayed(route, gates, batch)
        rows = torch.ones(len(gates), self._structure.gate_count) if present is None else present.repeat(len(gates), 1)
        places = torch.arange(len(gates)), torch.tensor(list(gates))
        rows[places] = 1 - rows[places]
        rows = rows.repeat_interleave(batch, 0) if len(gates) > 1 else rows[0]
        with self._gating.applied(rows.to(device_of(self._network))):
            return self._replayed(route, gates, batch)

    def _run(self, inputs: Tensor) -> Any:
        """Compute and keep the value of every node."""
        given = iter([inputs])
        for node in self._graph.nodes:
            if node.op == "placeholder":
                self._values[node] = next(given) if not node.args else node.args[0]
            elif node.op == "output":
                return fx.map_arg(node.args[0], self._values.__getitem__)
            else:
                value = _computed(self._network, node, self._values.__getitem__)
                self._values[node] = value
                if node.op == "call_module" and node.target in self._readers:
                    self._seen[node] = (self._values[node.args[0]], value)
        return None

    def _replayed(self, route: _Route, gates: Sequence[int], batch: int) -> Any:
        """Run the steps of a route for K gates side by side."""
        times, values = len(gates), dict[fx.Node, Any]()

        def load(node: fx.Node) -> Any:
            if node in values:
                return values[node]
            value = self._values[node]
            is_batch = node in self._varies and _is_tensor(value) and value.dim() > 0 and len(value) == batch
            return value.repeat(times, *[1] * (value.dim() - 1)) if is_batch else value

        for node, is_first in route.steps:
            values[node] = self._changed(node, gates) if is_first else _computed(self._network, node, load)
        output = next(iter(reversed(self._graph.nodes)))
        return fx.map_arg(output.args[0], load)

    def _changed(self, node: fx.Node, gates: Sequence[int]) -> Tensor:
        """What a layer that reads the gates says when each alone is flipped: [K * B, ...]."""
        reads, said = self._seen[node]
        reader, layer = self._readers[str(node.target)], self._network.get_submodule(str(node.target))
        found = said.new_empty(len(gates), *said.shape)
        for row, gate in zip(found, gates, strict=True):
            places = self._features[reader.layer][gate]
            change = _change(reader, places, gate, self._present).to(said)
            _add_part(layer, reads, said, places.to(said.device), change, row)
        return found.flatten(0, 1)


def _add_part(layer: nn.Module, reads: Tensor, said: Tensor, places: Tensor, change: Tensor, out: Tensor) -> None:
    """Write into `out` what a layer says when its features at `places` [P] are multiplied by 1 + `change` [P]."""
    if isinstance(layer, nn.Linear):
        features, weight = reads.index_select(-1, places), layer.weight.index_select(1, places) * change
        if reads.dim() == 2:
            torch.addmm(said, features, weight.T, out=out)
        else:
            torch.add(said, features @ weight.T, out=out)
        return
    assert isinstance(layer, _CONVOLUTIONS)
    weight = layer.weight.index_select(1, places) * change.reshape(1, -1, *[1] * (layer.weight.dim() - 2))
    part = layer._conv_forward(reads.index_select(1, places), weight, None)
    torch.add(said, part, out=out)


def _change(reader: Reader, places: Tensor, gate: int, present: Tensor | None) -> Tensor:
    """By how much the factors of the features at `places` change when a gate is flipped: [P]."""
    if present is None:
        return -torch.ones(len(places))
    present = present.cpu()
    before, after = present.new_ones(2, len(places))
    flipped = present.clone()
    flipped[gate] = 1 - flipped[gate]
    for way in _ways(reader):
        own = way[places]
        before = before * torch.where(own == UNGATED, torch.ones_like(before), present[own])
        after = after * torch.where(own == UNGATED, torch.ones_like(after), flipped[own])
    change: Tensor = after - before
    return change


def _ways(reader: Reader) -> list[Tensor]:
    """The gates [n] of a reader's features: of those that arrive, and of its own."""
    return [way for way in (reader.arriving[reader.selected], reader.selection) if way is not None]


def _features_by_gate(reader: Reader) -> dict[int, Tensor]:
    """For each gate that a layer reads the places of its features."""
    found: dict[int, list[Tensor]] = {}
    for way in _ways(reader):
        for gate in way[way != UNGATED].unique().tolist():
            found.setdefault(gate, []).append((way == gate).nonzero().flatten())
    return {gate: torch.cat(places).unique() for gate, places in found.items()}


def _traced(network: nn.Module) -> fx.Graph | None:
    """The graph of a network's forward pass in evaluation mode, nothing in it done in place; None without one."""
    try:
        with evaluating(network):
            graph = fx.Tracer().trace(network)
    except Exception:  # whatever the user's own code raises when it is traced
        return None
    if sum(node.op == "placeholder" and not node.args for node in graph.nodes) != 1:
        return None
    for node in graph.nodes:
        if node.op == "call_function":
            node.target = _NOT_IN_PLACE.get(node.target, node.target)
            if node.kwargs.get("inplace"):
                node.kwargs = {**node.kwargs, "inplace": False}
        elif node.op == "call_method":
            node.target = _NOT_IN_PLACE_METHODS.get(node.target, node.target)
    return graph


def _computed(network: nn.Module, node: fx.Node, load: Any) -> Any:
    """The value of a node from those that it needs."""
    args, kwargs = fx.map_arg(node.args, load), fx.map_arg(node.kwargs, load)
    if node.op == "call_module":
        return network.get_submodule(str(node.target))(*args, **kwargs)
    if node.op == "call_method":
        return getattr(args[0], str(node.target))(*args[1:], **kwargs)
    if node.op == "get_attr":
        return operator.attrgetter(str(node.target))(network)
    assert callable(node.target)
    return node.target(*args, **kwargs)


def _route(graph: fx.Graph, layers: Layers) -> _Route:
    """What changes in a graph with gates that these layers read."""
    changed: dict[fx.Node, bool] = {}
    reads_again = False
    for node in graph.nodes:
        reads = node.op == "call_module" and node.target in layers
        behind = any(needed in changed for needed in node.all_input_nodes)
        reads_again |= reads and behind
        if node.op != "output" and (reads or behind):
            changed[node] = not behind
    output = next(iter(reversed(graph.nodes)))
    return _Route(tuple(changed.items()), reads_again, any(node in changed for node in output.all_input_nodes))


def _depending(graph: fx.Graph) -> set[fx.Node]:
    """The nodes whose values depend on the inputs."""
    found: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op == "placeholder" or any(needed in found for needed in node.all_input_nodes):
            found.add(node)
    return found


def _batch(values: Mapping[fx.Node, Any]) -> int:
    """Examples in the batch that was run."""
    return len(next(value for node, value in values.items() if node.op == "placeholder" and _is_tensor(value)))


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


@contextmanager
def _not_in_place(network: nn.Module) -> Iterator[None]:
    """For a while no module writes into its input."""
    modules = [module for module in network.modules() if getattr(module, "inplace", None) is True]
    try:
        for module in modules:
            module.inplace = False  # type: ignore[assignment]  # a plain attribute of activations and dropout
        yield
    finally:
        for module in modules:
            module.inplace = True  # type: ignore[assignment]  # as above


def _replayable(network: nn.Module, structure: Structure) -> bool:
    """Whether every reader is of a kind whose output is a sum over its features, and nothing else sees the gates.

    A normalisation over open features says something else of all of them when one closes, and a gated weight acts
    on whole passes only.
    """
    if structure.norms or any(reader.by_weight for reader in structure.readers):
        return False
    layers = [network.get_submodule(reader.layer) for reader in structure.readers]
    return all(
        type(layer) is nn.Linear or (type(layer) in _CONVOLUTIONS and getattr(layer, "groups", 0) == 1)
        for layer in layers
    )


def _agrees(network: nn.Module, structure: Structure, inputs: Tensor) -> bool:
    """Whether flips by replay are those by whole passes, on some examples and gates, in float64."""
    if not _replayable(network, structure):
        return False
    try:
        copy = copied(network).to("cpu", torch.float64)
        graph = _traced(copy)
        if graph is None:
            return False
        some = head(inputs, CHECKED_EXAMPLES).cpu()
        some = some.double() if some.is_floating_point() else some
        count = structure.gate_count
        gates = torch.linspace(0, count - 1, min(count, CHECKED_GATES)).round().long().unique().tolist()
        present = torch.ones(count, dtype=torch.float64)
        present[1::3] = 0
        with Replay(copy, structure, graph).ready() as replay:
            return all(
                _same(replay, copy, some, start, alike) for start in (None, present) for alike in replay.alike(gates)
            )
    except Exception:  # a network may refuse batches, or float64
        return False


def _same(replay: Replay, network: nn.Module, inputs: Tensor, present: Tensor | None, gates: list[int]) -> bool:
    """Whether flips of these gates are the same either way."""
    replay.run(inputs, present)
    found = replay.flipped(gates)
    rows = torch.ones(replay._structure.gate_count, dtype=torch.float64) if present is None else present
    for place, gate in enumerate(gates):
        flipped = rows.clone()
        flipped[gate] = 1 - flipped[gate]
        with replay._gating.applied(flipped):
            truth = call(network, inputs)
        if not isinstance(found, Tensor) or not isinstance(truth, Tensor):
            return False
        part = found[place * len(inputs) : (place + 1) * len(inputs)]
        scale = float(truth.abs().max()) + 1e-300
        if part.shape != truth.shape or not float((part - truth).abs().max()) <= AGREES * scale:
            return False
    return True

"""Networks from graphs against the definition, written out unit by unit and step by step."""

from collections.abc import Callable
from typing import Any

import networkx as nx
import pytest
import torch
from torch import Tensor

from bayesprune.errors import GraphError, InputShapeError, SettingError, UnknownNameError
from bayesprune.graphs import LayeredGraph, from_sizes, layered, study_graph, unit_graph
from bayesprune.models import GraphMLP, GraphRNN
from bayesprune.models.networks.masked import GATES, MaskedRNN
from bayesprune.run.networks import NetworkSpec, name_of

WORKED = nx.DiGraph([(0, 2), (1, 2), (1, 3), (2, 3), (2, 4), (3, 4)])  # the example of the note


def step(cell: str, x: Tensor, state: Tensor, memory: Tensor, parts: list[Tensor]) -> tuple[Tensor, Tensor]:
    """One step of a cell by its equations: x [B, D], state and memory [B, H], the four weights in torch's order."""
    w_ih, w_hh, b_ih, b_hh = parts
    inward, around = x @ w_ih.T + b_ih, state @ w_hh.T + b_hh
    if cell in ("tanh", "relu"):
        return getattr(torch, cell)(inward + around), memory
    a, b = inward.chunk(GATES[cell], 1), around.chunk(GATES[cell], 1)
    if cell == "gru":
        reset, update = torch.sigmoid(a[0] + b[0]), torch.sigmoid(a[1] + b[1])
        new = torch.tanh(a[2] + reset * b[2])
        return (1 - update) * new + update * state, memory
    i, f, g, o = (x + y for x, y in zip(a, b, strict=True))
    memory = torch.sigmoid(f) * memory + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(memory), memory


def run(cell: str, sequence: Tensor, parts: list[Tensor]) -> Tensor:
    """A cell over [B, L, D], step by step."""
    state = memory = torch.zeros(len(sequence), parts[1].shape[1], dtype=sequence.dtype)
    outputs = []
    for at in range(sequence.shape[1]):
        state, memory = step(cell, sequence[:, at], state, memory, parts)
        outputs.append(state)
    return torch.stack(outputs, 1)


def edge_block(graph: LayeredGraph, source: int, target: int) -> Tensor:
    """Units of target x units of source, 1 where there is an edge."""
    return torch.tensor(
        [[float(graph.graph.has_edge(a, b)) for a in graph.layers[source]] for b in graph.layers[target]],
        dtype=torch.float64,
    )


def repeated(block: Tensor, gates: int, gate_mask: str) -> Tensor:
    """The mask of a cell's input weights: row g * H + i has the row i of the block, or (g * H + i) // gates."""
    rows = range(gates * len(block))
    return block[[row % len(block) if gate_mask == "tile" else row // gates for row in rows]]


def cell_parts(layer: MaskedRNN, gates: int, units: int, cells: int, cell: int) -> tuple[list[int], slice]:
    """The rows and the hidden units of one of the cells that share a layer: row (gate, cell, unit)."""
    rows = [g * cells * units + cell * units + i for g in range(gates) for i in range(units)]
    return rows, slice(cell * units, (cell + 1) * units)


def definition(network: GraphRNN, tokens: Tensor, gate_mask: str) -> Tensor:
    """The output [B, L, last layer], from one cell for every pair of joined layers ("post") or every layer ("pre")."""
    graph, cell = network.graph, network.cell
    gates, sizes = GATES[cell], graph.sizes
    y: list[Tensor] = []
    for target, (units, layer) in enumerate(zip(sizes, network.layers, strict=True)):
        assert isinstance(layer, MaskedRNN)
        weights: list[Tensor] = [layer.weight_ih, layer.weight_hh, layer.bias_ih, layer.bias_hh]
        if target == 0:
            y.append(run(cell, network.embedding(tokens), weights))
            continue
        joined = [s for s in range(target) if bool(edge_block(graph, s, target).any())]
        sources = [target - 1, *(s for s in joined if s != target - 1)]
        if network.merge == "pre":
            masks = [repeated(edge_block(graph, s, target), gates, gate_mask) for s in sources]
            weights[0] = weights[0] * torch.cat(masks, 1)
            y.append(run(cell, torch.cat([y[s] for s in sources], 2), weights))
            continue
        total, first = torch.zeros(1, dtype=torch.float64), 0
        for number, source in enumerate(sources):
            rows, hidden = cell_parts(layer, gates, units, len(sources), number)
            mask = repeated(edge_block(graph, source, target), gates, gate_mask)
            inward = layer.weight_ih[rows][:, first : first + sizes[source]] * mask
            own = [inward, layer.weight_hh[rows][:, hidden], layer.bias_ih[rows], layer.bias_hh[rows]]
            total = total + run(cell, y[source], own)
            first += sizes[source]
        y.append(total)
    return y[-1]


def tokens_of(count: int = 5, length: int = 9) -> Tensor:
    found = torch.randint(1, 27, (count, length))
    for row, end in enumerate((9, 4, 7, 1, 6)):
        found[row, end:] = 0
    return found


@pytest.mark.parametrize("gate_mask", ["tile", "interleave"])
@pytest.mark.parametrize("merge", ["post", "pre"])
@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("graph", [WORKED, study_graph("watts-strogatz", 5, vertices=20)], ids=["worked", "random"])
def test_the_fused_network_is_the_definition(graph: Any, cell: str, merge: str, gate_mask: str) -> None:
    network = GraphRNN(graph, cell, merge, gate_mask, classes=3).double()
    assert network.graph.skips, "skip connections are what is tested"
    tokens = tokens_of()
    expected = definition(network, tokens, gate_mask)
    last = torch.stack([expected[row, end - 1] for row, end in enumerate((9, 4, 7, 1, 6))])
    assert torch.allclose(network(tokens), network.head(last), atol=1e-10)
    network.read = "last_step"
    assert torch.allclose(network(tokens), network.head(expected[:, -1]), atol=1e-10)
    loss = network(tokens).square().sum()
    loss.backward()
    for layer in network.layers:
        assert isinstance(layer, MaskedRNN) and layer.weight_ih.grad is not None
        assert not (layer.weight_ih.grad * (1 - layer.mask_ih)).any()


@pytest.mark.parametrize("cell", GATES)
def test_gradients_are_those_of_the_definition(cell: str) -> None:
    network = GraphRNN(WORKED, cell).double()
    tokens, parameters = tokens_of(), list(network.layers.parameters())
    network.read = "last_step"
    fused = torch.autograd.grad(network(tokens).square().sum(), parameters)
    slow = torch.autograd.grad(network.head(definition(network, tokens, "tile")[:, -1]).square().sum(), parameters)
    assert all(torch.allclose(a, b, atol=1e-10) for a, b in zip(fused, slow, strict=True))


def test_the_worked_example_has_its_sizes() -> None:
    network = GraphRNN(WORKED, "gru")
    assert network.graph.sizes == (2, 1, 1, 1) and network.embedding.embedding_dim == 2
    assert network.sources == [(), (0,), (1, 0), (2, 1)]
    layers: list[Any] = list(network.layers)
    shapes = [tuple(layer.mask_ih.shape) for layer in layers]
    assert shapes == [(6, 2), (3, 2), (6, 3), (6, 2)]
    third = layers[2]
    # Rows (gate, cell): the cell of the direct path reads vertex 2, that of the skip vertex 1 of the sources 0 and 1.
    assert third.mask_ih.tolist() == [[1, 0, 0], [0, 0, 1]] * 3
    assert third.mask_hh.tolist() == [[1, 0], [0, 1]] * 3


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_interleaved_and_tiled_masks_differ(cell: str) -> None:
    graph = study_graph("watts-strogatz", 1, vertices=40)
    tile, interleave = (GraphRNN(graph, cell, gate_mask=kind) for kind in ("tile", "interleave"))
    pairs: list[Any] = list(zip(tile.layers, interleave.layers, strict=True))
    assert any(not torch.equal(a.mask_ih, b.mask_ih) for a, b in pairs)
    assert all(a.mask_ih.sum() == b.mask_ih.sum() for a, b in pairs)


@pytest.mark.parametrize("cell", ["tanh", "relu"])
def test_cells_without_gates_have_one_mask(cell: str) -> None:
    tile, interleave = (GraphRNN("watts-strogatz:2", cell, gate_mask=kind) for kind in ("tile", "interleave"))
    assert all(torch.equal(a, b) for a, b in zip(tile.buffers(), interleave.buffers(), strict=True))


def test_every_unit_of_a_later_layer_has_an_edge_from_the_layer_before() -> None:
    network = GraphRNN("barabasi-albert:3", "gru", "pre")
    for layer, sources in zip(list(network.layers)[1:], network.sources[1:], strict=True):
        assert isinstance(layer, MaskedRNN)
        before = network.graph.sizes[sources[0]]
        assert bool(layer.mask_ih[:, :before].any(1).all())


@pytest.mark.parametrize("cell", GATES)
def test_a_dense_graph_is_torch_s_own_network(cell: str) -> None:
    network = GraphRNN(from_sizes((6, 5, 4)), cell, width=7).double()
    kind: Callable[..., Any] = {"gru": torch.nn.GRU, "lstm": torch.nn.LSTM}.get(cell, torch.nn.RNN)
    more = {"nonlinearity": cell} if cell in ("tanh", "relu") else {}
    tokens = tokens_of()
    sequence = network.embedding(tokens)
    for layer, (inputs, units) in zip(network.layers, ((7, 6), (6, 5), (5, 4)), strict=True):
        assert isinstance(layer, MaskedRNN)
        own = kind(inputs, units, batch_first=True, **more).double()
        own.load_state_dict({f"{name}_l0": value for name, value in layer.named_parameters()})
        sequence = own(sequence)[0]
    network.read = "last_step"
    assert torch.allclose(network(tokens), network.head(sequence[:, -1]), atol=1e-12)


def test_the_answer_does_not_depend_on_the_batch() -> None:
    network = GraphRNN("watts-strogatz:1", "gru").double()
    tokens = torch.cat([tokens_of(), torch.zeros(5, 20, dtype=torch.int64)], 1)
    alone = torch.cat([network(tokens[row : row + 1]) for row in range(5)])
    assert torch.allclose(network(tokens), alone, atol=1e-12)
    network.read = "last_step"
    alone = torch.cat([network(tokens[row : row + 1]) for row in range(5)])
    assert not torch.allclose(network(tokens), alone)


@pytest.mark.parametrize("merge", ["pre", "post"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_feed_forward_networks_are_the_definition(activation: str, merge: str) -> None:
    graph = layered(study_graph("watts-strogatz", 5, vertices=20))
    network = GraphMLP(graph, activation, merge, input_shape=(2, 3), classes=4).double()
    inputs = torch.randn(6, 2, 3, dtype=torch.float64)
    act = getattr(torch, activation)
    a: list[Tensor] = []
    for target, (units, layer) in enumerate(zip(graph.sizes, network.layers, strict=True)):
        weight, bias = layer.weight, layer.bias
        assert isinstance(weight, Tensor) and isinstance(bias, Tensor)
        if target == 0:
            a.append(act(inputs.flatten(1) @ weight.T + bias))
            continue
        joined = [s for s in range(target) if bool(edge_block(graph, s, target).any())]
        total, first = torch.zeros(1, dtype=torch.float64), 0
        for number, source in enumerate([target - 1, *(s for s in joined if s != target - 1)]):
            rows = slice(number * units, (number + 1) * units) if merge == "post" else slice(None)
            masked = weight[rows, first : first + graph.sizes[source]] * edge_block(graph, source, target)
            part = a[source] @ masked.T
            total = total + (act(part + bias[rows]) if merge == "post" else part)
            first += graph.sizes[source]
        a.append(total if merge == "post" else act(total + bias))
    assert torch.allclose(network(inputs), network.head(a[-1]), atol=1e-10)


@pytest.mark.parametrize("graph", ["barabasi-albert:7", study_graph("watts-strogatz", 3), WORKED])
@pytest.mark.parametrize("kind", [GraphRNN, GraphMLP])
def test_networks_are_built_anew_from_their_spec(kind: Any, graph: Any) -> None:
    network = kind(graph)
    spec = name_of(network)
    assert spec is not None
    again: Any = spec.build()
    assert all(torch.equal(a, b) for a, b in zip(network.buffers(), again.buffers(), strict=True))
    again.load_state_dict(network.state_dict())
    inputs = tokens_of() if kind is GraphRNN else torch.randn(5, 1, 28, 28)
    assert torch.equal(network(inputs), again(inputs))
    assert again.graph.sizes == network.graph.sizes


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"cell": "rnn"}, UnknownNameError, "unknown kind of cell 'rnn'"),
        ({"merge": "mid"}, SettingError, "'post' and 'pre' are possible"),
        ({"gate_mask": "tiled"}, SettingError, "'tile' and 'interleave'"),
        ({"read": "end"}, SettingError, "'last_letter' and 'last_step'"),
        ({"width": 0}, SettingError, "width is 0"),
        ({"classes": 0}, SettingError, "classes is 0"),
        ({"input_shape": (1, 28, 28)}, InputShapeError, "sequences of tokens"),
        ({"graph": "watts-strogatz"}, GraphError, "as in watts-strogatz:3"),
        ({"graph": "watts:1"}, UnknownNameError, "did you mean 'watts-strogatz'"),
        ({"graph": [(0, 1), (1, 0)]}, GraphError, "cycle"),
        ({"graph": [0, 1]}, GraphError, "pairs of whole numbers"),
        ({"graph": nx.Graph([(0, 1), (2, 3)])}, GraphError, "2 components"),
    ],
)
def test_what_no_network_can_have(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        NetworkSpec("graphrnn", arguments).build()
    with pytest.raises(SettingError, match="activation"):
        GraphMLP(activation="gelu")


@pytest.mark.parametrize("seed", [1, 4])
def test_the_graph_of_a_network_from_a_graph_is_that_graph(seed: int) -> None:
    graph = layered(study_graph("watts-strogatz", seed))
    number = {vertex: (layer, unit) for layer, row in enumerate(graph.layers) for unit, vertex in enumerate(row)}
    edges = {(number[start], number[end]) for start, end in graph.graph.edges}
    networks: list[tuple[Any, Tensor]] = [
        (GraphMLP(graph, merge="pre", input_shape=(3,)), torch.randn(2, 3)),
        (GraphRNN(graph, "gru", "pre"), tokens_of()),
    ]
    for network, inputs in networks:
        found = unit_graph(network, inputs)

        def place(vertex: str) -> tuple[int, int]:
            _, layer, unit = vertex.replace(":", ".").split(".")
            return int(layer), int(unit)

        inner = {(place(a), place(b)) for a, b in found.edges if a.startswith("layers.") and b.startswith("layers.")}
        assert inner == edges

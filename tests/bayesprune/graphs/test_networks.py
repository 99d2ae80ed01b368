from typing import Any

import networkx as nx
import pytest
import torch
from torch import Tensor, nn

from bayesprune.errors import GraphError
from bayesprune.graphs import features, from_sizes, layered
from bayesprune.graphs.networks import largest_component, layer_graph, surviving, unit_graph


class Branches(nn.Module):
    """A convolution, a residual sum, a concatenation, pooling and flattening: who reads whom is known by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.second = nn.Conv2d(3, 3, 1)
        self.side = nn.Conv2d(3, 2, 3, padding=1)
        self.last = nn.Linear(5 * 2 * 2, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        a = self.norm(self.first(inputs)).relu()
        b = (self.second(a) + a).relu()
        joined = torch.cat([b, self.side(b)], 1)
        logits: Tensor = self.last(torch.max_pool2d(joined, 2).flatten(1))
        return logits


class Sequences(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(9, 4), nn.Linear(3, 2)
        self.cells: Any = nn.GRU(4, 3, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        _, state = self.cells(self.embedding(tokens))
        logits: Tensor = self.head(state[-1])
        return logits


def test_layers_of_branches() -> None:
    graph = layer_graph(Branches(), torch.randn(3, 2, 4, 4))
    assert set(graph.edges) == {
        ("input", "first"), ("first", "second"), ("first", "side"), ("first", "last"), ("second", "side"),
        ("second", "last"), ("side", "last"),
    }  # fmt: skip
    assert graph.nodes["first"] == {"kind": "Conv2d", "units": 3, "weights": 54, "alive": 54}
    assert graph.nodes["input"]["units"] == 2


def test_units_of_branches() -> None:
    network = Branches()
    with torch.no_grad():
        network.second.weight[1] = 0  # reads nothing
        network.last.weight[:, 4:8] = 0  # channel 1 of the sum is not read there
    graph = unit_graph(network, torch.randn(3, 2, 4, 4))
    assert len(graph) == 2 + 3 + 3 + 2 + 4
    assert set(graph.successors("input:0")) == {"first:0", "first:1", "first:2"}
    assert set(graph.predecessors("second:1")) == set()
    # Channel i of the sum is first:i and second:i; the linear layer reads four pixels of each channel.
    assert set(graph.successors("first:1")) == {"second:0", "second:2", "side:0", "side:1"}
    assert set(graph.successors("first:2")) == {
        "second:0", "second:2", "side:0", "side:1", *(f"last:{unit}" for unit in range(4))
    }  # fmt: skip
    assert set(graph.predecessors("last:0")) == {"first:0", "first:2", "second:0", "second:2", "side:0", "side:1"}
    weight = network.last.weight[2, 12:16].detach().abs().sum()  # channel 3 of the joined ones is side:0
    assert graph.edges["side:0", "last:2"]["weight"] == pytest.approx(float(weight))


def test_a_dense_network_is_its_layers() -> None:
    network: Any = nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    graph = unit_graph(network, torch.randn(2, 1, 2, 3))
    expected = from_sizes((6, 5, 4, 2))
    assert nx.is_isomorphic(graph, expected.graph) and layered(graph).sizes == (6, 5, 4, 2)
    assert features(graph) == pytest.approx(features(expected))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network.training and "forward" not in network[1].__dict__
    weights = network[3].weight.detach()
    assert graph.edges["1:3", "3:2"]["weight"] == pytest.approx(float(weights[2, 3].abs()))


def test_masked_weights_are_no_edges_and_dead_units_do_not_survive() -> None:
    network: Any = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 0]]))
        network[2].weight.copy_(torch.tensor([[1.0, 0, 1], [0, 0, 0]]))
    graph = unit_graph(network, torch.randn(4, 3))
    assert set(graph.edges) == {("input:0", "0:0"), ("input:1", "0:1"), ("0:0", "2:0"), ("0:2", "2:0")}
    left = surviving(graph)
    assert set(left) == {"input:0", "0:0", "2:0"} and set(left.edges) == {("input:0", "0:0"), ("0:0", "2:0")}
    assert set(largest_component(graph)) == {"input:0", "0:0", "2:0", "0:2"}
    with torch.no_grad():
        network[2].weight.zero_()
    with pytest.raises(GraphError, match="no vertices left"):
        largest_component(surviving(unit_graph(network, torch.randn(4, 3))))


def test_recurrent_layers_read_tokens_and_steps() -> None:
    network = Sequences()
    with torch.no_grad():
        network.cells.weight_ih_l0[[1, 4, 7], 2] = 0  # no gate of unit 1 reads feature 2
        network.cells.weight_hh_l0[:] = 0
        network.cells.weight_hh_l0[5, 0] = 0.5  # the second gate of unit 2 reads unit 0
    tokens = torch.randint(0, 9, (3, 5))
    layers = layer_graph(network, tokens)
    assert set(layers.edges) == {("input", "embedding"), ("embedding", "cells"), ("cells", "head")}
    graph = unit_graph(network, tokens)
    assert set(graph.successors("embedding:2")) == {"cells:0", "cells:2"}
    assert set(graph.successors("cells:0")) == {"head:0", "head:1"} and nx.is_directed_acyclic_graph(graph)
    steps = unit_graph(network, tokens, recurrent=True)
    assert set(steps.edges) - set(graph.edges) == {("cells:0", "cells:2")}
    assert steps.edges["cells:0", "cells:2"]["recurrent"]


def test_grouped_and_transposed_convolutions() -> None:
    network = nn.Sequential(
        nn.Conv2d(4, 4, 1, groups=2), nn.ConvTranspose2d(4, 6, 2, groups=2), nn.Conv2d(6, 6, 1, groups=6)
    )
    graph = unit_graph(network, torch.randn(2, 4, 3, 3))
    assert set(graph.successors("input:2")) == {"0:2", "0:3"}
    assert set(graph.successors("0:3")) == {"1:3", "1:4", "1:5"}
    assert set(graph.predecessors("2:5")) == {"1:5"}


def test_original_indices_are_told() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    graph = unit_graph(network, torch.randn(2, 2), kept={"0": torch.tensor([4, 7, 9]), "inputs": torch.tensor([0, 5])})
    assert [graph.nodes[f"0:{unit}"]["original"] for unit in range(3)] == [4, 7, 9]
    assert graph.nodes["input:1"]["original"] == 5 and "original" not in graph.nodes["1:0"]


def test_several_inputs() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right, self.both = nn.Linear(2, 2), nn.Linear(3, 2), nn.Linear(4, 1)

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            joined: Tensor = self.both(torch.cat([self.left(a), self.right(b).relu()], 1))
            return joined

    example = torch.randn(2, 2), torch.randn(2, 3)
    assert set(layer_graph(Two(), example).edges) == {
        ("input.0", "left"), ("input.1", "right"), ("left", "both"), ("right", "both")
    }  # fmt: skip
    graph = unit_graph(Two(), example)
    assert set(graph.successors("input.1:2")) == {"right:0", "right:1"} and len(graph) == 2 + 3 + 2 + 2 + 1


def test_what_has_no_graph_of_units() -> None:
    with pytest.raises(GraphError, match="no layer with weights"):
        layer_graph(nn.ReLU(), torch.randn(2, 2))
    with pytest.raises(GraphError, match="fails on the example"):
        layer_graph(nn.Linear(3, 2), torch.randn(2, 2))
    with pytest.raises(GraphError, match="4,002 units"):
        unit_graph(nn.Linear(4_000, 2), torch.randn(2, 4_000))
    two: Any = nn.Sequential(nn.Linear(3, 2), nn.Bilinear(2, 2, 2))
    two.forward = lambda inputs: two[1](two[0](inputs), two[0](inputs))
    with pytest.raises(GraphError, match="layer '1' is a Bilinear"):
        unit_graph(two, torch.randn(2, 3))
    assert set(layer_graph(two, torch.randn(2, 3)).edges) == {("input", "0"), ("0", "1")}

"""`bayesprune graph` on small saved networks."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
import torch

from bayesprune.data import from_tensors
from bayesprune.data.reber import REBER
from bayesprune.errors import GraphError
from bayesprune.experiments.facade import load, prune
from bayesprune.experiments.graph_view import graph_of, plot_graph
from bayesprune.graphs import FEATURES, features, read_graphml
from bayesprune.models import MLP, GraphMLP, GraphRNN
from bayesprune.run.pruned import Pruned


@pytest.fixture(scope="module")
def pruned() -> Pruned:
    """A network 6-12-12-2 with a quarter of its weights left."""
    random = torch.Generator().manual_seed(0)
    inputs = torch.randn(200, 6, generator=random)
    data = from_tensors(inputs, (inputs[:, 0] * inputs[:, 1] > 0).long())
    network = MLP((12, 12), (6,), 2)
    return prune(network, data, method="magnitude", density=0.25, epochs=2, seed=0)


def test_the_command_tells_writes_and_draws(command: Any, pruned: Pruned, tmp_path: Path) -> None:
    pruned.save(tmp_path / "small")
    outcome = command("graph", tmp_path / "small", "--graphml", tmp_path / "net.graphml", "--references", 2)
    assert outcome.status == 0, outcome.err
    assert "32 units and" in outcome.out and "average_shortest_path_length" in outcome.out and " ± " in outcome.out
    assert "edges to a vertex (how many vertices): 0 (" in outcome.out and "small-world coefficient 0" in outcome.out
    assert (tmp_path / "small" / "graph.png").read_bytes().startswith(b"\x89PNG")
    graph = read_graphml(tmp_path / "net.graphml")
    weights = [value for name, value in pruned.network.named_parameters() if name.endswith("weight")]
    assert graph.number_of_edges() == sum(int((value != 0).sum()) for value in weights)
    outcome = command("graph", tmp_path / "small", "--json", "--plot", tmp_path / "net.svg")
    found = json.loads(outcome.out)
    assert found["level"] == "unit" and found["edges"] == graph.number_of_edges()
    assert list(found["properties"])[:23] == list(FEATURES) and found["plot"] == str(tmp_path / "net.svg")
    assert sum(found["degrees"]["in"].values()) == found["left_vertices"] <= found["vertices"] == 32
    assert found["small_world"]["clustering"] == 0 < found["small_world"]["random_clustering"]
    assert found["random"]["nodes"] == {"mean": found["left_vertices"], "sd": 0.0} or found["changed_edges"] > 0


def test_layers_and_levels(command: Any, pruned: Pruned, tmp_path: Path) -> None:
    pruned.save(tmp_path / "small")
    outcome = command("graph", tmp_path / "small", "--level", "layer", "--json")
    found = json.loads(outcome.out)
    assert (found["vertices"], found["edges"], found["random"]) == (4, 3, {})
    assert found["properties"]["layers"] == 4 and found["small_world"] is None
    assert command("graph", tmp_path / "small", "--level", "pixel").err.count("take auto, unit or layer") == 1
    assert command("graph", tmp_path / "nothing").status == 2


def test_skips_make_triangles_beside_networkx(pruned: Pruned) -> None:
    """Of a graph with feed-forward triangles; random graphs of equal degrees have the same degree distribution."""
    inputs = torch.randn(60, 6, generator=torch.Generator().manual_seed(1))
    network = GraphMLP("watts-strogatz:3", input_shape=(6,), classes=2)
    dense = prune(network, from_tensors(inputs, (inputs[:, 0] > 0).long()), method="dense", epochs=1, seed=0)
    view = graph_of(dense, references=2)
    found = view.small_world
    assert found is not None and found.coefficient is not None
    plain: Any = nx.Graph(list(view.left.edges))
    assert found.clustering == pytest.approx(nx.average_clustering(plain)) and found.clustering > 0
    assert found.length == pytest.approx(nx.average_shortest_path_length(plain))
    assert graph_of(pruned, references=0).small_world is None


def test_properties_are_of_what_is_connected_to_input_and_output(pruned: Pruned) -> None:
    view = graph_of(pruned, references=3)
    expected = features(view.left)
    assert {name: view.properties[name] for name in FEATURES} == expected
    assert nx.is_weakly_connected(view.left)
    for vertex, known in view.left.nodes(data=True):
        assert known["role"] == "input" or view.left.in_degree(vertex) > 0
        assert known["role"] == "output" or view.left.out_degree(vertex) > 0
    assert view.changed and view.random["chain"] == (
        view.properties["chain"],
        0.0,
    )  # degrees decide chains without skips


def test_fully_joined_layers_have_no_other_graph(pruned: Pruned, tmp_path: Path) -> None:
    dense = replace(pruned, network=MLP((5,), (6,), 2), masks={})
    view = graph_of(dense)
    assert view.changed == 0.0 and view.random == {} and "no other graph has these degrees" in view.text()
    assert view.properties["density"] == pytest.approx((6 * 5 + 5 * 2) / (13 * 12))
    assert plot_graph(view, tmp_path / "dense.png").is_file()


def test_networks_with_no_units_or_many(pruned: Pruned, tmp_path: Path) -> None:
    wide = replace(pruned, network=MLP((4_000,), (6,), 2), masks={})
    view = graph_of(wide)
    assert view.level == "layer" and len(view.graph) == 3
    assert plot_graph(view, tmp_path / "wide.png").is_file()
    with pytest.raises(GraphError, match="4,008 units"):
        graph_of(wide, level="unit")
    empty = MLP((4,), (6,), 2)
    for value in empty.parameters():
        torch.nn.init.zeros_(value)
    nothing = graph_of(replace(pruned, network=empty, masks={}))
    assert len(nothing.left) == 0 and nothing.properties == {}
    assert "properties are computed for" in nothing.text() and plot_graph(nothing, tmp_path / "none.png").is_file()


def test_a_layer_that_is_called_twice_is_drawn_without_properties(pruned: Pruned, tmp_path: Path) -> None:
    class Twice(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.same, self.head = torch.nn.Linear(6, 6), torch.nn.Linear(6, 2)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.head(self.same(self.same(inputs).relu()))
            return logits

    view = graph_of(replace(pruned, network=Twice(), masks={}), level="layer")
    assert ("same", "same") in view.graph.edges and view.properties == {}
    assert plot_graph(view, tmp_path / "twice.png").is_file()


def test_a_recurrent_network_from_a_graph_is_trained_saved_loaded_and_told(command: Any, tmp_path: Path) -> None:
    train, validation, test = REBER["reber"].draw(0, (300, 50, 50))
    data = from_tensors(*train, validation=validation, test=test, name="strings")
    network = GraphRNN("watts-strogatz:6", "gru", merge="pre", width=5)
    trained = prune(network, data, method="dense", epochs=1, seed=0)
    trained.save(tmp_path / "strings")
    again = load(tmp_path / "strings")
    tokens = torch.from_numpy(test[0])
    assert torch.equal(trained.network(tokens), again.network(tokens))
    assert isinstance(again.network, GraphRNN) and again.network.graph.sizes == network.graph.sizes
    found = json.loads(command("graph", tmp_path / "strings", "--references", 1, "--json").out)
    expected = 5 * network.graph.sizes[0] + network.graph.graph.number_of_edges() + 2 * network.graph.sizes[-1]
    assert found["level"] == "unit" and found["edges"] == expected

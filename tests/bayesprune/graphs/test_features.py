import csv
import json
import os
from pathlib import Path
from typing import Any

import networkx as nx
import pytest

from bayesprune.errors import GraphError
from bayesprune.graphs import (
    CONVENTIONS,
    FEATURES,
    barabasi_albert,
    features,
    from_sizes,
    layered,
    usual_density,
    watts_strogatz,
)

RELEASED = Path(os.environ.get("BAYESPRUNE_DATA", "/nowhere")) / "reber" / "structure"
CELLS = ("rnn_tanh", "rnn_relu", "gru", "lstm")


def rows_of(cell: str) -> list[dict[str, str]]:
    with (RELEASED / f"{cell}.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.skipif(not (RELEASED / "graphs.json").is_file(), reason="needs the released graphs")
@pytest.mark.parametrize("cell", CELLS)
def test_the_released_tables_are_met(cell: str) -> None:
    graphs = json.loads((RELEASED / "graphs.json").read_text("utf-8"))[cell]
    rows = rows_of(cell)
    assert len(rows) == len(graphs) == 200
    for row in rows:
        released = graphs[f"{row['graph']}_{row['graph_nr']}"]
        graph: Any = nx.Graph()
        graph.add_nodes_from(released["nodes"])
        graph.add_edges_from(released["edges"])
        found = features(graph)
        assert list(row)[3:26] == list(found) == list(FEATURES)
        assert found == pytest.approx({name: float(row[name]) for name in FEATURES}, rel=0, abs=1e-9)


def test_a_path_of_three_vertices_by_hand() -> None:
    found = features(nx.path_graph(3))
    # Distances 1, 1, 2; degrees 1, 2, 1; all one shortest path between the ends leads through the middle.
    # Each edge serves two of three pairs.
    assert found == pytest.approx({
        "layers": 3, "nodes": 3, "edges": 2, "source_nodes": 1, "sink_nodes": 1, "diameter": 2,
        "density": 2 / 6, "average_shortest_path_length": 4 / 3,
        "eccentricity_mean": 5 / 3, "eccentricity_var": 1 / 3, "eccentricity_std": 3**-0.5,
        "degree_mean": 2 / 3, "degree_var": 1 / 12, "degree_std": 12**-0.5,
        "closeness_mean": 7 / 9, "closeness_var": 1 / 27, "closeness_std": 27**-0.5,
        "nodes_betweenness_mean": 1 / 3, "nodes_betweenness_var": 1 / 3, "nodes_betweenness_std": 3**-0.5,
        "edge_betweenness_mean": 2 / 3, "edge_betweenness_var": 0.0, "edge_betweenness_std": 0.0,
    })  # fmt: skip


def test_two_vertices_and_a_square() -> None:
    pair = features(nx.path_graph(2))
    assert (pair["edge_betweenness_mean"], pair["edge_betweenness_var"], pair["density"]) == (1.0, 0.0, 0.5)
    square = features(nx.Graph([(0, 1), (0, 2), (1, 3), (2, 3)]))
    # Opposite vertices share two shortest paths: half of one pair of three lies between each.
    assert square["nodes_betweenness_mean"] == pytest.approx(1 / 6)
    assert square["edge_betweenness_mean"] == pytest.approx(2 / 6)
    assert (square["layers"], square["source_nodes"], square["sink_nodes"]) == (3, 1, 1)


def test_the_last_layer_is_not_all_dead_ends() -> None:
    found = features(nx.DiGraph([(0, 1), (1, 2), (0, 3)]))  # 3 is a dead end in the second layer
    assert (found["source_nodes"], found["sink_nodes"], found["layers"]) == (1, 1, 3)


def test_two_sources_in_the_worked_example() -> None:
    found = features(nx.DiGraph([(0, 2), (1, 2), (1, 3), (2, 3), (2, 4), (3, 4)]))
    assert (found["source_nodes"], found["sink_nodes"], found["layers"]) == (2, 1, 4)


@pytest.mark.parametrize("seed", range(6))
def test_networkx_agrees(seed: int) -> None:
    graph = watts_strogatz(30, 6, seed=seed) if seed % 2 else barabasi_albert(35, 3, seed=seed)
    found, size = features(graph), graph.number_of_nodes()
    mean: dict[str, Any] = {
        "eccentricity": nx.eccentricity(graph),
        "degree": nx.degree_centrality(graph),
        "closeness": nx.closeness_centrality(graph),
        "nodes_betweenness": nx.betweenness_centrality(graph),
        "edge_betweenness": nx.edge_betweenness_centrality(graph),
    }
    for name, by_vertex in mean.items():
        values = list(by_vertex.values())
        average = sum(values) / len(values)
        variance = sum((value - average) ** 2 for value in values) / (len(values) - 1)
        assert found[f"{name}_mean"] == pytest.approx(average, abs=1e-12)
        assert found[f"{name}_var"] == pytest.approx(variance, abs=1e-12)
        assert found[f"{name}_std"] == pytest.approx(variance**0.5, abs=1e-12)
    assert found["average_shortest_path_length"] == pytest.approx(nx.average_shortest_path_length(graph))
    assert found["density"] == pytest.approx(nx.density(graph) / 2) == pytest.approx(usual_density(graph) / 2)
    assert found["density"] == pytest.approx(usual_density(layered(graph).graph))
    assert found["diameter"] == nx.diameter(graph) and found["nodes"] == size


def test_weights_of_edges_do_not_count() -> None:
    graph = watts_strogatz(12, 4, seed=1)
    heavy = graph.copy()
    nx.set_edge_attributes(heavy, dict.fromkeys(heavy.edges, 0.0), "weight")
    assert features(heavy) == features(graph)


def test_every_property_has_its_convention() -> None:
    assert len(FEATURES) == 23
    assert {name.removesuffix("_mean").removesuffix("_var").removesuffix("_std") for name in FEATURES} == set(
        CONVENTIONS
    )


def test_layers_of_a_dense_network() -> None:
    found = features(from_sizes([4, 3, 2]))
    assert (found["layers"], found["edges"], found["source_nodes"], found["sink_nodes"]) == (3, 18, 4, 2)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (nx.Graph([(0, 1), (2, 2), (1, 2)]), "1 self-loops, the first at vertex 2"),
        (nx.Graph([(0, 1), (2, 3)]), "2 components"),
        (nx.DiGraph([(0, 1), (1, 2), (2, 0)]), "cycle, 0 -> 1 -> 2 -> 0"),
        (nx.MultiGraph([(0, 1), (0, 1)]), "without parallel edges"),
        (nx.empty_graph(1), "1 vertices: at least 2"),
        ([(0, 1)], "a list was given"),
        (nx.Graph([(0, "a")]), "must have an order"),
    ],
)
def test_graphs_that_cannot_be_used(graph: Any, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        features(graph)


def test_an_isolated_vertex_is_named() -> None:
    graph = nx.path_graph(3)
    graph.add_node("far")
    with pytest.raises(GraphError, match="1 isolated vertices, the first is 'far'"):
        features(graph)

from pathlib import Path
from typing import Any

import networkx as nx
import pytest

from bayesprune.errors import GraphError, StoreError
from bayesprune.graphs import (
    communities,
    degree_distribution,
    from_sizes,
    layered,
    motifs,
    random_layers_of_equal_degrees,
    random_of_equal_degrees,
    read_graphml,
    small_world,
    study_graph,
    watts_strogatz,
    write_graphml,
)


def test_degrees() -> None:
    star: Any = nx.star_graph(4)
    assert degree_distribution(star) == {1: 4, 4: 1}
    assert degree_distribution(layered(star).graph, "in") == {0: 1, 1: 4}
    assert degree_distribution(layered(star).graph, "out") == {0: 4, 4: 1}
    with pytest.raises(GraphError, match="degrees 'in'"):
        degree_distribution(star, "in")


def test_two_cliques_are_two_communities() -> None:
    graph = nx.disjoint_union(nx.complete_graph(5), nx.complete_graph(6))
    graph.add_edge(0, 10)
    found = communities(graph)
    assert [len(one) for one in found.members] == [6, 5]
    # 25 of 26 edges lie within; the cliques have 21 and 31 of 52 ends of edges.
    assert found.modularity == pytest.approx(25 / 26 - (21 / 52) ** 2 - (31 / 52) ** 2)
    with pytest.raises(GraphError, match="no edges"):
        communities(nx.empty_graph(3))


@pytest.mark.parametrize("seed", range(4))
def test_motifs_are_those_of_the_triadic_census(seed: int) -> None:
    graph = layered(study_graph("watts-strogatz", seed, vertices=25)).graph
    found, census = motifs(graph), nx.triadic_census(graph)
    assert (found["chain"], found["fan_out"], found["fan_in"], found["feed_forward"]) == (
        census["021C"], census["021D"], census["021U"], census["030T"],
    )  # fmt: skip
    pairs = [(a, b) for a in graph for b in graph if a < b]
    common = [len(set(graph[a]) & set(graph[b])) for a, b in pairs]
    assert found["bi_fan"] == sum(n * (n - 1) // 2 for n in common)


def test_undirected_motifs_by_hand() -> None:
    assert motifs(nx.complete_graph(4)) == {"path": 0, "triangle": 4, "square": 3}
    assert motifs(nx.complete_bipartite_graph(2, 3)) == {"path": 9, "triangle": 0, "square": 3}
    assert motifs(nx.star_graph(4)) == {"path": 6, "triangle": 0, "square": 0}


def test_a_little_rewired_ring_is_a_small_world() -> None:
    found = small_world(watts_strogatz(60, 6, rewire=0.05, seed=1), references=4)
    ring = small_world(watts_strogatz(60, 6, rewire=0.0, seed=1), references=2)
    uniform = small_world(watts_strogatz(60, 6, rewire=1.0, seed=1), references=4)
    assert ring.clustering == pytest.approx(0.6)  # 3 (k - 2) / (4 (k - 1)) of a ring with k = 6
    assert found.coefficient is not None and found.coefficient > 2
    assert uniform.coefficient is not None and 0.5 < uniform.coefficient < 2
    assert found.length < ring.length
    tree = small_world(nx.star_graph(5), references=1)
    assert tree.clustering == 0 and tree.coefficient is None
    with pytest.raises(GraphError, match="0 random graphs"):
        small_world(nx.star_graph(5), references=0)


def test_random_graphs_of_equal_degrees() -> None:
    graph = study_graph("barabasi-albert", 7, vertices=40)
    found = random_of_equal_degrees(graph, seed=3)
    assert dict(found.degree()) == dict(graph.degree())
    assert nx.is_connected(found)
    assert len({frozenset(e) for e in found.edges} & {frozenset(e) for e in graph.edges}) < graph.number_of_edges() / 2
    assert set(found.edges) == set(random_of_equal_degrees(graph, seed=3).edges)
    with pytest.raises(GraphError, match="none of 2 random graphs"):
        random_of_equal_degrees(nx.Graph([(0, 1), (2, 3)]), tries=2)  # two edges never make a connected graph of four
    with pytest.raises(GraphError, match="directed"):
        random_of_equal_degrees(nx.DiGraph([(0, 1)]))


def test_random_layers_keep_degrees_between_layers() -> None:
    graph = layered(study_graph("watts-strogatz", 2, vertices=45))
    found = random_layers_of_equal_degrees(graph, seed=1)
    for vertex in graph.graph:
        for neighbours in ("successors", "predecessors"):
            old, new = (
                sorted(graph.layer_of[other] for other in getattr(one, neighbours)(vertex))
                for one in (graph.graph, found)
            )
            assert old == new
    assert set(found.edges) != set(graph.graph.edges)
    full = from_sizes((3, 4, 2))
    assert set(random_layers_of_equal_degrees(full).edges) == set(full.graph.edges)  # nothing can be swapped
    with pytest.raises(GraphError, match="attribute 'layer'"):
        random_layers_of_equal_degrees(graph.graph)


def test_graphml_there_and_back(tmp_path: Path) -> None:
    graph = layered(study_graph("barabasi-albert", 1, vertices=20))
    path = write_graphml(graph, tmp_path / "new" / "graph.graphml")
    read = read_graphml(path)
    assert set(read.edges) == set(graph.graph.edges)
    assert dict(read.nodes(data="layer")) == graph.layer_of
    assert layered(read).layers == graph.layers
    named: Any = nx.DiGraph([("fc1", "fc2", {"weight": 0.5, "shape": (2, 3)})], name="net")
    back = read_graphml(write_graphml(named, tmp_path / "named.graphml"))
    assert back.edges["fc1", "fc2"] == {"weight": 0.5, "shape": "(2, 3)"} and back.graph["name"] == "net"
    assert named.edges["fc1", "fc2"]["shape"] == (2, 3), "what was given stays as it is"


def test_files_that_are_no_graphs(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.graphml"
    with pytest.raises(StoreError, match="cannot be read"):
        read_graphml(wrong)
    for text in ("hello", "<a></a>", "<graphml", b"\xff\xfe".decode("latin-1")):
        wrong.write_bytes(text.encode("latin-1"))
        with pytest.raises(GraphError, match="holds no GraphML"):
            read_graphml(wrong)
    wrong.write_text('<!DOCTYPE x [<!ENTITY a "b">]><graphml/>')
    with pytest.raises(GraphError, match="entities"):
        read_graphml(wrong)
    with pytest.raises(StoreError, match="cannot be written"):
        write_graphml(nx.path_graph(2), tmp_path)

import networkx as nx
import pytest

from bayesprune.errors import GraphError, UnknownNameError
from bayesprune.graphs import FAMILIES, barabasi_albert, erdos_renyi, features, layered, study_graph, watts_strogatz


@pytest.mark.parametrize(("vertices", "edges"), [(27, 2), (10, 1), (50, 5), (4, 3)])
def test_barabasi_albert_begins_with_isolated_vertices(vertices: int, edges: int) -> None:
    graph = barabasi_albert(vertices, edges, seed=vertices)
    assert graph.number_of_edges() == edges * (vertices - edges)
    assert not any(graph.has_edge(a, b) for a in range(edges) for b in range(edges))
    assert all(sum(before < vertex for before in graph[vertex]) == edges for vertex in range(edges, vertices))
    assert features(graph)["source_nodes"] == edges


def test_the_graph_of_27_vertices_in_the_note() -> None:
    found = features(barabasi_albert(27, 2, seed=5))
    assert (found["edges"], found["source_nodes"]) == (50, 2)
    assert found["density"] == pytest.approx(0.0712, abs=5e-5)


def test_attachment_prefers_high_degrees() -> None:
    """With m = 1 after m + 1 vertices: the share of trees in which vertex 2 joins 0 or 1 is one half each; then 3 joins
    the vertex of degree 2 with probability 1/2 and each of the others with 1/4."""
    hub = 0
    for seed in range(2_000):
        graph = barabasi_albert(4, 1, seed=seed)
        (joined,) = (before for before in graph[3] if before < 3)
        hub += graph.degree(joined) == 3
    assert abs(hub / 2_000 - 0.5) < 4 * (0.25 / 2_000) ** 0.5


@pytest.mark.parametrize("rewire", [0.0, 0.3, 1.0])
def test_watts_strogatz_keeps_its_edges(rewire: float) -> None:
    graph = watts_strogatz(40, 8, rewire=rewire, seed=2)
    assert graph.number_of_edges() == 40 * 4
    assert min(degree for _, degree in graph.degree()) >= 4
    assert nx.is_connected(graph)
    lattice = nx.watts_strogatz_graph(40, 8, 0)
    kept = len({frozenset(edge) for edge in graph.edges} & {frozenset(edge) for edge in lattice.edges})
    assert kept == 160 if rewire == 0 else kept < 160 * (1 - 0.6 * rewire)


def test_erdos_renyi_has_the_edges_that_are_expected() -> None:
    counts = [erdos_renyi(30, 0.4, seed=seed).number_of_edges() for seed in range(100)]
    deviation = (435 * 0.4 * 0.6) ** 0.5
    assert abs(sum(counts) / 100 - 174) < 4 * deviation / 10
    assert nx.is_isomorphic(erdos_renyi(6, 1.0), nx.complete_graph(6))


@pytest.mark.parametrize("family", FAMILIES)
def test_graphs_of_the_study(family: str) -> None:
    sizes = set()
    for seed in range(25):
        graph = study_graph(family, seed)
        n, edges = graph.number_of_nodes(), graph.number_of_edges()
        sizes.add(n)
        assert 10 <= n <= 50 and len(layered(graph).layers) > 1
        if family == "barabasi-albert":
            assert edges == (n // 10) * (n - n // 10)
        if family == "watts-strogatz":
            assert edges == n * (n // 5 // 2)
    assert len(sizes) > 10
    assert set(study_graph(family, 3).edges) == set(study_graph(family, 3).edges) != set(study_graph(family, 4).edges)
    assert study_graph(family, 1, vertices=20).number_of_nodes() == 20


def test_numbers_without_a_graph_are_refused() -> None:
    for make in (
        lambda: barabasi_albert(5, 5),
        lambda: watts_strogatz(5, 1),
        lambda: watts_strogatz(5, 2, rewire=1.5),
        lambda: erdos_renyi(5, 0.0),
        lambda: study_graph("erdos-renyi", 0, vertices=9),
    ):
        with pytest.raises(GraphError, match="take"):
            make()
    with pytest.raises(GraphError, match="none of 3 graphs was connected"):
        erdos_renyi(100, 0.001, tries=3)
    with pytest.raises(UnknownNameError, match="did you mean 'erdos-renyi'"):
        study_graph("erdos", 0)

"""Names of random graphs."""

import pytest

from bayesprune.errors import BayespruneError, GraphError, UnknownNameError
from bayesprune.graphs import barabasi_albert, erdos_renyi, graph_name, named_graph, study_graph, watts_strogatz
from bayesprune.graphs.checks import Graph


@pytest.mark.parametrize(
    ("name", "graph"),
    [
        ("watts-strogatz:3", study_graph("watts-strogatz", 3)),
        ("barabasi-albert:7:vertices=12:edges=3", barabasi_albert(12, 3, seed=7)),
        ("watts-strogatz:1:rewire=0.5:vertices=10:neighbours=4", watts_strogatz(10, 4, rewire=0.5, seed=1)),
        ("erdos-renyi:2:vertices=9:probability=0.6", erdos_renyi(9, 0.6, seed=2)),
    ],
)
def test_a_name_is_what_the_generator_gives(name: str, graph: Graph) -> None:
    assert sorted(named_graph(name).edges) == sorted(graph.edges)


def test_names_are_written_as_they_are_read() -> None:
    name = graph_name("watts-strogatz", 5, {"rewire": 0.3, "vertices": 9, "neighbours": 2})
    assert name == "watts-strogatz:5:vertices=9:neighbours=2:rewire=0.3"
    assert sorted(named_graph(name).edges) == sorted(watts_strogatz(9, 2, rewire=0.3, seed=5).edges)


@pytest.mark.parametrize(
    ("name", "words", "error"),
    [
        ("watts-strogatz", "write a family and a seed", GraphError),
        ("watts-strogatz:x", "write a family and a seed", GraphError),
        ("watts:3", "did you mean 'watts-strogatz'", UnknownNameError),
        ("watts:3:vertices=9", "did you mean 'watts-strogatz'", UnknownNameError),
        ("barabasi-albert:3:vertices=9:neighbours=2", "there are edges, vertices", UnknownNameError),
        ("barabasi-albert:3:vertices=9", "lacks edges", GraphError),
        ("barabasi-albert:3:vertices=nine:edges=2", "'nine', where a number", GraphError),
        ("barabasi-albert:3:vertices=10000000:edges=4", "at most 10,000 vertices", GraphError),
        ("barabasi-albert:3:vertices=9:edges=9", "take 1 <= edges < vertices", GraphError),
    ],
)
def test_names_of_no_graph(name: str, words: str, error: type[BayespruneError]) -> None:
    with pytest.raises(error, match=words):
        named_graph(name)

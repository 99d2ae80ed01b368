"""Cell graphs against NetworkX: isomorphic ones are equal, and what leads nowhere is dropped."""

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayesprune.errors import BayespruneError, GraphError, UnknownNameError
from bayesprune.graphs import OPERATIONS, Cell
from bayesprune.graphs.checks import DiGraph

PAIRS = [(start, end) for end in range(1, 5) for start in range(end)]
EDGES = st.dictionaries(st.sampled_from(PAIRS), st.sampled_from(OPERATIONS[:3]))


def graph_of(edges: dict[tuple[int, int], str]) -> DiGraph:
    """As NetworkX has it, with input and output marked."""
    graph: DiGraph = nx.DiGraph()
    for (start, end), operation in edges.items():
        graph.add_edge(start, end, operation=operation)
    output = max((end for _, end in edges), default=0)
    for vertex in graph:
        graph.nodes[vertex]["role"] = {0: "in", output: "out"}.get(vertex, "")
    return graph


def alike(one: DiGraph, other: DiGraph) -> bool:
    return nx.is_isomorphic(one, other, lambda a, b: a["role"] == b["role"], lambda a, b: a == b)


@given(EDGES, EDGES)
def test_cells_are_equal_exactly_where_their_graphs_are(
    one: dict[tuple[int, int], str], other: dict[tuple[int, int], str]
) -> None:
    cells, graphs = [], []
    for edges in (one, other):
        graph = graph_of(edges)
        output = max((end for _, end in edges), default=0)
        if 0 not in graph or not nx.has_path(graph, 0, output):
            with pytest.raises(GraphError, match="no path"):
                Cell.of(edges)
            return
        used = (nx.descendants(graph, 0) | {0}) & (nx.ancestors(graph, output) | {output})
        graphs.append(graph.subgraph(used))
        cells.append(Cell.of(edges))
        assert alike(graphs[-1], graph_of(cells[-1].operations))
        assert Cell.read(str(cells[-1])) == cells[-1]
    assert (cells[0] == cells[1]) == alike(*graphs)


def test_renumbered_vertices_make_no_other_cell() -> None:
    one = Cell.read("0-1:conv3+0-2:conv1+1-3:skip+2-3:avg3")
    other = Cell.read("0-2:conv3+0-1:conv1+2-3:skip+1-3:avg3")
    assert one == other and hash(one) == hash(other) and str(one) == str(other)


def test_dead_ends_are_dropped_and_the_rest_is_renumbered() -> None:
    cell = Cell.read("0-1:conv3+0-2:skip+2-4:sep3+0-3:conv1")
    assert str(cell) == "0-1:skip+1-2:sep3" and cell.vertices == 3


@pytest.mark.parametrize(
    ("text", "words", "error"),
    [
        ("", "write each edge once", GraphError),
        ("0-1", "there are avg3", UnknownNameError),
        ("0-1:conv9", "there are avg3", UnknownNameError),
        ("1-0:skip", "from < to", GraphError),
        ("0-0:skip", "from < to", GraphError),
        ("0-7:skip", "from < to < 7", GraphError),
        ("a-1:skip", "write each edge once", GraphError),
        ("0-1:skip+0-1:conv3", "each edge once", GraphError),
        ("1-2:skip", "no path", GraphError),
    ],
)
def test_texts_that_are_no_cells(text: str, words: str, error: type[BayespruneError]) -> None:
    with pytest.raises(error, match=words):
        Cell.read(text)

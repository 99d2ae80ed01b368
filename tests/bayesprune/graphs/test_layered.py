from typing import Any

import networkx as nx
import numpy as np
import pytest

from bayesprune.errors import GraphError
from bayesprune.graphs import from_sizes, layered, study_graph


def test_the_worked_example_of_the_note() -> None:
    found = layered(nx.DiGraph([(0, 2), (1, 2), (1, 3), (2, 3), (2, 4), (3, 4)]))
    assert found.layer_of == {0: 0, 1: 0, 2: 1, 3: 2, 4: 3}
    assert found.layers == ((0, 1), (2,), (3,), (4,))
    assert found.skips == ((0, 2), (1, 3))
    assert found.blocks[0, 1].tolist() == [[True, True]]
    assert found.blocks[0, 2].tolist() == [[False, True]]


def test_undirected_edges_lead_from_low_to_high() -> None:
    graph: Any = nx.Graph([(3, 1), (2, 3), (1, 0), (0, 2)])
    assert set(layered(graph).graph.edges) == {(1, 3), (2, 3), (0, 1), (0, 2)}


@pytest.mark.parametrize("family", ["barabasi-albert", "watts-strogatz"])
@pytest.mark.parametrize("seed", range(4))
def test_layers_are_longest_paths(family: str, seed: int) -> None:
    found = layered(study_graph(family, seed))
    assert len(found.layers) == nx.dag_longest_path_length(found.graph) + 1
    assert sum(int(block.sum()) for block in found.blocks.values()) == found.graph.number_of_edges()
    for number in range(1, len(found.layers)):
        assert found.blocks[number - 1, number].any(axis=1).all(), "every unit reads the layer before"
    assert all(source < target for source, target in found.blocks)
    for (source, target), block in found.blocks.items():
        assert block.shape == (found.sizes[target], found.sizes[source])
        for i, j in np.argwhere(block):
            assert found.graph.has_edge(found.layers[source][j], found.layers[target][i])


def test_a_dense_network_has_full_blocks() -> None:
    found = from_sizes((3, 2, 4))
    assert found.sizes == (3, 2, 4) and found.skips == ()
    assert all(block.all() for block in found.blocks.values())
    assert layered(found.graph).layers == found.layers
    with pytest.raises(GraphError, match="two layers or more"):
        from_sizes([3])

"""Every genome that a space makes is a network, and its names and costs are right."""

from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesprune.errors import BayespruneError, SettingError, UnknownNameError
from bayesprune.evaluation.cost import cost
from bayesprune.experiments.search.genomes import CellGenome, GraphGenome
from bayesprune.experiments.search.spaces import CellSpace, GraphSpace
from bayesprune.graphs import FAMILIES, Cell, named_graph
from bayesprune.graphs.checks import DiGraph
from bayesprune.models import CellNet, GraphMLP
from bayesprune.run.networks import NetworkSpec

GRAPHS, CELLS = GraphSpace(vertices=(6, 14), widths=(1, 6)), CellSpace(vertices=5, widths=(1, 4))
SHAPE, CLASSES = (1, 8, 8), 3
SEEDS = st.integers(0, 10_000)
few = settings(max_examples=max(1, settings().max_examples // 4))


def family_of(space: Any, seed: int) -> list[Any]:
    """Two genomes, what becomes of one by three mutations, and a cross of both."""
    random = np.random.default_rng(seed)
    one, other = space.draw(random), space.draw(random)
    changed = space.mutate(space.mutate(space.mutate(one, random), random), random)
    return [one, other, changed, space.cross(changed, other, random)]


@few
@given(SEEDS)
def test_graph_genomes_are_connected_graphs_within_the_limits(seed: int) -> None:
    for genome in family_of(GRAPHS, seed):
        graph = named_graph(genome.network.removeprefix("graphmlp(graph=").removesuffix(")"))
        assert nx.is_connected(graph) and graph.number_of_nodes() == dict(genome.numbers)["vertices"]
        assert 6 <= graph.number_of_nodes() <= 14 and 1 <= genome.width <= 6 and genome.family in FAMILIES
        assert all(np.isfinite(value) for value in genome.properties(SHAPE, CLASSES).values())


@few
@given(SEEDS)
def test_cell_genomes_lead_from_input_to_output(seed: int) -> None:
    for genome in family_of(CELLS, seed):
        edges: DiGraph = nx.DiGraph(list(genome.cell.operations))
        output = genome.cell.vertices - 1
        assert 1 <= output <= 4 and 1 <= genome.width <= 4
        on_paths = (nx.descendants(edges, 0) | {0}) & (nx.ancestors(edges, output) | {output})
        assert on_paths == set(edges) == set(range(genome.cell.vertices))
        assert Cell.read(str(genome.cell)) == genome.cell
        assert all(np.isfinite(value) for value in genome.properties(SHAPE, CLASSES).values())


@pytest.mark.parametrize("space", [GRAPHS, CELLS])
def test_mutation_changes_and_all_draws_hang_on_the_generator_alone(space: Any) -> None:
    for seed in range(30):
        assert family_of(space, seed) == family_of(space, seed)
        one = space.draw(np.random.default_rng(seed))
        assert space.mutate(one, np.random.default_rng(seed)) != one


def test_in_a_space_of_one_genome_nothing_changes() -> None:
    space, random = CellSpace(vertices=2, operations=("skip",), widths=(2, 2)), np.random.default_rng(0)
    assert space.mutate(space.draw(random), random) == space.draw(random)


@pytest.mark.parametrize("space", [GRAPHS, CELLS])
def test_crossing_takes_genes_of_both_and_of_nobody_else(space: Any) -> None:
    for seed in range(20):
        random = np.random.default_rng(seed)
        one, other = space.draw(random), space.draw(random)
        child = space.cross(one, other, random)
        assert child.width in (one.width, other.width)
        if isinstance(child, GraphGenome):
            assert child.family == one.family
        else:
            assert {name for *_, name in child.cell.edges} <= {
                name for *_, name in (*one.cell.edges, *other.cell.edges)
            }


@pytest.mark.parametrize("space", [GRAPHS, CELLS, CellSpace(widths=(2, 3), cells=2, stages=2, stride=1)])
def test_costs_are_those_that_are_counted_operator_by_operator(space: Any) -> None:
    for seed in range(2):
        genome = space.draw(np.random.default_rng(seed))
        spec = NetworkSpec(genome.network, {"input_shape": SHAPE, "classes": CLASSES, "widths": [genome.width]})
        network = spec.build()
        assert isinstance(network, GraphMLP | CellNet)
        assert genome.macs(SHAPE, CLASSES) == cost(network, torch.zeros(1, *SHAPE)).macs


def test_properties_of_a_cell_by_hand() -> None:
    cell = Cell.read("0-1:conv3+0-2:skip+1-2:sep3+2-3:avg3+0-3:conv1")
    found = CellGenome(cell, 2).properties(SHAPE, CLASSES)
    assert (found["vertices"], found["edges"], found["edges with conv3"], found["edges with skip"]) == (4, 5, 1, 1)
    assert (found["convolutions on a path"], found["3x3 convolutions on a path"], found["shortcut"]) == (2, 2, 0)
    assert CellGenome(Cell.read("0-1:skip"), 1).properties(SHAPE, CLASSES)["shortcut"] == 1


@pytest.mark.parametrize(
    ("make", "words", "error"),
    [
        (lambda: GraphSpace(families=("watts",)), "watts-strogatz", UnknownNameError),
        (lambda: GraphSpace(families=()), "no families", SettingError),
        (lambda: GraphSpace(vertices=(2, 9)), "6 <=", SettingError),
        (lambda: GraphSpace(widths=(4, 2)), "widths from 4 to 2", SettingError),
        (lambda: CellSpace(operations=("conv5",)), "conv", UnknownNameError),
        (lambda: CellSpace(operations=()), "no operations", SettingError),
        (lambda: CellSpace(vertices=9), "vertices", SettingError),
        (lambda: CellSpace(widths=(0, 2)), "widths", SettingError),
    ],
)
def test_spaces_that_hold_nothing(make: Any, words: str, error: type[BayespruneError]) -> None:
    with pytest.raises(error, match=words):
        make()

"""Probabilities of labelled graphs, against all choices of the generators one by one, and against their draws."""

from collections import Counter, defaultdict
from itertools import combinations, permutations
from math import comb, exp, inf, log
from typing import Any

import networkx as nx
import numpy as np
import pytest

from bayesprune.errors import GraphError, UnknownNameError
from bayesprune.graphs import (
    barabasi_albert,
    connected_graphs,
    edges_of,
    erdos_renyi,
    graph_from_edges,
    log_probability,
    watts_strogatz,
)
from bayesprune.graphs.laws import graph_ways

Edges = frozenset[tuple[int, int]]


def all_connected(vertices: int) -> list[Edges]:
    """By NetworkX, one subset of the pairs after the other."""
    pairs = list(combinations(range(vertices), 2))
    found = []
    for chosen in range(2 ** len(pairs)):
        edges = frozenset(pair for place, pair in enumerate(pairs) if chosen >> place & 1)
        graph = nx.Graph(list(edges))
        if len(graph) == vertices and nx.is_connected(graph):
            found.append(edges)
    return found


def of_ring(vertices: int, neighbours: int, rewire: float) -> dict[Edges, float]:
    """Every end of the generator with its probability: the tree of all its choices, walked to each leaf."""
    ring = [(v, (v + s) % vertices) for s in range(1, neighbours // 2 + 1) for v in range(vertices)]
    found: defaultdict[Edges, float] = defaultdict(float)

    def walk(graph: dict[int, set[int]], step: int, probability: float) -> None:
        if probability == 0:
            return
        if step == len(ring):
            edges = frozenset((a, b) for a in graph for b in graph[a] if a < b)
            found[edges] += probability
            return
        u, v = ring[step]
        free = [w for w in range(vertices) if w != u and w not in graph[u]]
        walk(graph, step + 1, probability * (1 - rewire if free else 1.0))
        for w in free:
            new = {vertex: set(others) for vertex, others in graph.items()}
            new[u] -= {v}
            new[v] -= {u}
            new[u] |= {w}
            new[w] |= {u}
            walk(new, step + 1, probability * rewire / len(free))

    start: dict[int, set[int]] = {v: set() for v in range(vertices)}
    for u, v in ring:
        start[u].add(v)
        start[v].add(u)
    walk(start, 0, 1.0)
    whole = {edges: nx.Graph(list(edges)) for edges in found}
    kept = {edges: p for edges, p in found.items() if len(whole[edges]) == vertices and nx.is_connected(whole[edges])}
    total = sum(kept.values())
    return {edges: p / total for edges, p in kept.items()}


def by_growth(vertices: int, m: int) -> dict[Edges, float]:
    """Every end of preferential attachment, over all orders in which different targets can be drawn."""
    ends: dict[Edges, float] = {frozenset((v, m) for v in range(m)): 1.0}
    for new in range(m + 1, vertices):
        after: defaultdict[Edges, float] = defaultdict(float)
        for edges, probability in ends.items():
            degree = Counter(v for edge in edges for v in edge)
            for order in permutations(range(new), m):
                left, p = sum(degree.values()), probability
                for target in order:
                    p *= degree[target] / left
                    left -= degree[target]
                after[edges | {(target, new) for target in order}] += p
        ends = dict(after)
    return ends


def test_connected_graphs_are_those_of_networkx() -> None:
    for vertices in (2, 3, 4, 5):
        flags = connected_graphs(vertices)
        mine = {frozenset(graph_from_edges(row, vertices).edges) for row in flags}
        assert mine == set(all_connected(vertices)) and len(mine) == len(flags)
    assert len(connected_graphs(6)) == 26_704


def test_connected_graphs_are_counted_by_their_edges() -> None:
    """Trees by Cayley's formula, all together as in the encyclopedia of integer sequences (A001187)."""
    for vertices, total in ((6, 26_704), (7, 1_866_256), (8, 251_548_592), (9, 66_296_291_072)):
        connected = graph_ways(np.ones(comb(vertices, 2), np.bool_), vertices, "erdos-renyi").connected
        assert connected.sum() == total and connected[vertices - 1] == vertices ** (vertices - 2)
        assert connected[-2:].tolist() == [comb(vertices, 2), 1] and not connected[: vertices - 1].any()


@pytest.mark.parametrize("probability", [0.2, 0.7, 1.0])
def test_erdos_renyi_is_the_share_among_connected_graphs(probability: float) -> None:
    graphs = all_connected(5)
    plain = {g: probability ** len(g) * (1 - probability) ** (10 - len(g)) for g in graphs}
    total = sum(plain.values())
    for edges in graphs[::7]:
        found = log_probability(nx.Graph(sorted(edges)), "erdos-renyi", probability=probability)
        assert exp(found) == pytest.approx(plain[edges] / total, rel=1e-10, abs=1e-300)


@pytest.mark.parametrize(("vertices", "m"), [(5, 1), (5, 2), (6, 2), (6, 3), (5, 4)])
def test_barabasi_albert_is_the_sum_over_all_orders(vertices: int, m: int) -> None:
    ends = by_growth(vertices, m)
    assert sum(ends.values()) == pytest.approx(1)
    for edges, probability in ends.items():
        graph = nx.Graph(sorted(edges))
        assert exp(log_probability(graph, "barabasi-albert", edges=m)) == pytest.approx(probability, rel=1e-10)
    assert log_probability(nx.cycle_graph(vertices), "barabasi-albert", edges=vertices - 1) == -inf


@pytest.mark.parametrize(
    ("vertices", "neighbours", "rewire"),
    [(4, 2, 0.3), (4, 3, 1.0), (5, 2, 0.4), (5, 4, 0.5), (6, 2, 0.35), (6, 2, 1.0), (6, 4, 0.25)],
)
def test_watts_strogatz_is_the_sum_over_all_choices(vertices: int, neighbours: int, rewire: float) -> None:
    """6 vertices with 2 neighbours is the first ring of which a part can be cut off."""
    ends = of_ring(vertices, neighbours, rewire)
    graphs = list(ends) if len(ends) < 400 else list(ends)[::23]
    for edges in graphs:
        found = log_probability(nx.Graph(sorted(edges)), "watts-strogatz", neighbours=neighbours, rewire=rewire)
        assert exp(found) == pytest.approx(ends[edges], rel=1e-9)
    if vertices < 6:
        flags = connected_graphs(vertices)
        every = [graph_ways(row, vertices, "watts-strogatz", neighbours=neighbours).log_at(rewire) for row in flags]
        assert np.exp(every).sum() == pytest.approx(1) and int((np.array(every) > -inf).sum()) == len(ends)


@pytest.mark.parametrize(
    ("family", "parameters", "draw"),
    [
        ("erdos-renyi", {"probability": 0.4}, lambda seed: erdos_renyi(4, 0.4, seed=seed)),
        ("barabasi-albert", {"edges": 2}, lambda seed: barabasi_albert(5, 2, seed=seed)),
        ("watts-strogatz", {"neighbours": 2, "rewire": 0.5}, lambda seed: watts_strogatz(4, 2, rewire=0.5, seed=seed)),
    ],
)
def test_draws_are_as_frequent_as_they_are_probable(family: str, parameters: dict[str, float], draw: Any) -> None:
    """3,000 draws of the generators themselves: each graph within 5 standard errors, and none that is impossible."""
    size = 3_000
    counts = Counter(frozenset(draw(seed).edges) for seed in range(size))
    vertices = len(draw(0))
    total = 0.0
    for row in connected_graphs(vertices):
        graph = graph_from_edges(row, vertices)
        probability = exp(log_probability(graph, family, **parameters))
        spread = (size * probability * (1 - probability)) ** 0.5
        assert abs(counts.pop(frozenset(graph.edges), 0) - size * probability) <= 5 * spread + 1e-9
        total += probability
    assert not counts and total == pytest.approx(1)


def test_larger_graphs_have_probabilities_too() -> None:
    """Closed forms: a path of 20 vertices grown with m = 1, a ring that is never rewired, and a sure edge."""
    path = nx.path_graph(20)
    grown = sum(log(1 / (2 * v)) for v in range(1, 19))  # the last vertex has degree 1 of 2 v in all
    assert log_probability(path, "barabasi-albert", edges=1) == pytest.approx(grown)
    rare = log_probability(nx.complete_graph(20), "erdos-renyi", probability=1e-4)  # connected ones are trees, 20^18
    assert rare == pytest.approx(190 * log(1e-4) - (18 * log(20) + 19 * log(1e-4)), rel=1e-4)
    ring = watts_strogatz(9, 4, rewire=0.0)
    assert log_probability(ring, "watts-strogatz", neighbours=4, rewire=0.0) == pytest.approx(0)
    assert log_probability(nx.complete_graph(20), "erdos-renyi", probability=1.0) == pytest.approx(0)


@pytest.mark.parametrize(
    ("graph", "family", "parameters", "message"),
    [
        (nx.path_graph(4), "erdos-renyi", {"p": 0.5}, "erdos-renyi with p: it has probability"),
        (nx.path_graph(4), "watts-strogatz", {"rewire": 0.5}, "it has neighbours and rewire"),
        (nx.path_graph(4), "erdos-renyi", {"probability": 1.5}, "probabilities from 0 to 1"),
        (nx.path_graph(4), "erdos-renyi", {"probability": 0.0}, "one above 0"),
        (nx.path_graph(4), "barabasi-albert", {"edges": 1.5}, "whole numbers of edges"),
        (nx.path_graph(4), "barabasi-albert", {"edges": 4}, "take 1 <= edges < vertices"),
        (nx.path_graph(4), "watts-strogatz", {"neighbours": 4, "rewire": 0.5}, "take 2 <= neighbours < vertices"),
        (nx.path_graph(21), "erdos-renyi", {"probability": 0.5}, "21 vertices: 2 to 20"),
        (nx.DiGraph([(0, 1)]), "erdos-renyi", {"probability": 0.5}, "a DiGraph was given"),
        (nx.Graph([(0, 2)]), "erdos-renyi", {"probability": 0.5}, "the vertices are not 0 to 1"),
        (nx.Graph([(0, 1), (1, 1)]), "erdos-renyi", {"probability": 0.5}, "1 self-loops"),
        (nx.cycle_graph(12), "watts-strogatz", {"neighbours": 2, "rewire": 0.5}, "more than 300,000 ways"),
    ],
)
def test_what_has_no_probability(graph: Any, family: str, parameters: dict[str, float], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        log_probability(graph, family, **parameters)


def test_names_and_lists_that_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'erdos-renyi'"):
        log_probability(nx.path_graph(3), "erdos", probability=0.5)
    with pytest.raises(GraphError, match="7 vertices: 2 to 6"):
        connected_graphs(7)
    assert edges_of(nx.path_graph(3)).tolist() == [True, False, True]

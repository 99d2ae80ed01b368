"""Networks on random graphs as Pyro models, against `GraphMLP` and `GraphRNN` themselves and a posterior by hand."""

from itertools import combinations
from typing import Any, cast

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import Predictive, TraceEnum_ELBO, config_enumerate
from scipy.stats import multivariate_normal
from torch import Tensor
from torch.func import functional_call

from bayesprune.errors import GraphError, InputShapeError, SettingError
from bayesprune.graphs import LayeredGraph, connected_graphs, layered
from bayesprune.models import GaussianLikelihood, GraphMLP, GraphModel, GraphPrior, GraphRegression, GraphRNN, OneOf
from bayesprune.models.networks.vertex_weights import network_weights, vertex_shapes
from bayesprune.models.priors.graph_prior import layered_from

PATH_AND_SKIP = torch.tensor([1.0, 1, 0, 1, 0, 1])  # 0-1, 0-2, 1-2, 2-3


def two_classes(graph: LayeredGraph) -> GraphMLP:
    return GraphMLP(graph, "tanh", "pre", input_shape=(2,), classes=2)


def one_number(graph: LayeredGraph) -> GraphMLP:
    return GraphMLP(graph, "tanh", "pre", input_shape=(2,), classes=1)


def strings(graph: LayeredGraph) -> GraphRNN:
    return GraphRNN(graph, "gru", "pre", width=3, vocabulary=5, input_shape=(6,))


def drawn(shapes: dict[str, torch.Size], seed: int = 0) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=random) for name, shape in shapes.items()}


@pytest.mark.parametrize("seed", range(4))
def test_a_network_computes_what_its_vertices_say(seed: int) -> None:
    """Vertex after vertex in plain loops, from the weights by vertices and the graph alone."""
    rows = connected_graphs(5)
    row = torch.from_numpy(rows[np.random.default_rng(seed).integers(len(rows))]).float()
    graph = layered_from(row, 5)
    network = two_classes(graph)
    weights = drawn(vertex_shapes(network), seed)
    inputs = torch.randn(3, 2, generator=torch.Generator().manual_seed(9))
    said = functional_call(network, network_weights(network, weights), (inputs,))
    pairs = [pair for pair, there in zip(combinations(range(5), 2), row.tolist(), strict=True) if there]
    value: dict[int, Tensor] = {}
    for vertex in range(5):
        before = [low for low, high in pairs if high == vertex]
        total = weights["bias"][0, vertex].expand(3)
        if not before:
            total = total + inputs @ weights["input"][0, vertex]
        for low in before:
            total = total + value[low] * weights["edge"][0, vertex, low]
        value[vertex] = torch.tanh(total)
    last = graph.layers[-1]
    expected = weights["head_bias"] + sum(value[v][:, None] * weights["head"][None, :, v] for v in last)
    torch.testing.assert_close(said, expected)


@pytest.mark.parametrize("cell", ["tanh", "gru", "lstm"])
def test_a_recurrent_network_takes_every_weight_from_its_vertices(cell: str) -> None:
    """The worked example's graph; each entry of torch's matrices is the one of its gate and pair of vertices."""
    graph = layered_from(torch.tensor([0.0, 1, 0, 0, 1, 1, 0, 1, 1, 1]), 5)
    network = GraphRNN(graph, cell, "pre", width=3, vocabulary=5, input_shape=(6,))
    weights = drawn(vertex_shapes(network))
    found = network_weights(network, weights)
    assert {name: one.shape for name, one in found.items()} == {n: p.shape for n, p in network.named_parameters()}
    for number, rows in enumerate(graph.layers):
        columns = [v for source in network.sources[number] for v in graph.layers[source]]
        for gate in range(weights["bias"].shape[0]):
            for place, vertex in enumerate(rows):
                own = gate * len(rows) + place
                read = weights["input"][gate, vertex] if number == 0 else weights["edge"][gate, vertex, columns]
                assert torch.equal(found[f"layers.{number}.weight_ih"][own], read)
                assert torch.equal(
                    found[f"layers.{number}.weight_hh"][own], weights["around"][gate, vertex, list(rows)]
                )
                assert found[f"layers.{number}.bias_ih"][own] == weights["bias"][gate, vertex]
                assert found[f"layers.{number}.bias_hh"][own] == weights["bias_around"][gate, vertex]
    assert torch.equal(found["head.weight"], weights["head"][:, list(graph.layers[-1])])
    assert functional_call(network, found, (torch.randint(1, 5, (4, 6)),)).shape == (4, 2)


def test_draws_of_the_prior_have_one_shape_whatever_the_graph() -> None:
    pyro.set_rng_seed(0)
    inputs, tokens = torch.randn(7, 2), torch.randint(1, 5, (7, 6))
    for vertices, build, given in ((4, two_classes, inputs), (5, strings, tokens)):
        model = GraphModel(GraphPrior(vertices), build, 7)
        found = Predictive(model, num_samples=6)(given)
        assert len(found["graph"].reshape(6, -1).unique(dim=0)) > 2
        assert found["y"].shape == (6, 7) and set(found["y"].unique().tolist()) <= {0, 1}
        assert {name[2:]: one.shape[2:] for name, one in found.items() if name.startswith("w.")} == model.shapes
        pyro.set_rng_seed(5)
        first = Predictive(model, num_samples=3)(given)["y"]
        pyro.set_rng_seed(5)
        assert torch.equal(Predictive(model, num_samples=3)(given)["y"], first)  # networks that are ready or not
        again = Predictive(model, {name: one for name, one in found.items() if name != "y"})(given)
        assert again["y"].shape == (6, 7)
    assert list(pyro.get_param_store().keys()) == []


def test_pyro_sums_over_graphs_as_by_hand() -> None:
    """Weights held: log sum over 12 generators and 38 graphs of prior times likelihood of 7 classes."""
    prior = GraphPrior(4)
    model = GraphModel(prior, two_classes, 7, scale=2.0)
    weights = drawn(model.shapes, 3)
    inputs, labels = torch.randn(7, 2), torch.tensor([0, 1, 1, 0, 1, 0, 0])
    held = poutine.condition(model, {f"w.{name}": one for name, one in weights.items()})
    found = -TraceEnum_ELBO(max_plate_nesting=1).loss(config_enumerate(held), lambda *_: None, inputs, labels)
    logs = []
    graphs = torch.from_numpy(connected_graphs(4)).double()
    for row in graphs:
        network = two_classes(layered_from(row, 4))
        network.load_state_dict(network_weights(network, weights), strict=False)
        logs.append(-torch.nn.functional.cross_entropy(network(inputs), labels, reduction="sum").detach().double())
    nats = torch.stack(logs)
    joint = torch.stack([np.log(s.probability) + prior.log_probability(s, graphs) + nats for s in prior.settings()])
    of_weights = sum(torch.distributions.Normal(0.0, 2.0).log_prob(one).sum() for one in weights.values())
    assert found == pytest.approx(float(joint.logsumexp((0, 1)) + of_weights), abs=1e-3)


def test_a_likelihood_of_numbers_and_mini_batches() -> None:
    held = {"bias": torch.zeros(1, 4)}
    model = GraphModel(GraphPrior(4), one_number, 100, likelihood=GaussianLikelihood(0.5), weights=held)
    trace = poutine.trace(model).get_trace(torch.randn(10, 2), torch.zeros(10, 1))
    assert "w.bias" not in trace.nodes and trace.nodes["y"]["scale"] == 10.0
    torch.testing.assert_close(model.network(PATH_AND_SKIP).layers[1].mask, torch.ones(1, 1))


def test_the_evidence_of_a_regression_is_scipy_s() -> None:
    prior = GraphPrior(4)
    model = GraphRegression(prior, one_number, scale=0.7, noise=0.3, seed=4)
    random = np.random.default_rng(0)
    inputs, targets = torch.from_numpy(random.normal(size=(6, 2))), torch.from_numpy(random.normal(size=6))
    network = one_number(layered_from(PATH_AND_SKIP, 4)).double()
    own = network_weights(network, model.fixed)
    own |= {"head.weight": torch.eye(1).double(), "head.bias": torch.zeros(1).double()}
    units = functional_call(network, own, (inputs,)).detach().numpy()
    features = np.column_stack([units, np.ones(6)])
    truth = multivariate_normal(np.zeros(6), 0.49 * features @ features.T + 0.09 * np.eye(6)).logpdf(targets.numpy())
    assert float(model.log_evidence(inputs, targets, PATH_AND_SKIP)) == pytest.approx(truth, rel=1e-9)
    graphs = torch.from_numpy(connected_graphs(4)).double()
    evidence = model.log_evidence(inputs, targets, graphs)
    joint = torch.stack([np.log(s.probability) + prior.log_probability(s, graphs) + evidence for s in prior.settings()])
    program = config_enumerate(lambda: model(inputs, targets))
    found = -TraceEnum_ELBO(max_plate_nesting=0).loss(program, lambda: None)
    assert found == pytest.approx(float(joint.logsumexp((0, 1))), abs=1e-3)
    assert Predictive(model, num_samples=3)(inputs)["y"].shape == (3, 6)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: GraphModel(GraphPrior(4), GraphMLP, 5), SettingError, None),
        (lambda: GraphModel(GraphPrior(4), lambda g: GraphMLP(g, merge="post"), 5), GraphError, "merge is 'post'"),
        (
            lambda: GraphModel(GraphPrior(4), cast("Any", lambda g: torch.nn.Linear(2, 2)), 5),
            GraphError,
            "a Linear was given",
        ),
        (lambda: GraphModel(GraphPrior(4), two_classes, 5, scale=0), SettingError, "above 0"),
        (lambda: GraphModel(GraphPrior(4), two_classes, 5, scale={"around": 1.0}), SettingError, "no weights 'around'"),
        (lambda: GraphRegression(GraphPrior(4), two_classes), GraphError, "classes=1"),
        (lambda: GraphRegression(GraphPrior(4), one_number, noise=0), SettingError, "finite and above 0"),
        (lambda: vertex_shapes(two_classes(layered(_far()))), GraphError, "number them"),
        (
            lambda: network_weights(two_classes(layered_from(PATH_AND_SKIP, 4)), {"input": torch.ones(1, 4, 2)}),
            GraphError,
            "'edge' of vertices are missing",
        ),
        (
            lambda: GraphModel(GraphPrior(4), two_classes, 5).outputs(torch.ones(1, 2), torch.ones(3, 6), {}),
            SettingError,
            "in a plate",
        ),
        (
            lambda: GraphRegression(GraphPrior(4), one_number).log_evidence(
                torch.ones(3, 2), torch.ones(3, 1), PATH_AND_SKIP
            ),
            InputShapeError,
            "one number for each of 3 inputs",
        ),
    ],
)
def test_what_is_refused(make: Any, error: type[Exception], message: str | None) -> None:
    if message is None:  # the usual GraphMLP has merge "pre", and is taken
        assert make().shapes["input"] == (1, 4, 784)
        return
    with pytest.raises(error, match=message):
        make()


def _far() -> Any:
    import networkx as nx

    return nx.path_graph(range(3, 7))


def test_the_neighbours_may_be_fixed() -> None:
    prior = GraphPrior(4, ["watts-strogatz"], neighbours=OneOf([2]))
    assert [str(one) for one in prior.settings()][:2] == [
        "watts-strogatz neighbours=2 rewire=0",
        "watts-strogatz neighbours=2 rewire=0.25",
    ]

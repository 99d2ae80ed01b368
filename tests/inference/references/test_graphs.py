"""Posteriors of generators and graphs: summed by hand, by Pyro, and by a sampler whose law is that of the sum."""

from collections.abc import Callable
from itertools import combinations
from math import exp, log
from typing import Any

import arviz
import numpy as np
import pyro
import pytest
import torch
import xarray
from pyro import poutine
from pyro.infer import MCMC, NUTS, TraceEnum_ELBO, config_enumerate
from torch import Tensor

import bayesprune as bp
from bayesprune.errors import GraphError, SettingError
from bayesprune.graphs import connected_graphs, edges_of, graph_from_edges, layered, log_probability, watts_strogatz
from bayesprune.inference import ExactGraphs, GraphDraws, exact_graphs, sample_graphs
from bayesprune.models import GaussianLikelihood, GraphMLP, GraphModel, GraphPrior, GraphRegression, OneOf
from bayesprune.training import Progress

TRUE = torch.tensor([1.0, 0, 1, 1, 1, 1])
"""A ring of 4 vertices, with a chord."""


@pytest.fixture(scope="module")
def regression() -> GraphRegression:
    return GraphRegression(
        GraphPrior(4), lambda graph: GraphMLP(graph, "tanh", "pre", input_shape=(2,), classes=1), noise=0.1
    )


@pytest.fixture(scope="module")
def data(regression: GraphRegression) -> tuple[Tensor, Tensor]:
    """20 examples from a network on a graph of 5 edges."""
    pyro.set_rng_seed(0)
    inputs = torch.randn(20, 2, dtype=torch.float64)
    return inputs, regression.law(inputs, TRUE).sample().double()


@pytest.fixture(scope="module")
def likelihood(regression: GraphRegression, data: tuple[Tensor, Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda graphs: regression.log_evidence(*data, graphs)


@pytest.fixture(scope="module")
def exact(regression: GraphRegression, likelihood: Callable[[Tensor], Tensor]) -> ExactGraphs:
    return exact_graphs(regression.prior, likelihood)


def frequencies(draws: GraphDraws, graphs: Tensor) -> Tensor:
    """How often each of the graphs was drawn [S]."""
    return torch.stack([(draws.graphs == one.to(torch.uint8)).all(-1).double().mean() for one in graphs])


def variation(one: Tensor, other: Tensor) -> float:
    return 0.5 * float((one - other).abs().sum())


def test_observed_graphs_tell_their_generator() -> None:
    """Beside one `log_probability` after the other."""
    graphs = [watts_strogatz(6, 4, rewire=0.25, seed=seed) for seed in range(12)]
    prior = GraphPrior(
        6, ["watts-strogatz", "erdos-renyi"], neighbours=OneOf([4]), rewire=OneOf([0, 0.25, 1], [1, 2, 1])
    )
    found = exact_graphs(prior, observed=torch.stack([torch.from_numpy(edges_of(one)) for one in graphs]).float())
    logs = [
        log(0.5 * share) + sum(log_probability(g, "watts-strogatz", neighbours=4, rewire=x) for g in graphs)
        for x, share in ((0, 0.25), (0.25, 0.5), (1, 0.25))
    ] + [
        log(0.1) + sum(log_probability(g, "erdos-renyi", probability=x) for g in graphs)
        for x in (0.1, 0.3, 0.5, 0.7, 0.9)
    ]
    evidence = float(np.logaddexp.reduce(logs))
    assert found.log_evidence == pytest.approx(evidence, abs=1e-9)
    assert found.of_settings.tolist() == pytest.approx(np.exp(np.array(logs) - evidence).tolist(), abs=1e-9)
    assert found.marginal("family")["watts-strogatz"] > 0.99
    inside = np.exp(np.array(logs[:3]) - np.logaddexp.reduce(logs[:3]))
    assert list(found.marginal("rewire").values()) == pytest.approx(inside.tolist())
    assert "12 observed graphs of 6 vertices under 8 generators" in str(found)
    assert list(found.to_frame()["posterior"]) == found.of_settings.tolist()
    with pytest.raises(SettingError, match="were observed"):
        _ = found.of_graphs
    numbers, none = found.sample(200, seed=1)
    assert len(numbers) == 200 and len(none) == 0


def test_the_posterior_given_data_is_the_sum_by_hand(
    regression: GraphRegression, exact: ExactGraphs, likelihood: Callable[[Tensor], Tensor]
) -> None:
    rows = connected_graphs(4)
    evidence = likelihood(torch.from_numpy(rows).double()).tolist()
    total, joint = 0.0, {}
    for one in regression.prior.settings():
        for row, nats in zip(rows, evidence, strict=True):
            graph = graph_from_edges(row, 4)
            value = one.probability * np.exp(log_probability(graph, one.family, **one.parameters) + nats)
            joint[str(one), frozenset(graph.edges)] = value
            total += value
    assert exact.log_evidence == pytest.approx(log(total))
    for place, one in enumerate(exact.settings):
        share = sum(value for (name, _), value in joint.items() if name == str(one)) / total
        assert float(exact.of_settings[place]) == pytest.approx(share)
    for place, pair in enumerate(combinations(range(4), 2)):
        share = sum(value for (_, edges), value in joint.items() if pair in edges) / total
        assert float(exact.edges[place]) == pytest.approx(share)
    assert exact.of_graphs.sum() == pytest.approx(1) and "all 38 connected graphs of 4 vertices" in str(exact)


def test_pyro_infers_the_same_generators(
    regression: GraphRegression, data: tuple[Tensor, Tensor], exact: ExactGraphs
) -> None:
    """`TraceEnum_ELBO` sums over graphs; held at each generator it gives the joint law of generator and data."""

    def evidence(**held: Tensor) -> float:
        program = config_enumerate(poutine.condition(regression, held))
        return -TraceEnum_ELBO(max_plate_nesting=0).loss(program, lambda *_: None, *data)

    assert evidence() == pytest.approx(exact.log_evidence, abs=1e-3)
    families = regression.prior.families
    for place in (0, 3, 9):
        one = exact.settings[place]
        held = {name: torch.tensor(value) for name, value in one.parameters.items()}
        own = evidence(family=torch.tensor(families.index(one.family)), **held)
        assert exp(own - exact.log_evidence) == pytest.approx(float(exact.of_settings[place]), abs=1e-3)


def test_the_sampler_draws_from_the_posterior(
    regression: GraphRegression, likelihood: Callable[[Tensor], Tensor], exact: ExactGraphs
) -> None:
    """Some 2,500 effective draws over 38 graphs: a total variation of about 0.035 is expected by chance alone."""
    steps: list[Progress] = []
    draws = sample_graphs(regression.prior, likelihood, 1_000, warm_up=20, progress=steps.append)
    assert variation(frequencies(draws, exact.graphs), exact.of_graphs) < 0.06
    assert variation(draws.settings_probability, exact.of_settings) < 0.03
    assert float(draws.r_hat.max()) < 1.03 and float(draws.effective_draws.min()) > 1_000
    assert len(steps) == 4 and "4 chains of 1,000 graphs of 4 vertices" in str(draws)
    again = sample_graphs(regression.prior, likelihood, 20, warm_up=3, chains=2, seed=5)
    same = sample_graphs(regression.prior, likelihood, 20, warm_up=3, chains=2, seed=5)
    assert torch.equal(again.graphs, same.graphs) and torch.equal(again.setting, same.setting)


@pytest.mark.long
def test_the_sampler_s_law_is_that_of_the_sum(
    regression: GraphRegression, likelihood: Callable[[Tensor], Tensor], exact: ExactGraphs
) -> None:
    """64,000 draws, over 40,000 of them effective: about 0.009 is expected by chance alone."""
    draws = sample_graphs(regression.prior, likelihood, 16_000, seed=1)
    assert variation(frequencies(draws, exact.graphs), exact.of_graphs) < 0.02
    assert variation(draws.settings_probability, exact.of_settings) < 0.02
    drawn = torch.bincount(draws.setting.flatten(), minlength=len(exact.settings)) / draws.setting.numel()
    assert variation(drawn, exact.of_settings) < 0.02


def test_families_that_allow_no_flip_are_sampled_too() -> None:
    """Without data, Barabasi-Albert with m = 2 alone: 5 vertices, as the growth itself says."""
    prior = GraphPrior(5, ["barabasi-albert"], edges=OneOf([2]))
    draws = sample_graphs(prior, lambda graphs: torch.zeros(len(graphs)), 500, chains=2, warm_up=10, steps=5)
    exact = exact_graphs(prior, lambda graphs: torch.zeros(len(graphs)))
    assert variation(frequencies(draws, exact.graphs), exact.of_graphs) < 0.15
    assert (draws.graphs.sum(-1) == 6).all() and draws.accepted["flip"] == 0 and draws.accepted["fresh"] > 0.5


def test_masks_alone_are_data_too() -> None:
    """The masks of a network do not say which vertex is which: the sum goes over all graphs that have these masks."""
    prior = GraphPrior(4)
    seen = layered(graph_from_edges(TRUE.bool().tolist(), 4))

    def same(row: Tensor) -> bool:
        one = layered(graph_from_edges(row.bool().tolist(), 4))
        if one.sizes != seen.sizes or set(one.blocks) != set(seen.blocks):
            return False
        return all((one.blocks[key] == block).all() for key, block in seen.blocks.items())

    found = exact_graphs(prior, lambda graphs: torch.tensor([0.0 if same(row) else -torch.inf for row in graphs]))
    possible = found.graphs[found.of_graphs > 0]
    assert 1 <= len(possible) < 38 and any(torch.equal(row, TRUE.double()) for row in possible)
    assert found.of_graphs[found.of_graphs > 0].sum() == pytest.approx(1)


@pytest.mark.long
def test_nuts_over_the_head_with_graphs_summed_out_gives_the_same_posterior() -> None:
    """Pyro's NUTS draws the head's weights that the evidence integrates out, and sums over generators and graphs."""
    prior = GraphPrior(4, ["erdos-renyi"], probability=OneOf([0.3, 0.9]))
    build = lambda graph: GraphMLP(graph, "tanh", "pre", input_shape=(2,), classes=1)  # noqa: E731
    closed = GraphRegression(prior, build, noise=0.5, seed=2)
    pyro.set_rng_seed(4)
    inputs = torch.randn(12, 2)
    targets = closed.law(inputs, TRUE).sample()
    exact = exact_graphs(prior, lambda graphs: closed.log_evidence(inputs, targets, graphs))
    held = {name: closed.fixed[name].float() for name in ("input", "edge", "bias")}
    model = GraphModel(prior, build, 12, weights=held, likelihood=GaussianLikelihood(0.5))
    chain = MCMC(NUTS(model, max_plate_nesting=1, max_tree_depth=3), 100, 40, disable_progbar=True)
    chain.run(inputs, targets[:, None])
    heads = {name: one for name, one in chain.get_samples().items() if name.startswith("w.")}
    given = torch.stack(
        [_given(model, inputs, targets, {n[2:]: one[row] for n, one in heads.items()}) for row in range(100)]
    )
    found = given.mean(0)
    error = given.std(0) / 25**0.5  # at least 25 effective draws
    assert bool(((found - exact.edges).abs() < 4 * error + 0.01).all()) and float(error.max()) < 0.06


def _given(model: GraphModel, inputs: Tensor, targets: Tensor, head: dict[str, Tensor]) -> Tensor:
    """p(edge | head, data) [6]."""

    def nats(graphs: Tensor) -> Tensor:
        said = torch.stack([model.outputs(inputs, row, model.fixed | head)[:, 0] for row in graphs])
        return torch.distributions.Normal(said, 0.5).log_prob(targets).sum(1).double()

    return exact_graphs(model.prior, nats).edges


def test_draws_are_a_tree_that_arviz_reads(regression: GraphRegression, likelihood: Callable[[Tensor], Tensor]) -> None:
    draws = sample_graphs(regression.prior, likelihood, 30, chains=2, warm_up=5)
    tree = draws.to_datatree()
    assert isinstance(tree, xarray.DataTree)
    posterior = tree["posterior"].to_dataset()
    assert posterior["graph"].sizes == {"chain": 2, "draw": 30, "edge": 6}
    assert posterior["edge"].to_numpy().tolist() == ["0-1", "0-2", "0-3", "1-2", "1-3", "2-3"]
    assert (posterior["edges_there"] == posterior["graph"].sum("edge")).all()
    rings = posterior["family"] == "watts-strogatz"
    assert bool((posterior["generator_rewire"].isnull() == ~rings).all()) and bool(rings.any())
    table = arviz.summary(bp.for_arviz(tree), var_names=["graph"])
    assert len(table) == 6 and tree["sample_stats"]["lp"].shape == (2, 30)


def test_what_is_refused(regression: GraphRegression, likelihood: Callable[[Tensor], Tensor]) -> None:
    prior = regression.prior
    ring = torch.from_numpy(edges_of(watts_strogatz(4, 2))).float()[None]
    both: dict[str, Any] = {"log_likelihood": likelihood, "observed": ring}
    for arguments in ({}, both):
        with pytest.raises(SettingError, match="give either"):
            exact_graphs(prior, **arguments)
    with pytest.raises(SettingError, match="must give 38 numbers"):
        exact_graphs(prior, lambda graphs: torch.zeros(3))
    with pytest.raises(SettingError, match="must give 38 numbers"):
        exact_graphs(prior, lambda graphs: torch.full((len(graphs),), torch.nan))
    with pytest.raises(SettingError, match="no generator of the prior"):
        exact_graphs(GraphPrior(4, ["barabasi-albert"], edges=OneOf([1])), observed=ring)
    with pytest.raises(GraphError, match="7 vertices: 2 to 6"):
        exact_graphs(GraphPrior(7, ["barabasi-albert"]), lambda graphs: torch.zeros(len(graphs)))
    with pytest.raises(SettingError, match="no parameter 'm'"):
        exact_graphs(prior, observed=ring).marginal("m")
    with pytest.raises(SettingError, match="draws"):
        sample_graphs(prior, likelihood, 0)
    with pytest.raises(SettingError, match="impossible under each of 1,000"):
        sample_graphs(prior, lambda graphs: torch.full((1,), -torch.inf), 5)

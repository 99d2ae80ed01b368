"""Graphs as sites of Pyro: what Pyro sums over generators and graphs is what adding up by hand gives."""

import math
from collections import Counter
from itertools import combinations
from math import exp, log
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import MCMC, NUTS, Predictive, TraceEnum_ELBO, config_enumerate, infer_discrete
from torch import Tensor

from bayesprune.errors import GraphError, SettingError, UnknownNameError
from bayesprune.graphs import barabasi_albert, edges_of, erdos_renyi, graph_from_edges, log_probability, watts_strogatz
from bayesprune.models import GraphPrior, OneOf, RandomGraph
from bayesprune.models.priors.graph_prior import layered_from


def flags(graphs: list[Any]) -> Tensor:
    return torch.stack([torch.tensor(edges_of(graph), dtype=torch.get_default_dtype()) for graph in graphs])


RINGS = flags([watts_strogatz(5, 2, rewire=0.5, seed=seed) for seed in range(4)])


def by_hand(prior: GraphPrior, observed: Tensor) -> dict[tuple[str, tuple[float, ...]], float]:
    """Log joint of every generator and the graphs, one `log_probability` after the other."""
    graphs = [graph_from_edges(row, prior.vertices) for row in observed.tolist()]
    grids: dict[str, list[dict[str, float]]] = {
        "barabasi-albert": [{"edges": m} for m in (1, 2)],
        "watts-strogatz": [{"neighbours": k, "rewire": x} for k in (2, 4) for x in (0, 0.25, 0.5, 0.75, 1)],
        "erdos-renyi": [{"probability": x} for x in (0.1, 0.3, 0.5, 0.7, 0.9)],
    }
    return {
        (family, tuple(told.values())): -log(3 * len(grid)) + sum(log_probability(g, family, **told) for g in graphs)
        for family, grid in grids.items()
        for told in grid
    }


def test_pyro_s_evidence_and_draws_of_generators_are_those_of_the_sum_by_hand() -> None:
    prior = GraphPrior(5)
    joint = by_hand(prior, RINGS)
    evidence = torch.tensor(list(joint.values()), dtype=torch.float64).logsumexp(0)
    model = config_enumerate(lambda: prior(RINGS))
    assert -TraceEnum_ELBO(max_plate_nesting=1).loss(model, lambda: None) == pytest.approx(float(evidence), abs=1e-4)
    settings = prior.settings()
    assert len(settings) == len(joint) and sum(one.probability for one in settings) == pytest.approx(1)
    for one in settings:
        own = log(one.probability) + float(prior.log_probability(one, RINGS).sum())
        assert own == pytest.approx(joint[one.family, tuple(one.parameters.values())], abs=1e-9)

    draws, counts = 150, Counter[tuple[str, float]]()
    posterior = {key: exp(value - float(evidence)) for key, value in joint.items()}
    inferred = infer_discrete(model, first_available_dim=-2)
    for _ in range(draws):
        sites = poutine.trace(inferred).get_trace().nodes
        family = prior.families[int(sites["family"]["value"])]
        counts[family, float(sites["rewire"]["value"])] += family == "watts-strogatz"
    for rewire in (0.0, 0.25, 0.5, 0.75, 1.0):
        share = sum(p for (family, told), p in posterior.items() if family == "watts-strogatz" and told[1] == rewire)
        spread = (share * (1 - share) / draws) ** 0.5
        assert abs(counts["watts-strogatz", rewire] / draws - share) <= 4 * spread + 1e-6


@pytest.mark.long
def test_a_continuous_rewiring_probability_by_nuts_is_that_of_quadrature() -> None:
    """Beta(1, 2) on it and four graphs; 150 draws with some 60 effective ones have a standard error of 0.013."""
    prior = GraphPrior(5, ["watts-strogatz"], neighbours=OneOf([2]), rewire=dist.Beta(1.0, 2.0))
    grid = torch.linspace(0.0005, 0.9995, 1000).double().tolist()
    graphs = [graph_from_edges(row, 5) for row in RINGS.tolist()]
    logs = torch.tensor([
        log(1 - x) + sum(log_probability(g, "watts-strogatz", neighbours=2, rewire=x) for g in graphs) for x in grid
    ])  # fmt: skip
    weights, places = logs.softmax(0).double(), torch.tensor(grid, dtype=torch.float64)
    mean = float((weights * places).sum())
    spread = float((weights * (places - mean) ** 2).sum()) ** 0.5
    pyro.set_rng_seed(0)
    chain = MCMC(NUTS(prior, max_plate_nesting=1), 150, 60, disable_progbar=True)
    chain.run(RINGS)
    drawn = chain.get_samples()["rewire"].double()
    assert float(drawn.mean()) == pytest.approx(mean, abs=4 * spread / 60**0.5)
    assert float(drawn.std()) == pytest.approx(spread, rel=0.4)


def test_all_graphs_together_have_probability_1_and_any_law_may_be_learnt() -> None:
    prior = GraphPrior(4)
    model = config_enumerate(prior)
    assert TraceEnum_ELBO(max_plate_nesting=0).loss(model, lambda: None) == pytest.approx(0, abs=1e-4)
    x = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    law = RandomGraph(4, ["erdos-renyi"], probability=x)
    every = law.enumerate_support()
    assert every.shape == (38, 6) and law.log_prob(every).exp().sum().item() == pytest.approx(1)
    (slope,) = torch.autograd.grad(law.log_prob(every)[-1], x)

    def complete(p: float) -> float:  # over the share of the 38 connected graphs
        return 6 * log(p) - log(16 * p**3 * (1 - p) ** 3 + 15 * p**4 * (1 - p) ** 2 + 6 * p**5 * (1 - p) + p**6)

    step = 1e-6
    rise = [complete(0.3 + d) for d in (-step, step)]
    assert float(slope) == pytest.approx((rise[1] - rise[0]) / (2 * step), rel=1e-5)


def test_impossible_graphs_have_no_gradient_that_is_nan() -> None:
    x = torch.tensor(0.4, requires_grad=True)
    law = RandomGraph(5, ["watts-strogatz"], neighbours=torch.tensor(2.0), rewire=x)
    found = law.log_prob(torch.stack([torch.ones(10), RINGS[0]]))
    assert found[0] == -torch.inf
    (slope,) = torch.autograd.grad(found[1], x)
    assert bool(slope.isfinite())


def test_the_prior_is_sampled_as_it_is_stated() -> None:
    pyro.set_rng_seed(1)
    prior = GraphPrior(6, {"barabasi-albert": 1, "erdos-renyi": 3}, edges=OneOf([1, 3], [0.2, 0.8]))
    found = Predictive(prior, num_samples=400)()
    assert found["graph"].shape == (400, 15) and found["family"].shape == (400,)
    assert float((found["family"] == 1).double().mean()) == pytest.approx(0.75, abs=0.09)
    assert float((found["edges"] == 3).double().mean()) == pytest.approx(0.8, abs=0.08)
    grown = found["graph"][(found["family"] == 0) & (found["edges"] == 3)]
    assert (grown.sum(1) == 9).all()
    assert all(layered_from(row, 6).sizes[0] == 3 for row in grown[:5])
    assert math.isfinite(float(poutine.trace(prior).get_trace().log_prob_sum()))


def test_sparse_graphs_are_drawn_though_few_are_connected() -> None:
    """At an edge probability of a millionth connected graphs are trees, all equally probable."""
    pyro.set_rng_seed(2)
    drawn = RandomGraph(8, ["erdos-renyi"], probability=torch.tensor(1e-6)).sample((300,))
    assert (drawn.sum(1) == 7).all()
    vertices = torch.tensor(list(combinations(range(8), 2)))
    ends = sum(int((torch.bincount(vertices[row.bool()].flatten()) == 1).sum()) for row in drawn)
    mean = 8 * (1 - 1 / 8) ** 6  # leaves of a uniform labelled tree
    assert ends / 300 == pytest.approx(mean, abs=5 * 1.1 / 300**0.5)
    dense = RandomGraph(4, ["erdos-renyi"], probability=torch.tensor([0.5, 1.0])).sample((50,))
    assert dense.shape == (50, 2, 6) and dense[:, 1].all() and not dense[:, 0].all()


def test_one_of_some_numbers() -> None:
    law = OneOf([0.5, 2, 3], [1, 1, 2])
    assert law.log_prob(torch.tensor([3.0, 0.5, 1.0])).exp().tolist() == [0.5, 0.25, 0.0]
    assert law.enumerate_support().tolist() == [0.5, 2, 3]
    assert law.expand([2]).sample((3,)).shape == (3, 2)
    assert law.expand([2]).enumerate_support().shape == (3, 2)
    torch.manual_seed(0)
    assert float((law.sample((2000,)) == 3).double().mean()) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: OneOf([]), SettingError, "one or more numbers"),
        (lambda: OneOf([1, 1]), SettingError, "finite and different"),
        (lambda: OneOf([1, 2], [-1, 2]), SettingError, "0 or more, and not all 0"),
        (lambda: OneOf([1, 2], [1]), SettingError, "a weight for each"),
        (lambda: GraphPrior(2), GraphError, "take 3 or more"),
        (lambda: GraphPrior(21), GraphError, "21 vertices: 2 to 20"),
        (lambda: GraphPrior(6, rewire=0.5), SettingError, r"for one number give OneOf\(\[0.5\]\)"),
        (lambda: GraphPrior(6, neighbours=OneOf([1])), GraphError, "neighbours can be 1, .* whole numbers from 2 to 5"),
        (lambda: GraphPrior(6, neighbours=OneOf([8])), GraphError, "neighbours can be 8"),
        (lambda: GraphPrior(6, edges=OneOf([9])), GraphError, "edges can be 9, .* whole numbers from 1 to 5"),
        (lambda: GraphPrior(6, edges=OneOf([1.5])), GraphError, "edges can be 1.5"),
        (lambda: GraphPrior(6, rewire=OneOf([2.0])), GraphError, "rewire can be 2, .* from 0 to 1"),
        (lambda: GraphPrior(6, probability=OneOf([0.0])), GraphError, "probability can be 0, .* above 0"),
        (lambda: GraphPrior(5, ["erdos"]), UnknownNameError, "did you mean 'erdos-renyi'"),
        (lambda: GraphPrior(5, []), SettingError, "name one or more"),
        (lambda: GraphPrior(5, {"erdos-renyi": -1}), SettingError, "weights of 0 or more"),
        (lambda: GraphPrior(5, ["erdos-renyi"], rewire=OneOf([0.5])), SettingError, "rewire is no parameter of erdos"),
        (lambda: GraphPrior(5, rewire=dist.Beta(1.0, 1.0)).settings(), SettingError, "law of rewire is a Beta"),
        (lambda: GraphPrior(5)(torch.ones(2, 6)), SettingError, r"give \[G, 10\] of 0 and 1"),
        (lambda: GraphPrior(5)(2 * torch.ones(2, 10)), SettingError, "of 0 and 1"),
        (lambda: RandomGraph(4, ["erdos-renyi"]), GraphError, "with no parameters: give probability"),
        (lambda: RandomGraph(4, ["small"], x=1.0), UnknownNameError, "small"),
        (lambda: RandomGraph(7, ["barabasi-albert"], edges=1.0).enumerate_support(), GraphError, "7 vertices: 2 to 6"),
        (lambda: RandomGraph(4, ["barabasi-albert"], edges=1.5).log_prob(torch.ones(6)), GraphError, "whole numbers"),
        (lambda: RandomGraph(4, ["erdos-renyi"], probability=1.5).log_prob(torch.ones(6)), GraphError, "beyond 0 to 1"),
    ],
)
def test_what_is_refused(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_graphs_of_one_generator_are_told_from_those_of_another() -> None:
    """20 graphs of each family: the posterior names it with more than 0.99."""
    for place, graphs in enumerate((
        [barabasi_albert(6, 2, seed=s) for s in range(20)],
        [watts_strogatz(6, 4, rewire=0.25, seed=s) for s in range(20)],
        [erdos_renyi(6, 0.5, seed=s) for s in range(20)],
    )):  # fmt: skip
        prior = GraphPrior(6, neighbours=OneOf([4]))
        seen = flags(graphs)
        logs = torch.stack([log(s.probability) + prior.log_probability(s, seen).sum() for s in prior.settings()])
        posterior = logs.softmax(0)
        own = [s.family == prior.families[place] for s in prior.settings()]
        assert float(posterior[torch.tensor(own)].sum()) > 0.99

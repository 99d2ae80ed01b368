"""What the objective is, and is not: the exact evidence of a small network, summed over all its gates."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from math import exp, expm1, log
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from bayesprune.models.priors.flattening import FlatteningHyperPrior

if TYPE_CHECKING:
    from tests.inference.conftest import Tiny

ALL = torch.tensor(list(product([0.0, 1.0], repeat=6)), dtype=torch.float64)


def mean_inclusion(log_gamma: float) -> float:
    """E[pi] under the hyper-prior, the probability that a gate is open before any data: 1/ln(gamma) - 1/(gamma - 1)."""
    return 1 / log_gamma - 1 / expm1(log_gamma)


@pytest.mark.parametrize("log_gamma", [0.5, 3.0, 8.0, 14.0])
def test_prior_log_odds_of_an_open_gate(log_gamma: float) -> None:
    """By numerical integration of pi p(pi); at a price of 14 nats they are -2.56, not -14."""
    pi = torch.linspace(-45.0, 0.0, 400_001, dtype=torch.float64).exp()  # the density lives near 0
    density = FlatteningHyperPrior(log_gamma=torch.tensor(log_gamma, dtype=torch.float64)).log_prob(pi).exp()
    assert float(torch.trapezoid(pi * density, pi)) == pytest.approx(mean_inclusion(log_gamma), rel=1e-5)
    if log_gamma == 14.0:
        assert log(mean_inclusion(14.0) / (1 - mean_inclusion(14.0))) == pytest.approx(-2.565, abs=1e-3)


def fitted(tiny: Callable[..., Tiny]) -> Tiny:
    """A network of six gates fitted to 40 examples, all gates nearly open."""
    case = tiny(theta=0.9, seed=6, examples=40)
    case = case._replace(labels=case.inputs[:, :3].argmax(1))
    parameters = list(case.model.network.parameters())
    optimizer = torch.optim.Adam(parameters, 0.02, weight_decay=0.01)
    for _ in range(400):
        optimizer.zero_grad()
        cross_entropy(case.model.network(case.inputs), case.labels).backward()
        optimizer.step()
    return case


@torch.no_grad()
def log_likelihoods(case: Tiny) -> Tensor:
    """log p(all labels | gates) for all 64 settings, the network written out."""
    network: Any = case.model.network
    rows = []
    for gates in ALL:
        hidden = network.fc1(case.inputs).relu() * gates[:3]
        logits = network.fc3(network.fc2(hidden).relu() * gates[3:])
        rows.append(-cross_entropy(logits, case.labels, reduction="sum"))
    return torch.stack(rows)


def test_the_objective_is_no_bound_on_the_evidence(tiny: Callable[..., Tiny]) -> None:
    """pi is a point: its density adds ln((gamma - 1)/ln(gamma)) nats a gate, and closes gates that are likely open."""
    price = 8.0
    case = fitted(tiny)
    likelihoods = log_likelihoods(case)
    prior = ALL @ torch.full((6,), log(mean_inclusion(price)), dtype=torch.float64)
    prior = prior + (1 - ALL) @ torch.full((6,), log(1 - mean_inclusion(price)), dtype=torch.float64)
    evidence = float(torch.logsumexp(likelihoods + prior, 0))
    constant = 6 * (log(price) - log(exp(price) - 1))
    objectives = -likelihoods + price * ALL.sum(1) + constant
    best = ALL[objectives.argmin()]
    open_probability = torch.softmax(likelihoods + prior, 0) @ ALL
    print(f"log evidence {evidence:.1f}, minus the least objective {-float(objectives.min()):.1f}")
    print(f"best vertex {best.int().tolist()}, probability of open {[round(float(p), 2) for p in open_probability]}")
    assert -float(objectives.min()) > evidence + 1.0
    assert bool((open_probability[best == 0] > 0.5).any())

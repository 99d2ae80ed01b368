"""The exact posterior of gates against a network written out by hand, single flips, and Gibbs draws."""

from itertools import product
from math import comb, exp, log
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

import bayesprune as bp
from bayesprune.data import Data
from bayesprune.errors import SettingError
from bayesprune.inference.references.exact import LARGEST, _long, passing
from bayesprune.inference.references.exact_gates import ExactGates, settings_of
from bayesprune.inference.references.log_priors import JointCost, joint_cost, log_prior_of, prior_log_odds
from bayesprune.models import LeNet5
from bayesprune.run.evidence import price_of
from bayesprune.run.pruned import Pruned
from bayesprune.structure import find
from bayesprune.training import Progress

QUICK: dict[str, Any] = {"epochs": 4, "batch_size": 40, "progress": False}
ALL = torch.tensor(list(product([0.0, 1.0], repeat=8)), dtype=torch.float64)
PASSES = (ALL[:, :4].sum(1) > 0) & (ALL[:, 4:].sum(1) > 0)


@pytest.fixture(scope="module")
def eight(small_data: Data) -> Pruned:
    """A perceptron 36-4-4-3 with gates on its hidden units."""
    settings = QUICK | {"epochs": 15, "precision": "float64"}
    return bp.prune("lenet300", small_data, "dense", widths=(4, 4), inputs="none", **settings)


@torch.no_grad()
def nats_by_hand(network: Any, data: Data) -> Tensor:
    """The negative log-likelihood of all training examples at each setting, the network written out."""
    inputs, labels = next(iter(data.train.batches(1000)))
    first = network.fc1(inputs.double().flatten(1)).relu()
    outputs = [network.fc3(network.fc2(first * gates[:4]).relu() * gates[4:]) for gates in ALL]
    return torch.stack([cross_entropy(one, labels, reduction="sum") for one in outputs])


@pytest.mark.parametrize(("pi", "price"), [("map", 2.0), ("marginal", 14.0)])
def test_posterior_and_evidence_are_those_by_hand(pi: str, price: float, eight: Pruned, small_data: Data) -> None:
    steps: list[Progress] = []
    found = eight.exact(price=price, pi=pi, progress=steps.append)
    odds = float(prior_log_odds(torch.tensor([price], dtype=torch.float64), pi))
    nats, opened = nats_by_hand(eight.network, small_data), ALL.sum(1)
    weights = {row: exp(odds * float(opened[row])) for row in range(256) if bool(PASSES[row])}
    mass = sum((comb(4, k) * exp(odds * k)) for k in range(1, 5)) ** 2  # of two groups of four, neither empty
    assert sum(weights.values()) == pytest.approx(mass)
    joint = torch.stack([log(weights[row] / mass) - nats[row] for row in weights])
    assert found.log_evidence == pytest.approx(float(joint.logsumexp(0)), rel=1e-12)
    truth = torch.zeros(256, dtype=torch.float64)
    truth[PASSES] = joint.softmax(0)
    torch.testing.assert_close(found.probability, truth, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.inclusion, truth @ ALL, rtol=1e-9, atol=1e-12)
    table = np.cov(ALL.numpy().T, aweights=truth.numpy(), bias=True)
    spread = np.sqrt(np.diag(table))
    torch.testing.assert_close(
        found.correlations, torch.from_numpy(table / np.outer(spread, spread)), rtol=1e-6, atol=1e-6
    )
    assert found.entropy == pytest.approx(-sum(p * log(p) for p in truth.tolist() if p > 0))
    order = truth.argsort(descending=True)[:3]
    for (setting, probability), row in zip(found.most_probable(3), order, strict=True):
        assert torch.equal(setting, ALL[row] > 0) and probability == pytest.approx(float(truth[row]))
    assert steps[-1].step == steps[-1].total == int(PASSES.sum()) == 225
    assert not any(module._forward_pre_hooks for module in eight.network.modules())


def test_evidence_is_the_difference_of_single_flips(eight: Pruned) -> None:
    """Evidence minus price is the log odds of a gate with all others open."""
    found, evidence = eight.exact(price=3.0), eight.evidence()
    every = found.log_posterior[255]
    for gate in range(8):
        flipped = found.log_posterior[255 - 2 ** (7 - gate)]
        assert float(every - flipped) == pytest.approx(float(evidence.evidence[gate]) - 3.0, abs=1e-8)


def test_draws_have_the_posterior_s_frequencies(eight: Pruned) -> None:
    found = eight.exact(price=2.0)
    draws = found.sample(20_000, seed=1)
    assert draws.shape == (1, 20_000, 8) and draws.dtype == torch.uint8
    error = (found.inclusion * (1 - found.inclusion) / 20_000).sqrt()
    assert bool(((draws[0].double().mean(0) - found.inclusion).abs() <= 5 * error + 1e-12).all())
    assert torch.equal(draws, found.sample(20_000, seed=1))


def test_a_sample_of_examples_is_scaled_up(eight: Pruned) -> None:
    part, again = eight.exact(price=1.0, examples=60), eight.exact(price=1.0, examples=60)
    assert (part.examples, part.size) == (60, 240) and torch.equal(part.nats, again.nats)
    assert float(part.nats[255]) == pytest.approx(float(eight.exact(price=1.0).nats[255]), rel=0.5)


def test_what_is_told(eight: Pruned) -> None:
    found = eight.exact(price=2.0)
    text = str(found)
    assert "all 256 settings of 8 gates" in text and "225 pass something on" in text and "fc1" in text
    frame = found.to_frame()
    assert list(frame.index) == found.names and (frame["prior_log_odds"] == -2).all()
    assert frame.loc["fc2[1]", "inclusion"] == float(found.inclusion[5])


def test_gates_that_never_vary_have_no_correlation() -> None:
    nats = torch.tensor([torch.inf, 1.0, torch.inf, 2.0], dtype=torch.float64)  # the second gate must be open
    gates = ExactGates(
        nats,
        torch.tensor([-torch.inf, -0.7, -torch.inf, -0.7]).double(),
        ("a", "a"),
        torch.arange(2),
        torch.zeros(2),
        1,
        1,
    )
    assert gates.correlations.isnan().tolist() == [[False, True], [True, True]]
    assert float(gates.inclusion[1]) == pytest.approx(1.0) and float(gates.inclusion[0]) == pytest.approx(
        1 / (1 + exp(1))
    )


def test_settings_are_numbered_as_binary_numbers() -> None:
    assert torch.equal(settings_of(torch.arange(256), 8), ALL)


@pytest.mark.parametrize("flatten", [False, True])
def test_what_passes_is_what_the_structure_says(flatten: bool) -> None:
    network = LeNet5((2, 2, 2), (1, 16, 16), 2)
    structure = find(network, torch.zeros(2, 1, 16, 16), inputs="none", flatten_inputs=flatten)
    opened = torch.rand(200, structure.gate_count, generator=torch.Generator().manual_seed(0)) < 0.4
    opened[0] = False
    assert passing(structure, opened).tolist() == [structure.passes_on(row) for row in opened]


def test_too_many_gates_are_refused_with_the_time_they_would_take(small_data: Data) -> None:
    pruned = bp.prune("lenet300", small_data, "dense", widths=(16, 14), inputs="none", **QUICK)
    with pytest.raises(SettingError, match=rf"30 gates have 2\^30.*about .* here .*at most {LARGEST} .*gibbs"):
        pruned.exact(price=1.0)


def test_times_in_words() -> None:
    assert _long(1e-3, 21) == "35 minutes" and _long(1e-3, 10) == "1 seconds" and _long(1e-3, 27) == "37 hours"
    assert _long(1e-3, 405) == "10^111 years"


def test_ctrl_c_leaves_the_network_as_it_was(eight: Pruned) -> None:
    def stop(now: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        eight.exact(price=1.0, progress=stop)
    assert not any(module._forward_pre_hooks for module in eight.network.modules())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "has no price a gate: give price="), ({"price": 1.0, "pi": "mode"}, "pi must be"),
        ({"price": "cheap"}, "price must be a finite"), ({"price": 1.0, "draws": 5}, "unknown setting 'draws'"),
        ({"price": 1.0, "examples": 9_999}, "more than the data"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(settings: dict[str, Any], message: str, eight: Pruned) -> None:
    with pytest.raises(SettingError, match=message):
        eight.exact(progress=False, **settings)


@pytest.fixture(scope="module")
def by_cost(small_data: Data) -> Pruned:
    """A small perceptron whose gates had prices by cost."""
    settings = QUICK | {"price": 2.0, "options": {"price_kind": "cost", "alpha": 0.5}}
    return bp.prune("lenet300", small_data, widths=(5, 4), inputs="none", **settings)


def test_prices_by_cost_are_taken_together(by_cost: Pruned) -> None:
    """The log prior against multiply-accumulates and parameters counted by hand."""
    prior = log_prior_of(by_cost, None, "map")
    assert isinstance(prior, JointCost)
    first, second = (len(by_cost.kept[name]) for name in ("fc1", "fc2"))
    macs, params = 36 * 5 + 5 * 4 + 4 * 3, 37 * 5 + 6 * 4 + 5 * 3

    def nats(one: int, two: int) -> float:
        share = (
            0.5 * (36 * one + one * two + 3 * two) / macs + 0.5 * (37 * one + (one + 1) * two + 3 * (two + 1)) / params
        )
        return 2.0 * 9 * share

    rows = torch.cat([torch.ones(1, first + second), torch.ones(1, first + second)]).double()
    rows[1, first:-1] = 0
    assert float(prior.of(rows)[1] - prior.of(rows)[0]) == pytest.approx(nats(first, second) - nats(first, 1), rel=1e-4)
    expected = nats(first, second) - nats(first - 1, second)
    assert prior.opening(rows[0], 0) == pytest.approx(-expected, rel=1e-4)
    single = price_of(by_cost)
    assert single is not None and prior.log_odds.tolist() == pytest.approx((-single).tolist(), rel=1e-4)


def test_gibbs_and_exact_share_the_joint_prior(by_cost: Pruned) -> None:
    truth = by_cost.exact()
    found = by_cost.gibbs(draws=150, chains=2, examples=truth.examples, progress=False)
    assert found.log_odds.tolist() == truth.log_odds.tolist()
    torch.testing.assert_close(found.inclusion, truth.inclusion, rtol=0, atol=0.15)


def test_equal_prices_are_not_joint(small_data: Data) -> None:
    pruned = bp.prune("lenet300", small_data, widths=(4, 4), price=1.0, inputs="none", **QUICK)
    assert joint_cost(pruned) is None
    assert pruned.exact().log_odds.tolist() == pytest.approx([-1.0] * pruned.structure.gate_count)

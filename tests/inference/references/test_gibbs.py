"""Gibbs draws of gates against the sum over all gates, and their prior odds against quadrature over pi."""

from copy import deepcopy
from itertools import product
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import bayesprune as bp
from bayesprune.data import Data
from bayesprune.errors import PruningWarning, SettingError, StoreError
from bayesprune.inference.references.gibbs import OfGates, model_of, sample, starts_of
from bayesprune.inference.references.gibbs_draws import GibbsDraws
from bayesprune.inference.references.log_priors import prior_log_odds
from bayesprune.models.priors.flattening import FlatteningHyperPrior
from bayesprune.run.arviz_view import for_arviz, import_arviz
from bayesprune.run.flipping import Flipping
from bayesprune.run.pruned import Pruned
from bayesprune.training import Progress

QUICK: dict[str, Any] = {"epochs": 4, "batch_size": 40, "progress": False}
ALL = torch.tensor(list(product([0.0, 1.0], repeat=8)))


@pytest.fixture(scope="module")
def eight(small_data: Data) -> Pruned:
    """A perceptron 36-4-4-3 with gates on its hidden units, of which some matter much and some little."""
    settings = QUICK | {"epochs": 15, "precision": "float64"}
    return bp.prune("lenet300", small_data, "dense", widths=(4, 4), inputs="none", **settings)


@torch.no_grad()
def nats_by_hand(pruned: Pruned, data: Data, settings: Tensor) -> Tensor:
    """The negative log-likelihood of all training examples at each setting of eight gates, the network written out."""
    network: Any = pruned.network
    inputs, labels = next(iter(data.train.batches(1000)))
    first = network.fc1(inputs.double().flatten(1)).relu()
    return torch.stack(
        [
            cross_entropy(
                network.fc3(network.fc2(first * gates[:4]).relu() * gates[4:]), labels, reduction="sum"
            )
            for gates in settings.double()
        ]
    )  # fmt: skip


def exact(nats: Tensor, log_odds: Tensor) -> Tensor:
    """p(z | w, data) [256] over all settings that leave each layer a unit."""
    passes = (ALL[:, :4].sum(1) > 0) & (ALL[:, 4:].sum(1) > 0)
    return torch.softmax((ALL.double() @ log_odds - nats).masked_fill(~passes, -torch.inf), 0)


def places(draws: Tensor) -> Tensor:
    """The row in ALL of every setting [..., 8]."""
    return (draws.long() * 2 ** torch.arange(7, -1, -1)).sum(-1)


@pytest.mark.parametrize(("pi", "price"), [("map", 2.0), ("marginal", 14.0)])
def test_draws_are_those_of_the_sum_over_all_gates(pi: str, price: float, eight: Pruned, small_data: Data) -> None:
    """Total variation below 0.02: so many draws of 225 settings, of which about 7 and 3 matter, come to about 0.012."""
    nats = nats_by_hand(eight, small_data, ALL)
    log_odds = prior_log_odds(torch.full((8,), price, dtype=torch.float64), pi)
    truth = exact(nats, log_odds)
    assert float((truth * -truth.clamp_min(1e-300).log()).sum()) > 1.0  # it is no point
    powers = 2.0 ** torch.arange(7, -1, -1)
    table, passes = nats.tolist(), [eight.structure.passes_on(row > 0) for row in ALL]
    draws = sample(
        OfGates(lambda gates: table[int(gates @ powers)]),
        log_odds, starts_of(eight.structure, 4), 4000, warm_up=50,
        allowed=lambda gates: passes[int(gates.to(powers) @ powers)],
    )  # fmt: skip
    found = places(draws).flatten().bincount(minlength=256) / (4 * 4000)
    assert 0.5 * float((found - truth).abs().sum()) < 0.02
    every = GibbsDraws.of(draws, eight.structure, log_odds, 240, 240)
    torch.testing.assert_close(every.inclusion, truth @ ALL.double(), rtol=0, atol=0.02)
    assert float(every.r_hat.nan_to_num(1.0).max()) < 1.01


@pytest.mark.parametrize("fast", [True, False])
def test_the_model_of_a_network_by_hand(fast: bool, eight: Pruned, small_data: Data) -> None:
    nats = nats_by_hand(eight, small_data, ALL)
    flipping = Flipping.of(eight, None, None, 0, fast=fast)
    with model_of(flipping) as model:
        for row in (255, 90, 18):
            assert model.at(ALL[row]) == pytest.approx(float(nats[row]), rel=1e-10)
            for gate in range(8):
                other = ALL[row].clone()
                other[gate] = 1 - other[gate]
                assert model.flipped(gate) == pytest.approx(float(nats[places(other)]), rel=1e-10)
    assert not any(module._forward_pre_hooks for module in eight.network.modules())


def test_a_run_s_own_sampler(eight: Pruned, small_data: Data) -> None:
    """The same chain as by hand: same seed, same odds; and nothing of the network changes."""
    before = deepcopy(eight.network.state_dict())
    steps: list[Progress] = []
    found = eight.gibbs(draws=20, chains=3, warm_up=3, price=6.0, seed=4, progress=steps.append)
    nats = nats_by_hand(eight, small_data, ALL)
    by_hand = sample(
        OfGates(lambda gates: float(nats[places(gates)])), torch.full((8,), -6.0, dtype=torch.float64),
        starts_of(eight.structure, 3, 4), 20, warm_up=3, seed=4, allowed=eight.structure.passes_on,
    )  # fmt: skip
    assert torch.equal(found.draws, by_hand) and found.draws.dtype == torch.uint8
    assert [step.step for step in steps] == list(range(1, 24)) and steps[-1].total == 23
    assert all(torch.equal(value, before[name]) for name, value in eight.network.state_dict().items())
    assert (found.examples, found.size) == (240, 240)
    assert found.names == [f"fc{1 + k // 4}[{k % 4}]" for k in range(8)]


def test_a_sample_of_examples_is_scaled_up(eight: Pruned) -> None:
    flipping = Flipping.of(eight, None, 60, 1)
    inputs, labels = next(iter(flipping.batches(1000)))
    with model_of(flipping) as model:
        expected = 240 * float(cross_entropy(eight.network(inputs), labels).detach())
        assert model.at(torch.ones(8)) == pytest.approx(expected, rel=1e-10)


def test_no_draw_is_of_a_network_that_passes_nothing(eight: Pruned) -> None:
    """At so high a price every setting wants to be empty: one unit is left in each layer, and changes place."""
    found = eight.gibbs(draws=60, price=1e6, progress=False)
    assert bool((found.draws[..., :4].sum(-1) == 1).all() and (found.draws[..., 4:].sum(-1) == 1).all())
    assert bool(all(eight.structure.passes_on(row > 0) for row in found.draws.flatten(0, 1)))


def test_starts_lie_apart_and_pass(eight: Pruned) -> None:
    starts = starts_of(eight.structure, 5)
    assert bool((starts[0] == 1).all()) and len({tuple(row.tolist()) for row in starts}) > 3
    assert all(eight.structure.passes_on(row > 0.5) for row in starts)


@pytest.mark.parametrize("price", [0.3, 4.0, 14.0, 60.0])
def test_marginal_odds_by_quadrature_over_pi(price: float) -> None:
    """E[pi], by integrating over log pi, where the density lives."""
    prior = FlatteningHyperPrior(log_gamma=torch.tensor(price, dtype=torch.float64))

    def moment(power: int, log_pi: float) -> float:
        density = float(prior.log_prob(torch.tensor(log_pi, dtype=torch.float64).exp()).exp())
        return density * np.exp((power + 1) * log_pi)

    mass, mean = (quad(lambda x, p=power: moment(p, x), -120, 0, limit=400)[0] for power in (0, 1))
    found = prior_log_odds(torch.tensor([price], dtype=torch.float64), "marginal")
    assert mass == pytest.approx(1, abs=1e-6)
    assert float(found) == pytest.approx(log(mean / (1 - mean)), abs=1e-6)
    assert float(prior_log_odds(torch.tensor([price]), "map")) == pytest.approx(-price)


def drawn(rows: Tensor) -> GibbsDraws:
    gates = rows.shape[-1]
    return GibbsDraws(rows.to(torch.uint8), ("a",) * gates, torch.arange(gates), torch.zeros(gates), 10, 10)


def test_gates_that_never_change_have_no_r_hat() -> None:
    rows = torch.rand(4, 500, 5, generator=torch.Generator().manual_seed(0)) < torch.tensor([0.5, 0.0, 1.1, 0.2, 0.5])
    rows[..., 4] = torch.tensor([0, 0, 1, 1]).bool()[:, None]
    found = drawn(rows)
    assert found.r_hat.isnan().tolist() == [False, True, True, False, False]
    assert float(found.r_hat[4]) == float("inf") and float(found.r_hat[[0, 3]].max()) < 1.02
    assert found.effective_draws.isnan().tolist() == [False, True, True, False, True]
    assert bool(((found.effective_draws[[0, 3]] > 1500) & (found.effective_draws[[0, 3]] < 2600)).all())
    assert "inf" in str(found) and "e+15" not in str(found)
    constant = str(drawn(torch.ones(2, 9, 3)))
    assert constant.splitlines()[2].split()[-2:] == ["-", "-"]


def test_the_tree_is_one_that_arviz_summarises(eight: Pruned) -> None:
    found = eight.gibbs(draws=30, chains=2, price=0.5, progress=False)
    tree = found.to_datatree()
    counts = tree["posterior"]["open_gates"].to_numpy()
    assert np.array_equal(counts, found.draws.reshape(2, 30, 2, 4).sum(-1).numpy())
    summary = import_arviz().summary(for_arviz(tree), var_names=["open_gates"], round_to="none")
    assert summary["mean"].to_numpy() == pytest.approx(counts.mean((0, 1)))
    frame = found.to_frame()
    assert frame.loc["fc2[1]", "inclusion"] == float(found.inclusion[5])
    assert (frame["prior_log_odds"] == -0.5).all()


def test_prices_of_the_run(small_data: Data, tmp_path: Path) -> None:
    pruned = bp.prune("lenet300", small_data, widths=(5, 4), price=1.5, inputs="none", **QUICK)
    found = pruned.gibbs(draws=4, chains=1, progress=False)
    assert found.log_odds.tolist() == pytest.approx([-1.5] * len(found.names))
    again = bp.load(pruned.save(tmp_path / "saved"))
    assert torch.equal(again.gibbs(small_data, draws=4, chains=1, progress=False).draws, found.draws)
    with pytest.raises(StoreError, match="give data as the first"):
        again.gibbs(progress=False)


def test_what_has_no_layer_to_replay_is_sampled_by_whole_passes(small_data: Data) -> None:
    class Branching(nn.Module):
        def __init__(self, classes: int = 3) -> None:
            super().__init__()
            self.fc, self.head = nn.Linear(36, 4), nn.Linear(4, classes)

        def forward(self, inputs: Tensor) -> Tensor:
            hidden = self.fc(inputs.flatten(1)).relu()
            outputs: Tensor = self.head(hidden if float(inputs.sum()) >= -1e9 else -hidden)
            return outputs

    pruned = bp.prune(Branching, small_data, "dense", inputs="none", **QUICK)
    assert not pruned.evidence().replayed
    assert pruned.gibbs(draws=5, chains=2, price=3.0, progress=False).draws.shape == (2, 5, 4)


def test_ctrl_c_keeps_what_is_there(eight: Pruned) -> None:
    def stop(now: Progress) -> None:
        if now.step == 7:
            raise KeyboardInterrupt

    with pytest.warns(PruningWarning, match="interrupted: 4 of 50 draws a chain are there"):
        found = eight.gibbs(draws=50, chains=2, warm_up=3, price=6.0, progress=stop)
    assert found.draws.shape == (2, 4, 8)
    with pytest.raises(KeyboardInterrupt):
        eight.gibbs(draws=50, chains=2, warm_up=30, price=6.0, progress=stop)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "run .dense. has no price a gate: give price="), ({"price": float("nan")}, "price must be a finite"),
        ({"price": "equal"}, "price must be a finite"), ({"price": 3.0, "draws": 3}, "draws must be an integer >= 4"),
        ({"price": 3.0, "chains": 0}, "chains must be an integer >= 1"), ({"price": 3.0, "seed": -1}, "seed must be"),
        ({"price": 3.0, "pi": "mode"}, "pi must be 'map' or 'marginal', not 'mode'"),
        ({"price": 3.0, "warm_up": -1}, "warm_up must be"), ({"price": 3.0, "examples": 1000}, "more than the data"),
        ({"price": 3.0, "draw": 9}, "unknown setting 'draw': did you mean 'draws'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(settings: dict[str, Any], message: str, eight: Pruned) -> None:
    with pytest.raises(SettingError, match=message):
        eight.gibbs(progress=False, **settings)


def test_starts_and_odds_that_do_not_fit() -> None:
    model, odds = OfGates(lambda gates: 0.0), torch.zeros(3)
    with pytest.raises(SettingError, match=r"starts \[2, 4\] must be \[chains, 3\]"):
        sample(model, odds, torch.ones(2, 4), 5)
    with pytest.raises(SettingError, match="log odds are NaN"):
        sample(model, odds * torch.nan, torch.ones(2, 3), 5)
    with pytest.raises(SettingError, match="start of chain 1 is a network of which a layer passes nothing"):
        sample(model, odds, torch.eye(3)[:2], 5, allowed=lambda gates: bool(gates[0]))

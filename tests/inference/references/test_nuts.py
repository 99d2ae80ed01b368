"""Draws of weights with gates summed out, against quadrature over the weights of a two-gate network."""

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import bayesprune as bp
from bayesprune.data import Data, from_tensors
from bayesprune.errors import PruningWarning, SettingError
from bayesprune.inference.references.nuts import SummedOut, draw_weights
from bayesprune.inference.references.nuts_draws import diagnostics
from bayesprune.run.pruned import Pruned
from bayesprune.structure import find
from bayesprune.tasks.likelihood import Categorical
from bayesprune.training import Progress

QUICK: dict[str, Any] = {"epochs": 3, "batch_size": 20, "progress": False}


class TwoWeights(nn.Module):
    """One rectified unit of two inputs without a bias; the outputs are its value and 0."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 1, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        value = torch.tanh(self.fc(inputs))
        return torch.cat([2 * value, torch.zeros_like(value)], 1)


def by_quadrature(inputs: Tensor, labels: Tensor, log_odds: float) -> tuple[np.ndarray, float]:
    """p(z | data) of the three settings that pass something, and E[w1], over a grid of both weights; N(0, 1) each."""
    grid = np.linspace(-6, 6, 241)
    one, two = np.meshgrid(grid, grid, indexing="ij")
    x, sign = inputs.numpy(), np.where(labels.numpy() == 0, 1.0, -1.0)
    prior = np.exp(-0.5 * (one**2 + two**2))
    masses, moment = [], 0.0
    for first, second in ((0, 1), (1, 0), (1, 1)):
        inner = first * one[..., None] * x[:, 0] + second * two[..., None] * x[:, 1]
        log_likelihood = -np.logaddexp(0, -sign * 2 * np.tanh(inner)).sum(-1)
        density = prior * np.exp(log_likelihood + log_odds * (first + second))
        masses.append(density.sum())
        moment += float((density * one).sum())
    total = sum(masses)
    return np.array(masses) / total, moment / total


def test_the_gates_marginal_is_that_of_quadrature() -> None:
    """2 chains of 250 draws: differences below 4 Monte Carlo standard errors, which are themselves below 0.03."""
    random = torch.Generator().manual_seed(3)
    inputs = torch.randn(12, 2, generator=random, dtype=torch.float64)
    labels = (inputs[:, 0] + 0.7 * torch.randn(12, generator=random, dtype=torch.float64) < 0).long()
    network = TwoWeights().double()
    structure = find(network, inputs, inputs="all")
    settings = torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    log_prior = (-0.5 * settings.sum(1)).log_softmax(0)
    starts = [{"fc.weight": torch.tensor([[a, b]], dtype=torch.float64)} for a, b in ((1, -1), (-1, 1))]
    model = SummedOut(network, structure, Categorical(), inputs, labels, settings, log_prior, 1.0)
    with model:
        chains, divergences, moved = draw_weights(model.potential, starts, 250, warm_up=60, seed=1)
        with torch.no_grad():
            joint = torch.stack([torch.stack([model.log_joint(one) for one in own]) for own in chains])
    truth, mean = by_quadrature(inputs, labels, -0.5)
    probability = joint.softmax(-1)
    weight = torch.stack([torch.stack([one["fc.weight"][0, :1] for one in own]) for own in chains])
    values = torch.cat([probability, weight], -1)
    r_hat, effective = diagnostics(values)
    error = values.flatten(0, 1).std(0) / effective.sqrt()
    expected = torch.tensor([*truth, mean])
    assert float(r_hat.max()) < 1.1 and float(error[:3].max()) < 0.03
    assert bool(((values.mean((0, 1)) - expected).abs() < 4 * error).all())
    assert sum(divergences) == 0 and all(0.6 < one <= 1 for one in moved)
    assert not any(module._forward_pre_hooks for module in network.modules())


@pytest.fixture(scope="module")
def few() -> Pruned:
    """A perceptron 3-2-2 with gates on its inputs, which has learnt a little from 40 examples."""
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 3)).astype(np.float32)
    y = (x[:, 0] + 0.3 * random.normal(size=60) > 0).astype(np.int64)
    data: Data = from_tensors(x[:40], y[:40], validation=(x[40:50], y[40:50]), test=(x[50:], y[50:]))
    return bp.prune("mlp", data, "dense", widths=(2,), inputs="all", keep=["fc1"], **QUICK)


def test_the_log_joint_is_that_of_the_exact_posterior(few: Pruned) -> None:
    """At the network's own weights p(z | w, data) is what looking at all settings gives, and so is the evidence."""
    exact = few.exact(price=1.0)
    draws = few.nuts(price=1.0, draws=4, chains=1, warm_up=0, progress=False)
    own = deepcopy(few)
    with torch.no_grad():
        for name, weight in own.network.named_parameters():
            weight.copy_(draws.weights[name][0, -1])
    moved = own.exact(price=1.0)
    torch.testing.assert_close(draws.inclusion_draws[0, -1], moved.inclusion, rtol=1e-4, atol=1e-5)
    assert float(draws.log_likelihood[0, -1]) == pytest.approx(moved.log_evidence, abs=1e-3)
    assert (draws.examples, draws.size, draws.slab) == (40, 40, 1.0)
    assert exact.names == draws.names and draws.weights["fc1.weight"].shape == (1, 4, 2, 3)


def test_what_is_told_and_repeated(few: Pruned) -> None:
    steps: list[Progress] = []
    settings: dict[str, Any] = {"price": 1.0, "draws": 6, "chains": 2, "warm_up": 3, "seed": 5}
    before = {name: weight.clone() for name, weight in few.network.state_dict().items()}
    draws = few.nuts(progress=steps.append, **settings)
    again = few.nuts(progress=False, **settings)
    assert torch.equal(draws.weights["fc1.weight"], again.weights["fc1.weight"])
    assert [step.step for step in steps] == list(range(1, 19)) and steps[-1].total == 18
    assert all(torch.equal(weight, before[name]) for name, weight in few.network.state_dict().items())
    text = str(draws)
    assert "2 chains of 6 draws" in text and "divergences" in text and "inputs[2]" in text
    assert list(draws.to_frame().index) == draws.names and len(draws.divergences) == 2


def test_ctrl_c_keeps_what_is_there(few: Pruned) -> None:
    def stop(now: Progress) -> None:
        if now.step == 7:
            raise KeyboardInterrupt

    with pytest.warns(PruningWarning, match="interrupted: 1 of 2 chains of 5 of 9 draws"):
        draws = few.nuts(price=1.0, draws=9, chains=2, warm_up=2, progress=stop)
    assert draws.probability.shape[:2] == (1, 5)
    with pytest.raises(KeyboardInterrupt):
        few.nuts(price=1.0, draws=9, chains=2, warm_up=20, progress=stop)
    assert not any(module._forward_pre_hooks for module in few.network.modules())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"price": 1.0, "draws": 3}, "draws must be an integer >= 4"), ({"price": 1.0, "chains": 0}, "chains must be"),
        ({"price": 1.0, "slab": -1.0}, "slab must be"), ({"price": 1.0, "deepest": 99}, "deepest must be"),
        ({}, "has no price a gate"), ({"price": 1.0, "depth": 3}, "unknown setting 'depth'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(settings: dict[str, Any], message: str, few: Pruned) -> None:
    with pytest.raises(SettingError, match=message):
        few.nuts(progress=False, **settings)


def test_more_than_eight_gates_are_refused(small_data: Data) -> None:
    pruned = bp.prune("lenet300", small_data, "dense", widths=(5, 4), inputs="none", **QUICK)
    with pytest.raises(SettingError, match=r"9 gates are left, and every gradient would look at 2\^9"):
        pruned.nuts(price=1.0)

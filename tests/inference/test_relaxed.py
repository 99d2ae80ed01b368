"""Relaxed gates: the law of the hard ones, the gradient of the soft ones, and the guide with a logit a gate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from math import log
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor

from bayesprune.errors import SettingError
from bayesprune.inference.relaxed import LogitGateGuide, RelaxedGates
from bayesprune.models.priors import NodeSpikeSlab, NodeSpikeSlabPosterior
from bayesprune.models.priors.gates import FixedGatePrior
from bayesprune.models.priors.weights import GaussianSlab

if TYPE_CHECKING:
    from tests.inference.conftest import Tiny

THETA = (0.02, 0.3, 0.5, 0.9, 0.0, 1.0)
WORTH = torch.tensor([3.0, -1.0, 2.0, 0.5, 4.0, 1.5], dtype=torch.float64)


class Linear:
    """A mini-batch of one example whose loss is worth . gates."""

    size, per_example = 1, True

    def __init__(self) -> None:
        self.gates: list[Tensor] = []

    def predict(self, gates: Tensor, rows: Tensor | None = None) -> Any:
        self.gates.append(gates.detach())
        return torch.distributions.Exponential((WORTH * gates).sum().exp().reshape(1))

    def labels(self, rows: Tensor | None = None) -> Tensor:
        return torch.zeros(1, dtype=torch.float64)  # log density: the logarithm of the rate

    @contextmanager
    def apart(self) -> Iterator[bool]:
        yield False


def test_hard_gates_are_open_with_their_probability_and_soft_ones_give_the_gradient() -> None:
    """The mean slope d soft/d theta is an integral over u, here a sum over 200,000 midpoints; -worth is the loss's."""
    temperature, draws, problem = 0.5, 6000, Linear()
    theta = torch.tensor(THETA, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(0)
    slopes = []
    for _ in range(draws):
        loss = RelaxedGates(temperature).loss(problem, theta)
        torch.testing.assert_close(loss, -(WORTH * problem.gates[-1]).sum())
        slopes.append(torch.autograd.grad(loss, theta)[0])
    opened, slope = torch.stack(problem.gates), torch.stack(slopes)
    assert set(opened.unique().tolist()) == {0.0, 1.0}
    error = (theta * (1 - theta) / draws).sqrt().detach()
    assert float(((opened.mean(0) - theta.detach()).abs() - 4 * error).max()) <= 0
    uniform = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    for place, chance in enumerate(THETA[:4]):
        soft = torch.sigmoid((log(chance / (1 - chance)) + uniform.log() - torch.log1p(-uniform)) / temperature)
        expected = -WORTH[place] * (soft * (1 - soft)).mean() / (temperature * chance * (1 - chance))
        spread = slope[:, place].std() / draws**0.5
        assert abs(float(slope[:, place].mean() - expected)) < 4 * float(spread)
    assert torch.equal(slope[:, 4:], torch.zeros(draws, 2).double())  # decided gates are left alone


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("inf"), float("nan")])
def test_temperature(temperature: float) -> None:
    with pytest.raises(SettingError, match="temperature must be a finite number > 0"):
        RelaxedGates(temperature)


def gated(tiny: Callable[..., Tiny], **settings: Any) -> Tiny:
    guide = partial(LogitGateGuide, start=0.5, kind="prior_when_closed", deviation=0.2, **settings)
    prior = FixedGatePrior(torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]).double())
    return tiny(guide=guide, weight_sites=True, gate_prior=prior, weight_prior=GaussianSlab(0.7))


def test_the_divergence_is_that_of_spike_and_slab_nodes_by_monte_carlo(tiny: Callable[..., Tiny]) -> None:
    """E_q[ln q(v) - ln p(v)] over whole nodes v = z w, densities against point mass plus Lebesgue measure."""
    case = gated(tiny)
    network, theta = case.model.network, case.guide.theta.detach()
    prior: Any = case.model.gate_prior
    penalty = case.guide.weight_penalty(case.guide.theta)
    assert penalty is not None
    total = (prior.penalty(theta).sum() + penalty).detach()
    torch.manual_seed(0)
    drawn = torch.zeros(40_000, dtype=torch.float64)
    whole = torch.ones(3).double()
    for layer, g, lam in (
        ("fc1", theta[:3], prior.inclusion[:3]), ("fc2", theta[3:], prior.inclusion[3:]), ("fc3", whole, whole)
    ):  # fmt: skip
        module: Any = network.get_submodule(layer)
        mean = torch.cat([module.weight, module.bias.unsqueeze(1)], 1).detach()
        q = NodeSpikeSlabPosterior(g, mean, torch.full_like(mean, 0.2))
        p = NodeSpikeSlab(lam, torch.tensor(0.7).double(), mean.shape[1])
        nodes = q.sample((len(drawn),))
        drawn += (q.log_prob(nodes) - p.log_prob(nodes)).sum(-1)
    error = float(drawn.std()) / len(drawn) ** 0.5
    assert abs(float(drawn.mean() - total)) < 3.5 * error and error < 0.01 * float(total)


def test_the_guide_learns_logits(tiny: Callable[..., Tiny]) -> None:
    case = gated(tiny)
    guide = case.guide
    assert isinstance(guide, LogitGateGuide)
    with torch.no_grad():
        guide.logit.copy_(torch.tensor([-50.0, -2.0, 0.0, 1.0, 3.0, 50.0]))
    guide.hold()
    assert guide.logit.tolist() == [-12.0, -2.0, 0.0, 1.0, 3.0, 12.0]
    torch.testing.assert_close(guide.theta, 1 / (1 + torch.exp(-guide.logit)))
    assert bool(((guide.theta > 0) & (guide.theta < 1)).all())
    assert [p.shape for p in guide.gate_parameters()] == [(6,)] * 3
    guide.open_all()
    assert guide.theta.tolist() == [1.0] * 6
    for wrong in (0.0, 1.0):
        with pytest.raises(SettingError, match="strictly between 0 and 1"):
            LogitGateGuide(case.model, wrong)


def test_inputs_have_a_spike_on_demand(tiny: Callable[..., Tiny]) -> None:
    """The paper gives nodes a spike, and their inputs none."""
    for own, expected in ((False, [1.0] * 4 + [0.5] * 6), (True, [0.5] * 10)):
        guide = partial(LogitGateGuide, start=0.5, input_gates=own)
        case = tiny(guide=guide, weight_sites=True, inputs="all", theta=0.5)
        assert case.guide.theta.tolist() == pytest.approx(expected)

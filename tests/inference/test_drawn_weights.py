"""The ELBO with Gaussian weights against sums over all gates and quadrature over a weight."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from bayesprune.inference.elbo import GatedELBO
from bayesprune.inference.estimators import SampledLabelCurvature
from bayesprune.inference.guides import GaussianWeightGuide
from bayesprune.inference.relaxed import LogitGateGuide, RelaxedGates
from bayesprune.models.priors import bernoulli_kl
from bayesprune.models.priors.gates import FixedGatePrior
from bayesprune.models.priors.weights import GaussianSlab

if TYPE_CHECKING:
    from tests.inference.conftest import Moments, Tiny

Reduce = Callable[[Iterable[Tensor]], "Moments"]
SLAB, PRIOR, WIDE, NARROW = 0.7, 0.3, 1.1, 1e-5
GATES = torch.tensor(list(product([0.0, 1.0], repeat=6)), dtype=torch.float64)


def made(tiny: Callable[..., Tiny], kind: str, draws: str, guide: Any = GaussianWeightGuide) -> Tiny:
    """A network whose weights are as good as fixed, but for one of fc2's with a wide law."""
    start = {"start": 0.6} if guide is LogitGateGuide else {}
    own = partial(guide, kind=kind, draws=draws, deviation=NARROW, **start)
    prior = FixedGatePrior(torch.full((6,), PRIOR).double())
    case = tiny(guide=own, weight_sites=True, gate_prior=prior, weight_prior=GaussianSlab(SLAB))
    assert isinstance(case.guide, GaussianWeightGuide)
    with torch.no_grad():
        case.guide.log_deviation["fc2|weight"][1, 2] = torch.tensor(WIDE).log()
    return case


def exact(case: Tiny) -> Tensor:
    """N E[loss] by 64 settings of the gates and 60 nodes of Gauss and Hermite, plus the divergences."""
    network: Any = case.model.network
    theta = case.guide.theta.detach()
    chances = (GATES * theta + (1 - GATES) * (1 - theta)).prod(-1)
    places, masses = np.polynomial.hermite_e.hermegauss(60)
    data = torch.zeros((), dtype=torch.float64)
    with torch.no_grad():
        for place, mass in zip(places, masses / masses.sum(), strict=True):
            weight = network.fc2.weight.clone()
            weight[1, 2] += WIDE * place
            hidden = network.fc1(case.inputs).relu() * GATES[:, None, :3]  # [64, B, 3]
            hidden = (hidden @ weight.T + network.fc2.bias).relu() * GATES[:, None, 3:]
            nats = -network.fc3(hidden).log_softmax(-1)[:, torch.arange(len(case.labels)), case.labels].sum(1)
            data += mass * (chances * nats).sum()
        assert isinstance(case.guide, GaussianWeightGuide)
        own = {"fc1": theta[:3], "fc2": theta[3:], "fc3": torch.ones(3).double()}
        for name, mean in network.named_parameters():
            layer = name.split(".")[0]
            law = Normal(mean, case.guide.log_deviation[name.replace(".", "|")].exp())
            divergence = kl_divergence(law, Normal(0.0, SLAB)).flatten(1 if mean.dim() > 1 else 0)
            nodes = divergence.sum(1) if mean.dim() > 1 else divergence
            data += (nodes * (own[layer] if case.guide.kind == "prior_when_closed" else 1.0)).sum()
    return data + bernoulli_kl(theta, PRIOR).sum()


@pytest.mark.parametrize("kind", ["independent", "prior_when_closed"])
@pytest.mark.parametrize("draws", ["batch", "example"])
def test_negative_elbo(kind: str, draws: str, tiny: Callable[..., Tiny], moments: Reduce) -> None:
    """Whichever way weights are drawn, the estimate is unbiased."""
    case = made(tiny, kind, draws)
    elbo = GatedELBO(SampledLabelCurvature())(case.model, case.guide)
    torch.manual_seed(0)
    with torch.enable_grad():
        found = moments(elbo(case.inputs, case.labels) for _ in range(700))
    assert float(found.distance(exact(case))) < 3.5
    assert float(found.error) < 0.3  # of about 10


def test_negative_elbo_of_relaxed_gates_and_its_mini_batches(tiny: Callable[..., Tiny], moments: Reduce) -> None:
    """Hard gates have P(open) = g, so the value is exact; a mini-batch of two of the five stands for all."""
    case = made(tiny, "prior_when_closed", "batch", LogitGateGuide)
    elbo = GatedELBO(RelaxedGates())(case.model, case.guide)
    truth = exact(case)
    torch.manual_seed(0)
    whole = moments(elbo(case.inputs, case.labels) for _ in range(1200))
    assert float(whole.distance(truth)) < 3.5 and float(whole.error) < 0.3

    def batches() -> Iterator[Tensor]:
        for _ in range(1600):
            rows = torch.randperm(5)[:2]
            yield elbo(case.inputs[rows], case.labels[rows])

    assert float(moments(batches()).distance(truth)) < 3.5

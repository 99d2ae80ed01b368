"""Programs of a user's own: every site is scored, against closed forms, quadrature and Pyro, or refused by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import log
from typing import TYPE_CHECKING, Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.infer.autoguide import AutoNormal
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bayesprune.errors import SettingError
from bayesprune.inference import ESTIMATORS, GatedELBO, GatedOptim, GateGuide, GaussianWeightGuide
from bayesprune.inference.estimators import DisARM, SalientFlips, estimator
from bayesprune.inference.references.oracle import all_gates, negative_elbo
from bayesprune.models import GatedModel, GaussianSlab
from bayesprune.structure import find
from tests.inference.programs import Shifted, ShiftedGuide, remade

if TYPE_CHECKING:
    from tests.inference.conftest import Moments, Tiny

Reduce = Callable[[Iterable[Tensor]], "Moments"]
DECIDED = (1.0, 0.0, 1.0, 1.0, 1.0, 0.0)


@pytest.fixture(autouse=True)
def _empty_store() -> Iterator[None]:
    """Nothing may enter Pyro's global parameter store."""
    pyro.clear_param_store()
    yield
    assert list(pyro.get_param_store().keys()) == []


def repeated(case: Tiny, copies: int) -> tuple[Tensor, Tensor]:
    """The whole data several times, with gates of its own for every copy."""
    return case.inputs.repeat(copies, 1), case.labels.repeat(copies)


def draws(elbo: Any, case: Tiny, count: int, copies: int) -> Iterator[Tensor]:
    """Values of an ELBO, and its gradients in all parameters of the guide."""
    parameters = list(case.guide.parameters())
    for _ in range(count):
        loss = elbo(*repeated(case, copies))
        slopes = torch.autograd.grad(loss, parameters, allow_unused=True)
        found = [torch.zeros_like(p) if s is None else s for s, p in zip(slopes, parameters, strict=True)]
        yield torch.cat([loss.reshape(1), *(slope.flatten() for slope in found)])


def by_quadrature(case: Tiny) -> Tensor:
    """The exact negative ELBO of `Shifted`: all 2^6 gates, Gauss-Hermite in u, the divergence of two normals."""
    guide: Any = case.guide
    network: Any = case.model.network
    gates = all_gates(6).double().unsqueeze(1)
    hidden = network.fc1(case.inputs).relu() * gates[..., :3]
    logits = network.fc3(network.fc2(hidden).relu() * gates[..., 3:])  # [64, 5, 3]
    theta = guide.theta
    chances = (gates * theta + (1 - gates) * (1 - theta)).prod(-1).squeeze(1)
    points, weights = (torch.from_numpy(part) for part in np.polynomial.hermite_e.hermegauss(40))
    mean, deviation = guide.mean, guide.log_deviation.exp()
    data = torch.zeros(()).double()
    for point, weight in zip(points, weights / weights.sum(), strict=True):
        moved = logits + (mean + deviation * point) * torch.tensor([1.0, 0.0, 0.0]).double()
        losses = cross_entropy(moved.flatten(0, 1), case.labels.repeat(64), reduction="none").reshape(64, 5).sum(1)
        data = data + weight * (chances * losses).sum()
    divergence = (deviation**2 + mean**2 - 1) / 2 - guide.log_deviation
    plain = case.model
    slab = plain.weight_prior.log_prob(plain.network)
    return data + plain.gate_prior.penalty(theta).sum() - slab + divergence


def test_a_second_latent_is_scored(tiny: Callable[..., Tiny], moments: Reduce) -> None:
    """Value, and gradients in theta, mean and deviation, are those of enumeration and quadrature."""
    case = remade(tiny(), Shifted, ShiftedGuide)
    truth = by_quadrature(case)
    slopes = torch.autograd.grad(truth, list(case.guide.parameters()))
    expected = torch.cat([truth.reshape(1), *(slope.reshape(-1) for slope in slopes)])
    torch.manual_seed(0)
    found = moments(draws(GatedELBO(SalientFlips())(case.model, case.guide), case, 150, 8))
    assert float(found.distance(expected).max()) < 3.5
    divergence = (0.5**2 + 1.5**2 - 1) / 2 - log(0.5)
    assert divergence > 5 * found.error[0].item()  # to leave it out would be noticed


def test_svi_moves_an_extra_latent(tiny: Callable[..., Tiny]) -> None:
    case = remade(tiny(), Shifted, ShiftedGuide)
    start = [p.detach().clone() for p in case.guide.parameters()]
    svi = SVI(case.model, case.guide, GatedOptim(case.model, case.guide, 50), loss=GatedELBO())
    for _ in range(2):
        svi.step(case.inputs, case.labels)
    assert all(bool((a != b).any()) for a, b in zip(start, case.guide.parameters(), strict=True))


class ScaledSlab(GaussianSlab):
    """tau ~ LogNormal(0, 0.5), w | tau ~ N(0, tau^2)."""

    def sample(self, network: nn.Module) -> dict[str, Tensor]:
        scale = pyro.sample("tau", dist.LogNormal(torch.zeros(()).double(), 0.5))
        return {
            f"{name}": pyro.sample(f"w.{name}", dist.Normal(torch.zeros_like(p), scale).to_event(p.dim()))
            for name, p in network.named_parameters()
        }


@pytest.mark.parametrize("own_weights", [False, True])
def test_a_scale_of_the_weights_is_scored(own_weights: bool, tiny: Callable[..., Tiny], moments: Reduce) -> None:
    """Decided gates and one layer's worth of arithmetic by hand: KL(q(tau) || p(tau)) and E_tau[KL of the weights]."""

    class OwnGuide(GaussianWeightGuide):
        def forward(self, inputs: Any, labels: Any = None) -> Any:
            pyro.sample("tau", dist.LogNormal(self.theta.new_tensor(0.2), 0.1))
            return super().forward(inputs, labels)

    made: Any = OwnGuide if own_weights else lambda model: GateGuide(model, weights=AutoNormal)
    case = remade(tiny(theta=DECIDED), GatedModel, made, weight_sites=True, weight_prior=ScaledSlab())
    ours, pyros = GatedELBO(DisARM())(case.model, case.guide), Trace_ELBO()(case.model, case.guide)
    torch.manual_seed(0)
    with torch.no_grad():
        ours(case.inputs, case.labels)
        mine = moments(ours(case.inputs, case.labels) for _ in range(150))
        theirs = moments(pyros(case.inputs, case.labels) for _ in range(150))
    error = float((mine.error.square() + theirs.error.square()).sqrt())
    assert abs(float(mine.mean - theirs.mean)) < 3.5 * error
    if own_weights:
        assert abs(float(mine.mean - by_hand_scaled(case))) < 3.5 * float(mine.error)


def by_hand_scaled(case: Tiny) -> float:
    """E_tau of the weights' divergence plus that of tau in closed form; the data term by 20,000 draws of weights."""
    guide: Any = case.guide
    location, spread = 0.2, 0.1
    total = (spread**2 + location**2) / (2 * 0.25) - 0.5 + log(0.5 / spread)  # of two normals of ln tau
    inverse = float(torch.tensor(-2 * location + 2 * spread**2).exp())  # E[tau^-2]
    means, deviations = [], []
    for name, p in case.model.network.named_parameters():
        means.append(p.detach())
        deviations.append(guide.log_deviation[name.replace(".", "|")].detach().exp())
    for mean, deviation in zip(means, deviations, strict=True):
        total += float((location - deviation.log() + (mean**2 + deviation**2) * inverse / 2 - 0.5).sum())
    generator = torch.Generator().manual_seed(1)
    drawn = [
        m + s * torch.randn(20_000, *m.shape, generator=generator, dtype=torch.float64)
        for m, s in zip(means, deviations, strict=True)
    ]
    gates = torch.tensor(DECIDED).double()
    hidden = (case.inputs @ drawn[0].mT + drawn[1].unsqueeze(1)).relu() * gates[:3]
    hidden = (hidden @ drawn[2].mT + drawn[3].unsqueeze(1)).relu() * gates[3:]
    logits = hidden @ drawn[4].mT + drawn[5].unsqueeze(1)
    data = cross_entropy(logits.flatten(0, 1), case.labels.repeat(20_000)) * 5
    return float(data + case.model.gate_prior.penalty(guide.theta).sum().detach()) + total


class Penalised(GatedModel):
    """Factors beside the likelihood: a constant, and one that looks at the weights."""

    def forward(self, inputs: Any, labels: Any = None) -> Any:
        pyro.factor("constant", torch.tensor(-7.0).double())
        pyro.factor("own", -2.0 * self.network.get_parameter("fc1.bias").square().sum())
        pyro.deterministic("note", torch.tensor(3.0))
        return super().forward(inputs, labels)


def test_factors_count(tiny: Callable[..., Tiny]) -> None:
    """With decided gates exactly: 7 nats more, and the square with its gradient."""
    plain = tiny(theta=DECIDED)
    case = remade(plain, Penalised)
    bias = case.model.network.get_parameter("fc1.bias")
    usual = GatedELBO()(plain.model, plain.guide)(plain.inputs, plain.labels)
    loss = GatedELBO()(case.model, case.guide)(case.inputs, case.labels)
    torch.testing.assert_close(loss, usual + 7 + 2 * bias.square().sum())
    (before,), (after,) = torch.autograd.grad(usual, bias), torch.autograd.grad(loss, bias)
    torch.testing.assert_close(after, before + 4 * bias.detach())
    torch.testing.assert_close(negative_elbo(*case), loss.detach())  # enumeration goes by the same programs


def test_a_factor_of_the_guide_counts(tiny: Callable[..., Tiny]) -> None:
    """As a part of log q, like in Pyro's ELBO."""

    class Guide(GateGuide):
        def forward(self, inputs: Any, labels: Any = None) -> Any:
            pyro.factor("volume", torch.tensor(1.5).double(), has_rsample=True)
            return super().forward(inputs, labels)

    plain = tiny(theta=DECIDED)
    case = remade(plain, GatedModel, Guide)
    usual, loss = (GatedELBO()(c.model, c.guide)(c.inputs, c.labels) for c in (plain, case))
    torch.testing.assert_close(loss, usual + 1.5)
    torch.testing.assert_close(Trace_ELBO().loss(*case), loss.item())


class Local(GatedModel):
    """A latent for each example, u_n ~ N(0, 1), added to the example's first logit."""

    def forward(self, inputs: Any, labels: Any = None) -> Any:
        gates = self.gate_prior.sample_gates()
        pyro.factor("weights", self.weight_log_prob())
        with pyro.plate("data", self.size, subsample=torch.arange(len(inputs)), dim=-1):
            shift = pyro.sample("u", dist.Normal(torch.zeros(()).double(), 1.0))
            moved = self.outputs(inputs, gates) + shift.unsqueeze(-1) * gates.new_tensor([1.0, 0.0, 0.0])
            return pyro.sample("y", self.likelihood(moved), obs=labels)


class LocalGuide(GateGuide):
    """u_n ~ N(mean x_n0, 0.5^2)."""

    def __init__(self, model: GatedModel, start: Any = 0.5) -> None:
        super().__init__(model, start)
        self.mean = nn.Parameter(torch.tensor(0.8))

    def forward(self, inputs: Any, labels: Any = None) -> Any:
        with pyro.plate("data", self.size, subsample=torch.arange(len(inputs)), dim=-1):
            pyro.sample("u", dist.Normal(self.mean * inputs[:, 0], 0.5))
        return super().forward(inputs, labels)


@pytest.mark.parametrize("name", ["salient-flips", "disarm", "score-function"])
def test_latents_of_examples(name: str, tiny: Callable[..., Tiny], moments: Reduce) -> None:
    """Estimators that take rows apart and repeat them: the expectation is Pyro's, mini-batches included."""
    case = remade(tiny(), Local, LocalGuide)
    torch.manual_seed(0)
    mine = moments(draws(GatedELBO(estimator(name))(case.model, case.guide), case, 100, 4))
    theirs = moments(draws(Trace_ELBO()(case.model, case.guide), case, 400, 1))
    error = (mine.error.square() + theirs.error.square()).sqrt()
    assert float(((mine.mean - theirs.mean).abs() / error).max()) < 3.8
    divergence = 0.5 * (0.25 - 1 - 2 * log(0.5)) * 5 + float((0.8 * case.inputs[:, 0]).square().sum() / 2)
    assert divergence > 10 * float(error[0])  # to leave it out would be noticed


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_every_estimator_takes_programs(name: str, tiny: Callable[..., Tiny]) -> None:
    """A program that says the same as the package's own: same seed, same loss and gradients."""

    class Same(GatedModel):
        """The same program, which the package cannot know."""

    plain = tiny()
    case, found = remade(plain, Same), []
    for one in (plain, case):
        torch.manual_seed(2)
        module = GatedELBO(estimator(name))(one.model, one.guide)
        with torch.random.fork_rng(devices=[]):
            if one is case:  # the guide's program draws gates of its own before the estimator does
                one.guide(one.inputs)
        if one is plain:
            torch.bernoulli(one.guide.theta.detach())
        loss = module(one.inputs, one.labels)
        found.append([loss, *torch.autograd.grad(loss, [one.guide.theta, *one.model.network.parameters()])])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_a_network_that_samples_by_itself(tiny: Callable[..., Tiny]) -> None:
    """A factor inside the network counts; a site that the guide lacks is named; handlers of the user's see them."""
    plain = tiny(theta=DECIDED)
    usual = GatedELBO()(plain.model, plain.guide)(plain.inputs, plain.labels)

    class Head(nn.Module):
        says = ""

        def forward(self, logits: Tensor) -> Tensor:
            if self.says == "site":
                pyro.sample("hidden", dist.Normal(0.0, 1.0))
            elif self.says:
                pyro.factor("inside", torch.tensor(-2.0).double())
            return logits

    for outside in (None, pyro.poutine.trace(param_only=True)):
        case = tiny(theta=DECIDED)
        head = Head()
        network = nn.Sequential(case.model.network, head)
        model = GatedModel(network, find(network, case.inputs, inputs="none"), case.model.gate_prior, 5)
        guide = GateGuide(model).double()
        with torch.no_grad():
            guide.theta.copy_(case.guide.theta)
        head.says = "factor"
        if outside is None:
            loss = GatedELBO()(model, guide)(case.inputs, case.labels)
        else:
            with outside:
                loss = GatedELBO()(model, guide)(case.inputs, case.labels)
        torch.testing.assert_close(loss, usual + 2 * 5)  # inside the plate: once an example
        head.says = "site"
        with pytest.raises(SettingError, match="the model samples 'hidden', and the guide does not"):
            GatedELBO()(model, guide)(case.inputs, case.labels)

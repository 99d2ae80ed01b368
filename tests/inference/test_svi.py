"""Pyro's own way: `pyro.infer.SVI` trains weights and gates, to the numbers of the training loop's objective."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO
from pyro.infer.autoguide import AutoNormal
from pyro.optim import PyroOptim
from torch import Tensor, nn

from bayesprune.errors import SettingError
from bayesprune.inference import ESTIMATORS, GatedELBO, GatedObjective, GatedOptim, GateGuide, GaussianWeightGuide
from bayesprune.inference.estimators import estimator
from bayesprune.inference.objective import GATES, guide_of
from bayesprune.inference.projected import ProjectedGateDescent
from bayesprune.models import CostPrice, EqualPrice, FixedGatePrior, FlatteningGatePrior, GatedModel, LeNet300
from bayesprune.models.likelihoods import TaskLikelihood
from bayesprune.models.prices import Price
from bayesprune.structure import find
from bayesprune.tasks.likelihood import Gaussian
from bayesprune.training import TrainState, adam

if TYPE_CHECKING:
    from tests.inference.conftest import Tiny

SIZE, STEPS, RAMP, HORIZON = 40, 20, 7, 30
INPUTS = torch.randn(8, 6, generator=torch.Generator().manual_seed(1)).double()
LABELS = torch.arange(8) % 3


@pytest.fixture(autouse=True)
def _empty_store() -> Iterator[None]:
    """Nothing may enter Pyro's global parameter store."""
    pyro.clear_param_store()
    yield
    assert list(pyro.get_param_store().keys()) == []


def twin(state: TrainState) -> TrainState:
    """The state in double precision."""
    state.network.double()
    guide_of(state).double()
    return state


def by_the_loop(state: TrainState, price: Price, name: str) -> list[float]:
    """Losses of steps as the training loop makes them, in nats per example."""
    objective = GatedObjective(price, estimator(name), SIZE, ramp=RAMP)
    state.optimizers = {
        "network": adam(1e-2)(state.network.parameters()),
        GATES: ProjectedGateDescent([guide_of(state).theta], HORIZON),
    }
    objective.attach(state)
    torch.manual_seed(5)
    losses = []
    for state.phase_step in range(STEPS):
        for optimizer in state.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        loss = objective.loss(state, INPUTS, LABELS)
        loss.backward()
        for optimizer in state.optimizers.values():
            optimizer.step()
        losses.append(loss.item())
    objective.detach()
    return losses


def by_pyro(state: TrainState, price: Price, name: str) -> list[float]:
    """Losses of steps of `pyro.infer.SVI`, in nats of the whole training set."""
    structure, cost = state.structure, state.expected_cost()
    prior = FlatteningGatePrior(torch.ones(structure.gate_count).double())
    model = GatedModel(state.network, structure, prior, SIZE)
    guide = guide_of(state)
    guide.bind(model)
    prices = partial(price.log_gamma, structure, cost)
    optim = GatedOptim(model, guide, HORIZON, ramp=RAMP, prices=prices, rest=adam(1e-2))
    svi = SVI(model, guide, optim, loss=GatedELBO(estimator(name)))
    torch.manual_seed(5)
    return [svi.step(INPUTS, LABELS) for _ in range(STEPS)]


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
@pytest.mark.parametrize("kind", ["equal", "cost"])
def test_svi_makes_the_steps_of_the_loop(kind: str, name: str, gated_state: Callable[..., TrainState]) -> None:
    """The same seed: weights, theta and losses after 20 steps are equal to 1e-6, and all of them have moved."""
    one, other = twin(gated_state(0.5)), twin(gated_state(0.5))
    start = [p.detach().clone() for p in one.network.parameters()]
    price = EqualPrice(2.0) if kind == "equal" else CostPrice(2.0, 0.5, 15, one.initial_macs, one.initial_params)
    theirs, ours = by_the_loop(one, price, name), by_pyro(other, price, name)
    assert ours == pytest.approx([SIZE * loss for loss in theirs], abs=1e-6)
    torch.testing.assert_close(guide_of(other).theta, guide_of(one).theta, rtol=0, atol=1e-6)
    for before, own, looped in zip(start, other.network.parameters(), one.network.parameters(), strict=True):
        torch.testing.assert_close(own, looped, rtol=0, atol=1e-6)
        assert not torch.equal(own, before)
    assert bool((guide_of(other).theta != 0.5).all())


def test_prices_of_the_gate_prior_are_taken_as_they_are(tiny: Callable[..., Tiny]) -> None:
    """By hand: without data theta falls by 1/T a step whatever the price, also when prices change on the way."""
    case = tiny(theta=1.0, examples=1)
    prior: Any = case.model.gate_prior
    optim = GatedOptim(case.model, case.guide, 50)
    for step in range(1, 6):
        prior.set_log_gamma(torch.full((6,), float(step)).double())
        case.guide.theta.grad = prior.log_gamma.clone()  # the price alone
        optim([case.guide.theta])
        torch.testing.assert_close(case.guide.theta.detach(), torch.full((6,), 1 - step / 50).double())


def test_a_ramp_raises_the_prices_of_the_model(tiny: Callable[..., Tiny]) -> None:
    case = tiny(log_gamma=3.0)
    prior: Any = case.model.gate_prior
    svi = SVI(case.model, case.guide, GatedOptim(case.model, case.guide, 50, ramp=4), loss=GatedELBO())
    seen = []
    for _ in range(6):
        seen.append(float(prior.log_gamma[0]))
        svi.step(case.inputs, case.labels)
    assert seen == pytest.approx([0.75, 1.5, 2.25, 3.0, 3.0, 3.0])
    with pytest.raises(SettingError, match="ramp must be >= 0"):
        GatedOptim(case.model, case.guide, 50, ramp=-1)


def test_gaussian_weights_are_trained_too(tiny: Callable[..., Tiny]) -> None:
    """Means, which are the network's, deviations and gates."""
    case = tiny(guide=partial(GaussianWeightGuide, deviation=0.1, kind="prior_when_closed"), weight_sites=True)
    moved(case, GatedELBO())


@pytest.mark.parametrize("loss", [GatedELBO(), Trace_ELBO()])
def test_weights_and_gates_move(loss: Any, tiny: Callable[..., Tiny]) -> None:
    """Under Pyro's own loss too: the programs tell their parameters."""
    moved(tiny(), loss)


def moved(case: Tiny, loss: Any) -> None:
    """Three steps move every parameter of guide and model."""
    parameters = [*case.guide.parameters(), *case.model.parameters()]
    start = [p.detach().clone() for p in parameters]
    svi = SVI(case.model, case.guide, GatedOptim(case.model, case.guide, 50), loss=loss)
    for _ in range(3):
        svi.step(case.inputs, case.labels)
    assert all(bool((a != b).any()) for a, b in zip(start, parameters, strict=True))


def test_parameters_are_told_only_where_they_are_collected(tiny: Callable[..., Tiny]) -> None:
    case = tiny()
    with poutine.trace(param_only=True) as collected:
        GatedELBO().loss_and_grads(*case)
    nodes: Any = collected.trace.nodes
    found = {id(site["value"].unconstrained()) for site in nodes.values()}
    assert found == {id(p) for p in (*case.guide.parameters(), *case.model.parameters())}
    assert {"guide.theta", "model.network.fc1.weight"} < set(nodes)
    assert not poutine.trace(case.model).get_trace(case.inputs, case.labels).param_nodes
    lifted = poutine.lift(case.model, prior=dist.Normal(0.0, 1.0))
    with (
        pytest.raises(SettingError, match="a handler replaced the parameter 'model.network.fc1.weight'"),
        poutine.trace(param_only=True),
    ):
        lifted(case.inputs, case.labels)


def test_frozen_parameters_stay(tiny: Callable[..., Tiny]) -> None:
    case = tiny()
    frozen = case.model.network.get_parameter("fc1.weight").requires_grad_(False)
    start = frozen.clone()
    svi = SVI(case.model, case.guide, GatedOptim(case.model, case.guide, 50), loss=GatedELBO())
    svi.step(case.inputs, case.labels)
    assert torch.equal(frozen, start)


def test_two_models_share_nothing(tiny: Callable[..., Tiny]) -> None:
    first, second = tiny(), tiny()
    start = [p.detach().clone() for p in (*second.model.parameters(), *second.guide.parameters())]
    SVI(first.model, first.guide, GatedOptim(first.model, first.guide, 50), loss=GatedELBO()).step(
        first.inputs, first.labels
    )
    after = [*second.model.parameters(), *second.guide.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(start, after, strict=True))


def test_noise_that_a_task_learns_is_trained(tiny: Callable[..., Tiny]) -> None:
    """The task's likelihood is held by an object that is no module, and its parameters are told all the same."""
    noise: Any = Gaussian(3).double()
    case = tiny(likelihood=TaskLikelihood(noise))
    targets = torch.sin(case.inputs[:, :3])
    start = [p.detach().clone() for p in noise.parameters()]
    assert start
    svi = SVI(case.model, case.guide, GatedOptim(case.model, case.guide, 50), loss=GatedELBO())
    svi.step(case.inputs, targets)
    assert all(bool((a != b).any()) for a, b in zip(start, noise.parameters(), strict=True))


def test_evaluate_loss_is_the_elbo(tiny: Callable[..., Tiny]) -> None:
    """Decided gates make it exact, without gradients."""
    case = tiny(theta=(1.0, 0.0, 1.0, 1.0, 1.0, 0.0))
    svi = SVI(case.model, case.guide, GatedOptim(case.model, case.guide, 50), loss=GatedELBO())
    whole = GatedELBO()(case.model, case.guide)(case.inputs, case.labels)
    assert svi.evaluate_loss(case.inputs, case.labels) == pytest.approx(whole.item())
    assert case.guide.theta.grad is None


def test_a_plain_optimizer_that_leaves_the_box_is_named(tiny: Callable[..., Tiny]) -> None:
    """Pyro's Adam knows no box: it may train, until a probability leaves [0, 1]."""
    case = tiny(theta=0.02, log_gamma=30.0)
    svi = SVI(case.model, case.guide, PyroOptim(torch.optim.Adam, {"lr": 0.05}), loss=GatedELBO())
    start = case.model.network.get_parameter("fc1.weight").detach().clone()
    svi.step(case.inputs, case.labels)
    assert not torch.equal(case.model.network.get_parameter("fc1.weight"), start)
    with pytest.raises(SettingError, match=r"theta has left \[0, 1\] .*GatedOptim"):
        svi.step(case.inputs, case.labels)


def test_a_state_goes_on(tiny: Callable[..., Tiny]) -> None:
    """Four steps and four more are eight, when modules and optimizer are restored in between."""

    def made() -> tuple[Any, Any, Any]:
        case = tiny(log_gamma=2.0)
        optim = GatedOptim(case.model, case.guide, 50, ramp=6)
        return case, optim, SVI(case.model, case.guide, optim, loss=GatedELBO())

    def steps(case: Any, svi: Any, seed: int) -> None:
        torch.manual_seed(seed)
        for _ in range(4):
            svi.step(case.inputs, case.labels)

    whole, first, second = made(), made(), made()
    for case, _, svi in (whole, first):
        steps(case, svi, 1)
    for module in ("model", "guide"):
        getattr(second[0], module).load_state_dict(getattr(first[0], module).state_dict())
    second[1].set_state(first[1].get_state())
    for case, _, svi in (whole, second):
        steps(case, svi, 2)
    for one, other in zip(whole[0].model.parameters(), second[0].model.parameters(), strict=True):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(whole[0].guide.theta, second[0].guide.theta)
    assert second[1].steps == 8
    with pytest.raises(SettingError, match="pickles"):
        second[1].load("state")


def test_optimizers_that_do_not_fit_are_refused(tiny: Callable[..., Tiny]) -> None:
    case, other = tiny(), tiny()
    svi = SVI(case.model, case.guide, GatedOptim(other.model, other.guide, 50), loss=GatedELBO())
    with pytest.raises(SettingError, match="made for another guide"):
        svi.step(case.inputs, case.labels)
    curved = tiny(gate_prior=FixedGatePrior(torch.full((6,), 0.5).double()))
    with pytest.raises(SettingError, match="needs prices, and FixedGatePrior has none"):
        GatedOptim(curved.model, curved.guide, 50)


def test_units_are_not_mixed(tiny: Callable[..., Tiny], gated_state: Callable[..., TrainState]) -> None:
    """Nats per example and nats of the whole training set, and two different N, are told apart by name."""
    case = tiny()
    objective: Any = GatedObjective(EqualPrice(2.0), estimator("curvature"), 5)
    svi = SVI(case.model, case.guide, GatedOptim(case.model, case.guide, 50), loss=objective)
    with pytest.raises(SettingError, match="nats per example.*take GatedELBO"):
        svi.step(case.inputs, case.labels)
    with pytest.raises(SettingError, match="take GatedObjective"):
        GatedELBO().attach(gated_state())
    larger = GatedModel(case.model.network, case.model.structure, case.model.gate_prior, 50)
    for use in (lambda: GatedELBO().loss(larger, case.guide, case.inputs, case.labels),
                lambda: GatedOptim(larger, case.guide, 50)):  # fmt: skip
        with pytest.raises(SettingError, match="N = 5 training examples, and this model has N = 50"):
            use()


def test_models_and_guides_that_do_not_fit_are_refused(tiny: Callable[..., Tiny]) -> None:
    case, inputs_too = tiny(), tiny(theta=0.5, inputs="all")
    with pytest.raises(SettingError, match=r"theta of shape \[6\], the model 10 gates"):
        GatedELBO().loss(inputs_too.model, case.guide, case.inputs, case.labels)
    with pytest.raises(SettingError, match="AutoNormal has no inclusion probabilities"):
        GatedELBO().loss(case.model, AutoNormal(case.model), case.inputs, case.labels)
    with pytest.raises(SettingError, match="must be a GatedModel, not a Linear"):
        GatedELBO().loss(nn.Linear(2, 2), case.guide, case.inputs, case.labels)


def test_a_useless_unit_is_closed() -> None:
    """One whose outgoing weights are 0 and stay so: theta goes to 0 and stops there."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = LeNet300((4, 3), (4,), 3).double()
    with torch.no_grad():
        network.fc2.weight[:, 1] = 0
    network.fc2.weight.requires_grad_(False)
    structure = find(network, INPUTS[:, :4], inputs="none")
    model = GatedModel(network, structure, FlatteningGatePrior(torch.full((7,), 0.5).double()), 1000)
    guide = GateGuide(model, 0.9).double()
    labels: Tensor = network(INPUTS[:, :4]).argmax(1).detach()
    svi = SVI(model, guide, GatedOptim(model, guide, 20), loss=GatedELBO())
    for _ in range(30):
        svi.step(INPUTS[:, :4], labels)
    assert guide.theta[1].item() == 0.0

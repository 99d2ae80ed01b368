"""The end of pruning: exact differences against networks written out, budgets, and why each gate is closed."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from bayesprune.budgets.limits import Limits
from bayesprune.inference.deciding import Decide, Decision
from bayesprune.inference.differences import ExactDifferences
from bayesprune.inference.guides import GateGuide
from bayesprune.inference.objective import GATES, GUIDE, guide_of
from bayesprune.inference.projected import ProjectedGateDescent
from bayesprune.inference.updates import posterior
from bayesprune.inference.visited import Sample
from bayesprune.inference.watch import Watch
from bayesprune.models import LeNet5
from bayesprune.models.gated import GatedModel
from bayesprune.models.prices import EqualPrice
from bayesprune.models.priors.gates import FlatteningGatePrior
from bayesprune.pruners.budgeted import checked_limits
from bayesprune.run.budget import parse_budgets
from bayesprune.run.method import Reason
from bayesprune.structure import find
from bayesprune.training import TrainState

MakeState = Callable[..., TrainState]
MACS = 6 * 5 + 5 * 4 + 4 * 3
PARAMS = MACS + 5 + 4 + 3


def sample(size: int = 40) -> Sample:
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(size, 6, generator=generator)
    return Sample(inputs, (inputs[:, 0] > 0).long() + (inputs[:, 1] > 0.5).long(), size)


def deciding(state: TrainState, price: float, limits: Limits | None = None) -> Decide:
    state.remember_initial()
    state.step = 1_000
    return Decide(Watch(sample(), EqualPrice(price), 1), sample(), limits)


@torch.no_grad()
def objective(network: Any, gates: Tensor, price: float) -> float:
    """N times the mean loss plus the prices of open gates [15], the network written out."""
    examples = sample()
    hidden = network.fc1(examples.inputs * gates[:6]).relu() * gates[6:11]
    logits = network.fc3(network.fc2(hidden).relu() * gates[11:])
    return float(cross_entropy(logits, examples.labels, reduction="sum")) + price * float(gates.sum())


def left(state: TrainState) -> Tensor:
    """Which gates [15] of the start are there: 0 or 1."""
    gates = torch.zeros(15)
    gates[state.structure.original_gates()] = 1.0
    return gates


@pytest.mark.parametrize("price", [0.05, 0.5, 2.0])
@pytest.mark.parametrize("theta", [1.0, 0.3])
def test_no_single_gate_would_lower_the_objective(price: float, theta: float, gated_state: MakeState) -> None:
    """Whatever theta was: closing any gate that is open, or opening any that is closed, makes it higher (by hand)."""
    state = gated_state(theta)
    network = deepcopy(state.network)
    deciding(state, price)(state)
    gates = left(state)
    here = objective(network, gates, price)
    start = torch.ones(15) if theta > 0.5 else torch.zeros(15).index_fill(0, torch.tensor([0, 6, 11]), 1.0)
    assert here <= objective(network, start, price) + 1e-4
    for gate in range(15):
        other = gates.clone()
        other[gate] = 1 - other[gate]
        if min(float(part.sum()) for part in other.split([6, 5, 4])) > 0:
            assert here <= objective(network, other, price) + 1e-4


def test_reasons(gated_state: MakeState) -> None:
    """theta 0 is closed by its price; a closed gate that was undecided, at the end; all others are open."""
    theta = torch.tensor([1.0, 0.4, 1, 1, 0, 1, 1, 0.6, 0, 0.5, 1, 1, 1, 0.2, 1])
    state = gated_state(theta)
    deciding(state, 1e-6)(state)
    memory = state.memory(Decision)
    assert memory.theta is not None and memory.reason is not None
    assert torch.equal(memory.theta, theta)
    is_open = torch.zeros(15, dtype=torch.bool)
    is_open[state.structure.original_gates()] = True
    assert torch.equal(memory.reason == int(Reason.OPEN), is_open)
    assert torch.equal(memory.reason == int(Reason.CLOSED_BY_PRICE), ~is_open & (theta == 0))
    assert torch.equal(memory.reason == int(Reason.CLOSED_AT_END), ~is_open & (theta > 0))
    result = posterior(state)
    assert result.reopened == int((is_open & (theta <= 0.5)).sum())
    assert result.count(Reason.OPEN) == int(is_open.sum())
    assert bool((guide_of(state).theta == 1).all())


@pytest.mark.parametrize("kind", ["macs", "params"])
@pytest.mark.parametrize("share", [0.2, 0.25, 0.5, 0.9])
def test_budget_is_met(kind: str, share: float, gated_state: MakeState) -> None:
    """All gates open, and prices that close none: what is closed was cut for the budget, and no more than needed."""
    state = gated_state(1.0)
    limit = checked_limits(state, parse_budgets(f"{kind}={round(100 * share)}%"))
    assert limit.allowed[0] == pytest.approx(share * (MACS if kind == "macs" else PARAMS))
    deciding(state, 1e-6, limit)(state)
    assert limit.budgets[0].spent(state.network_macs(), state.params()) <= limit.allowed[0]
    assert all(len(group.kept) >= 1 for group in state.structure.groups)
    memory = state.memory(Decision)
    assert memory.reason is not None
    cut = int((memory.reason == int(Reason.CUT_FOR_BUDGET)).sum())
    assert cut > 0
    assert (
        cut + int((memory.reason == int(Reason.OPEN)).sum()) + int((memory.reason == int(Reason.CLOSED_AT_END)).sum())
        == 15
    )


def test_what_costs_exactly_the_budget_meets_it(gated_state: MakeState) -> None:
    """Nothing is cut."""
    state = gated_state(1.0)
    deciding(state, 1e-6, Limits(parse_budgets(f"macs={MACS}"), (float(MACS),)))(state)
    memory = state.memory(Decision)
    assert memory.reason is not None
    assert not bool((memory.reason == int(Reason.CUT_FOR_BUDGET)).any())


def test_a_better_network_visited_is_taken(gated_state: MakeState) -> None:
    """The weights are spoilt after the best visit: what is decided is the network of that visit."""
    state = gated_state(1.0)
    decide = deciding(state, 0.1)
    learn(state)
    decide.watch.look(state)
    visited = deepcopy(state.network)
    with torch.no_grad():
        state.network.get_parameter("fc3.weight").mul_(-30.0)
    decide(state)
    value = decide.watch.objective(state).value
    assert value == pytest.approx(objective(visited, left(state), 0.1), rel=1e-4)
    assert value <= objective(visited, torch.ones(15), 0.1) + 1e-4


def learn(state: TrainState) -> None:
    """Fit the sample."""
    optimizer, examples = torch.optim.Adam(state.network.parameters(), 0.02), sample()
    for _ in range(100):
        optimizer.zero_grad()
        cross_entropy(state.network(examples.inputs), examples.labels).backward()
        optimizer.step()


def test_losses_do_not_change_the_network(gated_state: MakeState) -> None:
    state = gated_state(1.0)
    before = {name: value.clone() for name, value in state.network.state_dict().items()}
    mode = state.network.training
    losses: Tensor = sample().losses(state, torch.ones(15))
    assert losses.shape == (40,)
    assert state.network.training == mode
    assert all(torch.equal(value, before[name]) for name, value in state.network.state_dict().items())


@pytest.mark.parametrize("steps", [1, 1_000])
def test_a_budget_is_met_with_and_without_exact_differences(steps: int, gated_state: MakeState) -> None:
    """After one step of training there is no effort for 15 differences: averaged gradients stand for them."""
    state = gated_state(1.0)
    limit = checked_limits(state, parse_budgets("macs=40%"))
    decide = deciding(state, 1e-6, limit)
    state.step = steps
    decide(state)
    assert limit.budgets[0].spent(state.network_macs(), state.params()) <= limit.allowed[0]


def test_undecided_gates_fill_a_budget(gated_state: MakeState, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few steps leave most gates below 1/2: those that are most probable open while they fit, closed ones do not."""
    monkeypatch.setattr(ExactDifferences, "improve", lambda *_: None)
    theta = torch.full((15,), 0.45)
    theta[[0, 6, 11]], theta[[1, 7, 12]], theta[[5, 10, 14]] = 0.9, 0.48, 0.0
    state = gated_state(theta)
    state.remember_initial()
    state.step = 1_000
    limit = checked_limits(state, parse_budgets("macs=14"))
    Decide(Watch(sample(), EqualPrice(1.0), 1), sample(), limit, free=True)(state)
    assert left(state).nonzero().flatten().tolist() == [0, 1, 6, 7, 11, 12]  # 2 x 2 + 2 x 2 + 2 x 3
    assert posterior(state).count(Reason.CUT_FOR_BUDGET) == 0


def test_features_of_closed_channels_count_as_closed() -> None:
    """A flattened feature is of no use without its channel, whatever its own gate says."""
    network = LeNet5((3, 4, 6), (1, 28, 28), 3)
    example = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    state = TrainState(network, find(network, example, flatten_inputs=True), example)
    size, places = state.structure.gate_count, state.structure.slices()
    model = GatedModel(network, state.structure, FlatteningGatePrior(torch.ones(size)), 1)
    theta = torch.ones(size)
    theta[places["conv2"].start] = 0.2
    state.modules[GUIDE] = guide = GateGuide(model, theta)
    model.close()
    state.optimizers = {GATES: ProjectedGateDescent([guide.theta], 100)}
    state.remember_initial()
    examples = Sample(example, torch.tensor([0, 1]), 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ExactDifferences, "improve", lambda *_: None)
        Decide(Watch(examples, EqualPrice(1.0), 1), examples)(state)
    features = next(group for group in state.structure.groups if group.kind == "flatten")
    assert len(features.kept) == 3 * features.size // 4
    assert posterior(state).count(Reason.OPEN) == state.structure.gate_count == size - 1 - features.size // 4

"""Watching the objective: the best network visited is kept, and what made it worse is undone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from bayesprune.inference.objective import guide_of
from bayesprune.inference.updates import Settle
from bayesprune.inference.visited import Objective, Sample
from bayesprune.inference.watch import SLOWER, Best, Watch
from bayesprune.models.prices import EqualPrice
from bayesprune.training import TrainState

MakeState = Callable[..., TrainState]


def watching(price: float = 0.01, size: int = 30) -> Watch:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(size, 6, generator=generator)
    return Watch(Sample(inputs, torch.randint(3, (size,), generator=generator), size), EqualPrice(price), 10)


def close(state: TrainState, gates: list[int]) -> None:
    with torch.no_grad():
        guide_of(state).theta[gates] = 0.0


def test_objective_is_the_loss_of_all_and_the_prices(gated_state: MakeState) -> None:
    """By hand: summed cross-entropy of the whole sample, N of n examples, and a price for each open gate."""
    state, watch = gated_state(1.0), watching(2.0)
    sample = watch.sample
    by_hand = summed_loss(state, sample)
    assert watch.objective(state).value == pytest.approx(by_hand + 2.0 * 15, rel=1e-5)
    part = Sample(sample.inputs[:10], sample.labels[:10], 30)
    value = part.objective(state, EqualPrice(2.0), torch.ones(15)).value
    assert value == pytest.approx(3 * summed_loss(state, part) + 30, rel=1e-5)


@torch.no_grad()
def summed_loss(state: TrainState, sample: Sample) -> float:
    return float(torch.nn.functional.cross_entropy(state.network(sample.inputs), sample.labels, reduction="sum"))


def test_the_error_of_a_difference() -> None:
    """That of a mean of paired differences times N, without those who are all in the sample."""
    one, other = torch.tensor([1.0, 2.0, 4.0, 1.0]), torch.tensor([0.0, 2.0, 1.0, 0.0])
    rise, error = Objective(one, 5.0, 100).above(Objective(other, 2.0, 100))
    assert rise == pytest.approx(100 * 1.25 + 3.0)
    assert error == pytest.approx(100 * float((one - other).std()) / 2 * 0.96**0.5)
    assert Objective(one, 0.0, 4).above(Objective(other, 0.0, 4))[1] == 0.0


def test_a_rise_after_closing_is_undone(gated_state: MakeState) -> None:
    """All that was removed is back, weights and moments with it, and gates are slower from then on."""
    state, watch = gated_state(1.0, horizon=100), watching()
    state.remember_initial()
    with torch.no_grad():
        state.network.get_parameter("fc3.weight").mul_(8.0)
    fit(state, watch)
    watch.look(state)
    weights = {name: value.clone() for name, value in state.network.state_dict().items()}
    close(state, [6, 7, 8, 9, 11, 12, 13])
    state.shrink(guide_of(state).theta > 0.5)
    with torch.no_grad():
        state.network.get_parameter("fc3.bias").copy_(torch.tensor([9.0, -9.0, 0.0]))
    watch.look(state)
    assert state.structure.gate_count == 15
    assert bool((guide_of(state).theta == 1.0).all())
    assert all(torch.equal(value, weights[name]) for name, value in state.network.state_dict().items())
    assert state.memory(Best).undone == 1
    state.phase_step = 1
    Settle(lambda step: 100.0)(state)
    assert state.optimizers["gates"].param_groups[0]["horizon"] == 100.0 * SLOWER


def fit(state: TrainState, watch: Watch) -> None:
    """Train the sample well enough for its loss to matter."""
    optimizer = torch.optim.Adam(state.network.parameters(), 0.02)
    for _ in range(100):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(state.network(watch.sample.inputs), watch.sample.labels).backward()
        optimizer.step()
    state.make_optimizers = None


def test_weights_alone_undo_nothing(gated_state: MakeState) -> None:
    """A worse loss with the same gates is the weights' own way: nothing was removed that could be put back."""
    state, watch = gated_state(1.0), watching()
    state.remember_initial()
    watch.look(state)
    with torch.no_grad():
        state.network.get_parameter("fc3.bias").copy_(torch.tensor([9.0, -9.0, 0.0]))
    watch.look(state)
    assert state.memory(Best).undone == 0
    assert watch.has_risen(state)


def test_a_better_network_is_remembered(gated_state: MakeState) -> None:
    """Gates that are worth less than they cost close: that is the best network now, and looks come at their time."""
    state, watch = gated_state(1.0), watching(price=5.0)
    state.remember_initial()
    watch.look(state)
    close(state, [0])
    state.phase_step = 9
    watch(state)
    best = state.memory(Best)
    assert best.gates is not None and int(best.gates.sum()) == 15
    state.phase_step = 10
    watch(state)
    assert best.gates is not None and int(best.gates.sum()) == 14
    assert best.undone == 0

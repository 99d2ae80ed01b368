"""Latency tables against a clock that goes by a rule: a constant and a time for each multiply-accumulate."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bayesprune.budgets import measured
from bayesprune.budgets.limits import Limits
from bayesprune.budgets.measured import measured_within, missed_latency
from bayesprune.budgets.measuring import GRID, TIMES, whole_ms
from bayesprune.budgets.predicted import MEASURING, LatencyTable, predicted_latency, table_of
from bayesprune.errors import BudgetError
from bayesprune.models import LeNet300
from bayesprune.pruners.budgeted import checked_limits, open_within
from bayesprune.run.budget import parse_budgets
from bayesprune.store.tree import load_tree, save_tree
from bayesprune.structure import compact, find
from bayesprune.training import Progress, TrainState, memory

from .conftest import BASE, EACH


class Maps(nn.Module):
    """Convolutions, one of them by depth, with batch normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8)
        self.deep = nn.Conv2d(8, 8, 3, groups=8)
        self.second, self.last = nn.Conv2d(8, 12, 3, stride=2), nn.Linear(12, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        maps = self.deep(self.norm(self.first(inputs)).relu()).relu()
        outputs: Tensor = self.last(self.second(maps).relu().mean((2, 3)))
        return outputs


def perceptron() -> TrainState:
    torch.manual_seed(0)
    network, example = LeNet300((12, 8), (20,), 4), torch.randn(2, 20)
    return TrainState(network, find(network, example), example)


def maps() -> TrainState:
    torch.manual_seed(0)
    network, example = Maps(), torch.randn(2, 1, 12, 12)
    return TrainState(network, find(network, example), example)


def truth(state: TrainState, open_gates: Tensor) -> float:
    """By the rule, from the multiply-accumulates of the compact network."""
    macs, _ = state.expected_cost()(open_gates.double())
    return BASE + EACH * float(macs)


@pytest.mark.parametrize("make", [perceptron, maps])
def test_predictions_are_those_of_the_rule(make: Callable[[], TrainState]) -> None:
    """The rule is bilinear in the widths, so the table between its points must be right but for rounding of widths."""
    state = make()
    generator = torch.Generator().manual_seed(1)
    structure, dense = state.structure, truth(state, torch.ones(state.structure.gate_count))
    for _ in range(20):
        gates = torch.rand(structure.gate_count, generator=generator) < torch.rand(1, generator=generator)
        gates = structure.consistent(structure.protect(gates, torch.rand(len(gates), generator=generator)))
        assert float(predicted_latency(state, gates.double())) == pytest.approx(truth(state, gates), abs=0.06 * dense)
    everything = torch.ones(structure.gate_count, dtype=torch.float64)
    assert float(predicted_latency(state, everything)) == pytest.approx(dense, rel=1e-9)
    assert table_of(state).dense == pytest.approx(dense)


def test_predictions_slope_as_the_cost_does() -> None:
    state = perceptron()
    theta = torch.full((state.structure.gate_count,), 0.6, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(predicted_latency(state, theta), theta)
    macs, _ = state.expected_cost()(theta)
    (expected,) = torch.autograd.grad(EACH * macs, theta)
    assert torch.allclose(slope, expected, rtol=0.15)
    assert bool((slope > 0).all())


def test_a_shrunk_network_is_predicted_from_the_table_of_the_whole() -> None:
    state = perceptron()
    before = table_of(state)
    gates = torch.arange(state.structure.gate_count) % 3 != 0
    predicted = float(predicted_latency(state, gates.double()))
    state.shrink(gates)
    everything = torch.ones(state.structure.gate_count, dtype=torch.float64)
    assert float(predicted_latency(state, everything)) == pytest.approx(predicted)
    assert table_of(state) is before


def test_the_table_is_measured_once_and_kept_in_checkpoints(tmp_path: Path, clock: list[nn.Module]) -> None:
    state = perceptron()
    said: list[Progress] = []
    state.tell = said.append
    table = table_of(state)
    count = len(clock)
    assert count == 2 * len(GRID) ** 2 + len(GRID) + TIMES * len(GRID)  # the last layer writes no gated channel
    assert [one.phase for one in said] == [f"{MEASURING} {done}/8" for done in range(1, 9)]
    assert all(isinstance(one, Progress) for one in said)
    save_tree(tmp_path / "state", memory.to_tree(state.memories))
    again = perceptron()
    again.memories = memory.from_tree(load_tree(tmp_path / "state"), torch.device("cpu"))
    theta = torch.full((state.structure.gate_count,), 0.3)
    assert torch.equal(predicted_latency(again, theta), predicted_latency(state, theta))
    assert len(clock) == count
    assert table.smallest < table.dense


def test_a_budget_of_latency_is_met_by_a_measured_network(clock: list[nn.Module]) -> None:
    state = perceptron()
    scores = torch.rand(state.structure.gate_count, generator=torch.Generator().manual_seed(2))
    limits = checked_limits(state, parse_budgets("latency=70%"))
    dense = truth(state, torch.ones(state.structure.gate_count))
    assert limits.allowed == pytest.approx((0.7 * dense,))
    gates = measured_within(state, limits, lambda: open_within(state, scores, limits))
    assert 0.63 * dense <= truth(state, gates) <= 0.7 * dense
    network = deepcopy(state.network)
    compact(network, state.structure, gates)
    assert whole_ms(state, gates) == pytest.approx(truth(state, gates))


def test_what_is_measured_corrects_the_table() -> None:
    """A table that says half of the truth: the choice is made again until the network really fits."""
    state = perceptron()
    limits = checked_limits(state, parse_budgets("latency=70%"))
    table_of(state).scale = 0.5
    scores = torch.rand(state.structure.gate_count, generator=torch.Generator().manual_seed(2))
    assert truth(state, open_within(state, scores, limits)) > limits.numbers(state)[0]
    gates = measured_within(state, limits, lambda: open_within(state, scores, limits))
    assert 0.9 * limits.numbers(state)[0] <= truth(state, gates) <= limits.numbers(state)[0]
    assert state.memory(LatencyTable).scale == pytest.approx(1.0, rel=0.1)


def test_a_budget_below_the_smallest_network_is_refused_with_what_that_takes() -> None:
    state = perceptron()
    smallest = BASE + EACH * (1 + 1 + 4)
    with pytest.raises(BudgetError, match=rf"latency <= 0.2 ms: .* it needs {smallest:.3g} ms; give budget=latency="):
        checked_limits(state, parse_budgets("latency=0.2ms"))
    cure = f"latency={1.1 * smallest:.3g}ms"
    assert checked_limits(state, parse_budgets(cure)).allowed[0] >= smallest


def test_a_miss_is_said() -> None:
    state = perceptron()
    table_of(state)
    dense = truth(state, torch.ones(state.structure.gate_count))
    met, missed = (Limits(parse_budgets("latency=1ms"), (share * dense,)) for share in (0.95, 0.8))
    assert missed_latency(state, met) == missed_latency(state, None) == []
    (line,) = missed_latency(state, missed)
    assert f"takes {dense:.3g} ms and the budget allows {0.8 * dense:.3g} ms" in line


def test_what_takes_too_long_is_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other work on the machine only adds to a measurement."""
    state, limits = perceptron(), Limits(parse_budgets("latency=1ms"), (1.0,))
    for times, lines in (([5.0, 0.9], 0), ([5.0, 1.2], 1), ([0.9], 0)):
        left = [*times, 9.0]
        monkeypatch.setattr(measured, "whole_ms", lambda *_, left=left: left.pop(0))
        assert len(missed_latency(state, limits)) == lines


@pytest.mark.parametrize("text", ["macs=40%,params=20%", "params=60%,macs=20%", "macs=50%,latency=60%"])
def test_several_budgets_are_all_met_and_one_is_used_up(text: str) -> None:
    for state in (perceptron(), maps()):
        scores = torch.rand(state.structure.gate_count, generator=torch.Generator().manual_seed(3))
        limits = checked_limits(state, parse_budgets(text))
        gates = open_within(state, scores, limits)
        network = deepcopy(state.network)
        compact(network, state.structure, state.structure.consistent(gates))
        params = sum(parameter.numel() for parameter in network.parameters())
        macs = float(state.expected_cost()(gates.double())[0])
        real = {"macs": macs, "params": float(params), "latency": float(predicted_latency(state, gates.double()))}
        shares = [real[b.kind] / number for b, number in zip(limits.budgets, limits.numbers(state), strict=True)]
        assert max(shares) <= 1
        closed = (~gates).nonzero().flatten().tolist()
        assert max(shares) >= 0.97 or not any(_fits(state, limits, gates, gate) for gate in closed)


def _fits(state: TrainState, limits: Limits, gates: Tensor, gate: int) -> bool:
    """Whether one more gate would do."""
    more = gates.clone()
    more[gate] = True
    return limits.meets(state, more.double())

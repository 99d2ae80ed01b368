"""Counts in multiples, at the end of pruning and on the way there: against sums by hand, and over whole runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import bayesprune as bp
from bayesprune.data import Data
from bayesprune.errors import BudgetError
from bayesprune.inference.differences import ExactDifferences
from bayesprune.inference.updates import Shrink, posterior
from bayesprune.models import LeNet300
from bayesprune.pruners.budgeted import checked_limits
from bayesprune.run.budget import parse_budgets
from bayesprune.run.method import Reason
from bayesprune.training import TrainState

from .test_deciding import MACS, deciding, left, objective
from .test_updates import step_gates

MakeState = Callable[..., TrainState]
SIZES = (6, 5, 4)


def first_of_each(counts: Sequence[int]) -> Tensor:
    """Gates [15]: the first so many of every group are open."""
    return torch.cat([(torch.arange(size) < count).float() for size, count in zip(SIZES, counts, strict=True)])


def counts_left(state: TrainState) -> list[int]:
    return [int(part.sum()) for part in left(state).split(SIZES)]


@pytest.mark.parametrize("price", [0.01, 0.3, 3.0, 30.0])
@pytest.mark.parametrize(
    ("opened", "above", "below"),
    [
        ((6, 3, 4), (6, 4, 4), (6, 2, 4)),
        ((3, 5, 4), (4, 5, 4), (2, 5, 4)),  # 5 of 5 is all there is, and stays
        ((6, 5, 3), (6, 5, 4), (6, 5, 2)),
        ((1, 5, 4), (2, 5, 4), (2, 5, 4)),  # one multiple at least
    ],
)
def test_the_multiple_is_the_one_with_the_lower_objective(
    price: float,
    opened: Sequence[int],
    above: Sequence[int],
    below: Sequence[int],
    gated_state: MakeState,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ExactDifferences, "improve", lambda *_: None)
    state = gated_state(first_of_each(opened))
    step_gates(state, torch.arange(15.0) / 10)  # the first of a group is worth most
    network = deepcopy(state.network)
    decide = deciding(state, price)
    decide.round_to = 2
    decide(state)
    values = {tuple(counts): objective(network, first_of_each(counts), price) for counts in (above, below)}
    assert tuple(counts_left(state)) == min(values, key=lambda counts: values[counts])
    assert torch.equal(left(state), first_of_each(counts_left(state)))


def test_each_group_is_judged_with_those_before_it_as_they_were_chosen(
    gated_state: MakeState, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two groups whose counts are none: fc1 first, then fc2, each against the best so far."""
    monkeypatch.setattr(ExactDifferences, "improve", lambda *_: None)
    told_apart = 0
    for price in torch.linspace(0.04, 3.02, 60).tolist():
        state = gated_state(first_of_each((6, 3, 3)))
        step_gates(state, torch.arange(15.0) / 10)
        network = deepcopy(state.network)
        decide = deciding(state, price)
        decide.round_to = 2
        decide(state)

        counts = [(6, 4, 4), (6, 2, 4), (6, 4, 2), (6, 2, 2)]
        value = {one: objective(network, first_of_each(one), price) for one in counts}
        first = min(counts[:2], key=lambda one: value[one])
        second = (*first[:2], 2)
        assert counts_left(state) == list(first if value[first] <= value[second] else second)
        told_apart += value[first] < value[second] < value[6, 4, 4]
    assert told_apart  # prices at which it matters that the first choice is remembered


@pytest.mark.parametrize("multiple", [2, 3])
@pytest.mark.parametrize("share", [0.9, 0.6, 0.45])
def test_a_budget_is_met_in_multiples(share: float, multiple: int, gated_state: MakeState) -> None:
    state = gated_state(1.0)
    decide = deciding(state, 0.01, checked_limits(state, parse_budgets(f"macs={share * MACS:.0f}"), multiple))
    decide.round_to = multiple
    decide(state)
    inputs, first, second = counts = counts_left(state)
    assert inputs * first + first * second + second * 3 <= round(share * MACS)
    for size, count in zip(SIZES, counts, strict=True):
        assert count == size or count % multiple == 0


@pytest.mark.parametrize(
    ("worthless", "macs", "counts"),
    [("fc2", 50, (6, 5, 2)), ("fc1", 52, (6, 4, 4)), ("fc1", 40, (6, 2, 4)), ("inputs", 52, (4, 5, 4))],
)
def test_multiples_are_cut_where_least_is_lost_for_the_cost(
    worthless: str, macs: int, counts: Sequence[int], gated_state: MakeState, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One group's channels are worth nothing by the averaged gradient; within a group the last ones go."""
    for name in ("improve", "fit"):
        monkeypatch.setattr(ExactDifferences, name, lambda *_: None)
    state = gated_state(1.0)
    slopes = torch.arange(15.0) / 10 - 50.0
    slopes[state.structure.slices()[worthless]] += 50.0
    step_gates(state, slopes)
    decide = deciding(state, 1e-6, checked_limits(state, parse_budgets(f"macs={macs}"), 2))
    decide.round_to = 2
    decide(state)
    assert torch.equal(left(state), first_of_each(counts))
    assert posterior(state).count(Reason.CUT_FOR_BUDGET) == 15 - sum(counts)


def test_what_is_lost_is_weighed_against_what_is_saved(gated_state: MakeState, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of fc2 are worth 2 nats and save 16, two inputs 1.8 nats and save 10."""
    for name in ("improve", "fit"):
        monkeypatch.setattr(ExactDifferences, name, lambda *_: None)
    state = gated_state(1.0)
    slopes = torch.full((15,), -50.0)
    slopes[4:6], slopes[13:] = -0.9 / 40, -1.0 / 40
    step_gates(state, slopes)
    decide = deciding(state, 1e-6, checked_limits(state, parse_budgets("macs=52"), 2))
    decide.round_to = 2
    decide(state)
    assert counts_left(state) == [6, 5, 2]


def test_a_budget_that_multiples_cannot_meet_is_refused_before_training(gated_state: MakeState) -> None:
    state = gated_state(1.0)
    state.remember_initial()
    least = 3 * 3 + 3 * 3 + 3 * 3
    assert checked_limits(state, parse_budgets(f"macs={least}"), 3).allowed[0] == least
    with pytest.raises(BudgetError, match=f"round_to=3 it needs {least}"):
        checked_limits(state, parse_budgets(f"macs={least - 1}"), 3)
    checked_limits(state, parse_budgets(f"macs={least - 1}"))


def test_closed_channels_stay_that_fill_a_multiple(gated_state: MakeState) -> None:
    """Of those that the rule lets go, the ones that are worth most by the averaged gradient."""
    theta = torch.ones(15)
    theta[[0, 1, 2, 6, 7, 8, 11]] = 0.0  # 3 of 6, 2 of 5 and 3 of 4 are open
    state = gated_state(theta)
    slopes = torch.zeros(15)
    slopes[[1, 8]] = -1.0
    step_gates(state, slopes)
    state.phase_step = 10
    Shrink(10, round_to=2)(state)
    assert state.structure.kept() == {"inputs": [1, 3, 4, 5], "fc1": [3, 4], "fc2": [0, 1, 2, 3]}


def widths(pruned: Any) -> dict[str, int]:
    return {name: len(kept) for name, kept in pruned.kept.items()}


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    "settings", [{"price": 3.0}, {"price": 0.05}, {"budget": "macs=40%"}, {"budget": "params=60%"}]
)
def test_every_group_of_a_run_has_a_multiple_at_all_times(
    settings: dict[str, Any], small_data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    visited, shrink = [], TrainState.shrink

    def recorded(state: TrainState, open_gates: Tensor) -> Tensor:
        positions = shrink(state, open_gates)
        visited.append({group.name: len(group.kept) for group in state.structure.groups})
        return positions

    monkeypatch.setattr(TrainState, "shrink", recorded)
    pruned = bp.prune(
        lambda: LeNet300((12, 10), (1, 6, 6), 3), small_data, epochs=30, round_to=4, prune_share=0.5, horizon=30,
        shrink_every=5, ramp_share=0.0, progress=False, **settings,
    )  # fmt: skip
    assert visited[-1] == widths(pruned)
    for found in visited:
        assert all(count % 4 == 0 or count == {"fc2": 10}.get(name) for name, count in found.items())
    if "budget" in settings:
        kind, share = settings["budget"].split("=")
        spent, whole = (pruned.evaluation.macs, 582) if kind == "macs" else (pruned.evaluation.params, 607)
        assert spent <= float(share[:-1]) / 100 * whole
    else:
        assert settings["price"] < 1 or widths(pruned) == {"inputs": 4, "fc1": 4, "fc2": 4}


class Streams(nn.Module):
    """A small network with batch normalisation, a sum of two paths, and features that are flattened."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12)
        self.inner, self.back = nn.Conv2d(12, 10, 3, padding=1), nn.Conv2d(10, 12, 1)
        self.last = nn.Linear(12 * 9, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        maps = self.norm(self.stem(inputs)).relu()
        maps = (maps + self.back(self.inner(maps).relu())).relu()
        logits: Tensor = self.last(nn.functional.max_pool2d(maps, 2).flatten(1))
        return logits


@pytest.mark.parametrize("flatten_inputs", [False, True])
def test_convolutions_keep_multiples_also_where_flattened_features_have_gates(
    flatten_inputs: bool, small_data: Data
) -> None:
    pruned = bp.prune(
        Streams, small_data, epochs=16, round_to=4, price=2.0, price_kind="equal", prune_share=0.5, horizon=20,
        shrink_every=4, ramp_share=0.0, flatten_inputs=flatten_inputs, progress=False,
    )  # fmt: skip
    found = {name: count for name, count in widths(pruned).items() if not name.endswith(".inputs")}
    assert set(found) == {"stem", "inner"}
    assert found["stem"] % 4 == 0 and (found["inner"] % 4 == 0 or found["inner"] == 10)
    with torch.no_grad():
        assert pruned.network(torch.randn(2, 1, 6, 6)).shape == (2, 3)

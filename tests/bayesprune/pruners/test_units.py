"""Rounds of removing channels within a budget, and what bad settings get."""

from typing import Any

import pytest
import torch
from torch import Tensor

from bayesprune.data import Data, from_tensors
from bayesprune.errors import BudgetError, NetworkError, SettingError
from bayesprune.models import Conv4, LeNet300
from bayesprune.pruners.allocation import class_blind, class_distributed, class_uniform, explicit
from bayesprune.pruners.problem import Problem
from bayesprune.pruners.scores import l1_norms
from bayesprune.pruners.units import UnitPruner, unit_preferences
from bayesprune.run.running import initial_state
from bayesprune.run.settings import RunSettings
from bayesprune.training import NegativeLogLikelihood, Objective, Phase, TrainState

L1 = UnitPruner("l1", "largest norms", l1_norms)


def plan_of(data: Data, pruner: UnitPruner = L1, network: Any = None, **given: Any) -> tuple[TrainState, list[Phase]]:
    plain: dict[str, Any] = {"method": "l1", "epochs": 12, "batch_size": 50, "budget": "macs=25%"}
    chosen = RunSettings(**plain | given)
    state = initial_state(network or LeNet300((12, 8), (1, 6, 6), 3), data, chosen)
    return state, list(pruner.plan(state, data, chosen).phases)


def costs(state: TrainState, phases: list[Phase]) -> list[int]:
    """MACs after the start of each phase."""
    found = []
    for phase in phases:
        if phase.start is not None:
            phase.start(state)
        found.append(state.network_macs())
    return found


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_rounds_approach_the_budget(small_data: Data) -> None:
    state, phases = plan_of(small_data, options={"schedule": "cubic", "rounds": 3, "retrain": 2})
    assert [phase.name for phase in phases] == ["train", "round 1", "round 2", "fixed"]
    # Of 552 multiply-accumulates 138 are the goal; limits 138 + 414 x 8/27 and 138 + 414 / 27 before, where a few
    # channels more stay as change.
    found = costs(state, phases)
    assert found[0] == 552 and 153 < found[1] <= 1.4 * 261 and 138 < found[2] <= 1.4 * 153 and 100 < found[3] <= 138


def test_the_allocation_decides_what_each_group_loses() -> None:
    scores = torch.tensor([1.0, 2.0, 3.0, 4.0, 100.0, 200.0])
    structure = _structure_of_two()
    by_score = unit_preferences(structure, scores, class_blind)
    assert by_score.argsort().tolist() == [0, 1, 2, 3, 4, 5]
    # Positions from the best: (7, 5, 3, 1) / 8 of the first group and (3, 1) / 4 of the second.
    uniform = unit_preferences(structure, scores, class_uniform)
    assert (-uniform).tolist() == pytest.approx([7 / 8, 5 / 8, 3 / 8, 1 / 8, 3 / 4, 1 / 4])
    # Deviations sqrt(1.25) and 50.
    expected = [score / 1.25**0.5 for score in (1, 2, 3, 4)] + [2.0, 4.0]
    assert unit_preferences(structure, scores, class_distributed).tolist() == pytest.approx(expected)
    # The second group with a claim of a quarter is four times as early at every position.
    claimed = unit_preferences(structure, scores, explicit({"fc1": 1.0, "fc2": 0.25}))
    assert (-claimed).tolist() == pytest.approx([7 / 8, 5 / 8, 3 / 8, 1 / 8, 3.0, 1.0])


def _structure_of_two() -> Any:
    network = LeNet300((4, 2), (1, 2, 2), 3)
    settings = RunSettings("l1", inputs="none")
    data = from_tensors(torch.randn(30, 1, 2, 2), torch.arange(30) % 3)
    return initial_state(network, data, settings).structure


def test_least_channels_stay(small_data: Data) -> None:
    state, phases = plan_of(small_data, budget="macs=10%", options={"least": 3})
    costs(state, phases)
    assert all(len(group.kept) >= 3 for group in state.structure.groups)
    with pytest.raises(BudgetError, match="with as few channels as possible"):
        costs(*plan_of(small_data, budget="macs=4%", options={"least": 4}))


def test_what_is_for_weights_only_is_refused(small_data: Data) -> None:
    for own in ({"allocation": "erdos-renyi"}, {"schedule": "bucket"}):
        with pytest.raises(SettingError, match="is for single weights, l1 removes channels: choose"):
            plan_of(small_data, options=own)
    with pytest.raises(SettingError, match="unknown option of l1 'rewind'"):
        plan_of(small_data, options={"rewind": 0})


def test_scores_that_are_no_numbers_are_named_by_group(small_data: Data) -> None:
    def broken(problem: Problem) -> Tensor:
        scores = l1_norms(problem)
        scores[problem.structure.slices()["fc2"].start] = float("nan")
        return scores

    state, phases = plan_of(small_data, UnitPruner("l1", "", broken))
    with pytest.raises(NetworkError, match="scores of layer 'fc2' hold NaN"):
        costs(state, phases)


def test_a_method_may_train_with_an_objective_of_its_own(small_data: Data) -> None:
    class Own(NegativeLogLikelihood):
        pass

    def make(options: Any, noise: float) -> Objective:
        assert options.rounds is None
        return Own(noise)

    pruner = UnitPruner("l1", "", l1_norms, objective=make)
    state, phases = plan_of(small_data, pruner, Conv4((4, 4, 5, 5, 7, 6), (1, 6, 6), 3))
    assert isinstance(phases[0].objective, Own) and phases[0].objective.noise == 0.2
    assert type(phases[1].objective) is NegativeLogLikelihood

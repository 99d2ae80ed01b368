"""What a run says of itself: too few steps before it, a loss that nothing explains after it."""

from __future__ import annotations

from collections.abc import Callable
from math import log
from typing import Any

import pytest
import torch

from bayesprune.budgets.limits import Limits
from bayesprune.data import Data, TensorSplit
from bayesprune.errors import PruningWarning
from bayesprune.inference.parsimonious import Parsimonious
from bayesprune.inference.review import Review, fell, few_steps, still_learning
from bayesprune.models import LeNet300
from bayesprune.run.budget import parse_budgets
from bayesprune.run.running import run
from bayesprune.run.settings import RunSettings
from bayesprune.tasks import Classification
from bayesprune.training import TrainState

MakeState = Callable[..., TrainState]


def epoch(number: int, accuracy: float, nll: float, price: float) -> dict[str, Any]:
    return {"epoch": number, "validation_score": accuracy, "validation_nll": nll, "price": price}


def reviewed(state: TrainState, history: list[dict[str, Any]], **settings: Any) -> list[str]:
    state.history = history
    return list(Review(1_000, 500, settings.get("limit"))(state))


def test_a_loss_that_prices_do_not_explain_is_said(gated_state: MakeState) -> None:
    """0.3 nats more on each of 1,000 examples for a saving of 100: by hand."""
    (line,) = reviewed(gated_state(1.0), [epoch(1, 0.9, 0.3, 200.0), epoch(2, 0.7, 0.6, 100.0)])
    assert "from 90.0 % in epoch 1 to 70.0 %" in line
    assert "300 nats of log-likelihood were lost" in line
    assert "saves 100" in line
    assert "more epochs" in line


@pytest.mark.parametrize(
    "history",
    [
        [epoch(1, 0.9, 0.3, 500.0), epoch(2, 0.7, 0.6, 100.0)],  # 300 nats lost, 400 saved
        [epoch(1, 0.9, 0.3, 100.0), epoch(2, 0.88, 0.35, 100.0)],  # within what 500 images can tell
        [epoch(1, 0.7, 0.6, 500.0), epoch(2, 0.9, 0.3, 100.0)],
        [{"epoch": 1, "validation_score": None, "validation_nll": None, "price": 1.0}],
    ],
)
def test_nothing_is_said_of_what_is_explained(history: list[dict[str, Any]], gated_state: MakeState) -> None:
    assert reviewed(gated_state(1.0), history) == []


@pytest.mark.parametrize(("share", "lines"), [(0.95, 1), (1.2, 1), (0.85, 0), (0.1, 0)])
def test_gates_that_were_decided_before_anything_was_learnt_are_said(
    share: float, lines: int, gated_state: MakeState
) -> None:
    """By the last epoch of pruning, whatever the network learns afterwards."""
    state = gated_state(1.0)
    state.task = Classification(3)
    nll = share * log(3)
    history = [epoch(1, 0.5, nll, 9.0) | {"phase": "prune"}, epoch(2, 0.9, 0.01, 9.0) | {"phase": "fixed"}]
    found = reviewed(state, history)
    assert len(found) == lines
    assert all("hardly better than a guess" in line for line in found)


def test_a_budget_explains_what_it_was_used_for(gated_state: MakeState) -> None:
    """62 multiply-accumulates: a budget of 100 is used, one of 1,000 is not."""
    history = [epoch(1, 0.9, 0.3, 200.0), epoch(2, 0.7, 0.6, 100.0)]
    state = gated_state(1.0)
    assert reviewed(state, history, limit=Limits(parse_budgets("macs=100"), (100.0,))) == []
    assert len(reviewed(state, history, limit=Limits(parse_budgets("macs=1000"), (1_000.0,)))) == 1


def test_few_steps_name_the_epochs_that_are_needed() -> None:
    """600 steps of pruning are half of 35 epochs of 35 steps."""
    train = TensorSplit(torch.zeros(3_500, 1), torch.zeros(3_500, dtype=torch.int64))
    settings = RunSettings("parsimonious", epochs=6)
    (line,) = few_steps(105, train, settings)
    assert "105 steps" in line
    assert "epochs=35" in line
    assert few_steps(600, train, settings) == []


def test_a_short_run_warns_and_records_it(small_data: Data) -> None:
    with pytest.warns(PruningWarning, match="have 8 steps to decide themselves"):
        pruned = run(
            Parsimonious(),
            LeNet300((6, 5), (1, 6, 6), 3),
            small_data,
            RunSettings("parsimonious", epochs=2, batch_size=30),
        )
    assert pruned.result()["warnings"] == list(pruned.warnings)
    assert "8 steps" in pruned.warnings[0]


def judged(state: TrainState, nlls: list[float], scores: list[float]) -> TrainState:
    state.task = Classification(10)
    state.history = [
        {"epoch": place + 1, "phase": "fixed", "validation_nll": nll, "validation_score": score}
        for place, (nll, score) in enumerate(zip(nlls, scores, strict=True))
    ]
    return state


@pytest.mark.parametrize(
    ("nlls", "lines"),
    [
        ([2.3, 2.0, 1.7, 1.4, 1.2, 1.0, 0.9, 0.8], 1),  # from 1.0 to 0.8 in the last quarter, a third of a guess's
        ([2.3, 1.5, 1.0, 0.9, 0.8, 0.8, 0.8, 0.79], 0),  # level
        ([2.3, 1.5, 1.0, 0.6, 0.5, 0.4, 0.3, 0.2], 0),  # low enough
        ([2.3, 2.0, 1.0, 0.5], 0),  # too few epochs
    ],
)
def test_a_network_that_is_still_learning_is_told(nlls: list[float], lines: int, gated_state: MakeState) -> None:
    found = still_learning(judged(gated_state(1.0), nlls, [0.5] * len(nlls)))
    assert len(found) == lines
    assert not lines or "validation NLL fell from 1 to 0.8 in the last quarter of the epochs" in found[0]


@pytest.mark.parametrize(("scores", "lines"), [([0.2, 0.9, 0.6], 1), ([0.2, 0.9, 0.88], 0), ([0.2, 0.6, 0.9], 0)])
def test_a_network_that_was_better_once_is_told(scores: list[float], lines: int, gated_state: MakeState) -> None:
    """Of 500 examples a difference of shares around 0.9 has an error of 1.9 points, and twice that is allowed."""
    found = fell(judged(gated_state(1.0), [1.0] * 3, scores), 500)
    assert len(found) == lines
    assert not lines or "validation accuracy fell from 90.0 % in epoch 2 to 60.0 %" in found[0]

"""Plain gradient descent: when its learning rate falls, when it ends, and how long each round trains."""

from typing import Any

import pytest
import torch

import bayesprune as bp
from bayesprune.data import Data
from bayesprune.errors import SettingError
from bayesprune.experiments.methods import METHODS
from bayesprune.models import LeNet300
from bayesprune.pruners.constant import Curve
from bayesprune.pruners.plain import plateau
from bayesprune.run.running import initial_state
from bayesprune.run.settings import RunSettings
from bayesprune.training import NegativeLogLikelihood, Phase, TrainState
from bayesprune.training.adam import ClippedAdam


def plan_of(name: str, data: Data, **given: Any) -> tuple[TrainState, list[Phase]]:
    options = {"training": "plain", **given.pop("options", {})}
    plain: dict[str, Any] = {"method": name, "epochs": 30, "batch_size": 50, "options": options}
    chosen = RunSettings(**plain | given)
    state = initial_state(LeNet300((12, 8), (1, 6, 6), 3), data, chosen)
    return state, list(METHODS[name].plan(state, data, chosen).phases)


def test_training_is_plain(small_data: Data) -> None:
    state, phases = plan_of("magnitude", small_data, density=0.25, options={"schedule": "percentage", "rate": 0.5})
    assert [(phase.name, phase.steps) for phase in phases] == [("train", 150), ("round 1", 5), ("round 2", 5)]
    for phase in phases:
        optimizer = phase.optimizer(state.network.parameters())
        assert isinstance(optimizer, torch.optim.SGD)
        (group,) = optimizer.param_groups
        assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.01, 0, 0.0)
        assert isinstance(phase.objective, NegativeLogLikelihood)
        assert (phase.objective.noise, phase.objective.consistency) == (0.0, 0.0)
        assert phase.schedule(0.0) == phase.schedule(0.9) == 1.0
    _, phases = plan_of("magnitude", small_data, density=0.25, learning_rate=0.5, noise=0.2, options={
        "fixed_decay": 0.005, "prune_share": 0.0, "retrain": 4,
    })  # fmt: skip
    assert [(phase.name, phase.steps) for phase in phases] == [("round 1", 20)]
    (group,) = phases[0].optimizer(state.network.parameters()).param_groups
    assert (group["lr"], group["weight_decay"]) == (0.5, 0.005)
    assert isinstance(phases[0].objective, NegativeLogLikelihood) and phases[0].objective.noise == 0.2


def test_the_rate_falls_when_validation_stands_still(small_data: Data) -> None:
    state, phases = plan_of("dense", small_data)
    state.optimizers = {"network": phases[0].optimizer(state.network.parameters())}
    (group,) = state.optimizers["network"].param_groups
    group["initial_lr"] = group["lr"]
    # An epoch that rises changes nothing; each that does not takes a tenth, and at 1e-4 it is the end.
    expected = [(0.5, 1e-2, 0, False), (0.6, 1e-2, 0, False), (0.6, 1e-3, 0.5, False), (0.7, 1e-3, 0.5, False),
                (0.65, 1e-4, 0.5, False), (0.66, 1e-4, 0.5, False), (0.66, 1e-4, 0.5, True)]  # fmt: skip
    for accuracy, rate, momentum, ends in expected:
        state.history.append({"phase": "train", "validation_score": accuracy})
        assert plateau(state) is ends
        assert group["initial_lr"] == pytest.approx(rate) and group["momentum"] == momentum


def test_a_whole_run(small_data: Data) -> None:
    pruned = bp.prune(
        LeNet300((12, 8), (1, 6, 6), 3), small_data, "magnitude", density=0.25, epochs=200, batch_size=20,
        training="plain", schedule="percentage", rate=0.5, retrain=3, learning_rate=0.1,
    )  # fmt: skip
    phases = [record["phase"] for record in pruned.history]
    assert 3 < phases.count("train") < 200 and phases[-6:] == ["round 1"] * 3 + ["round 2"] * 3
    assert pruned.evaluation.nonzero_weights == 138
    assert pruned.history[-1]["test_accuracy"] == pruned.evaluation.accuracy
    assert [record["weights_left"] for record in pruned.history[-6:]] == [276] * 3 + [138] * 3
    assert pruned.history[0]["weights_left"] == 552
    assert pruned.evaluation.accuracy > 0.5


def test_what_does_not_go_with_it(small_data: Data) -> None:
    with pytest.raises(SettingError, match="training must be 'recipe', 'plain', 'adam' or 'clipped', not 'plane'"):
        plan_of("dense", small_data, options={"training": "plane"})
    with pytest.raises(SettingError, match="leave out training='plain'"):
        plan_of("set", small_data, density=0.5)
    with pytest.raises(SettingError, match="objective of its own"):
        plan_of("slimming", small_data, budget="macs=50%")


def test_options_of_constant_adam(small_data: Data) -> None:
    """Clipped gradients and a curve of other steps; both say so where they would do nothing."""
    _, (phase,) = plan_of("dense", small_data, options={"training": "adam", "clip": 5, "curve": 7})
    (curve,) = phase.updates
    assert isinstance(curve, Curve) and curve.every == 7
    assert isinstance(phase.optimizer(LeNet300((12, 8), (1, 6, 6), 3).parameters()), ClippedAdam)
    _, (phase,) = plan_of("dense", small_data, options={"training": "adam", "curve": 0})
    assert not phase.updates
    for option in ("clip", "curve"):
        with pytest.raises(SettingError, match=f"{option}=3.* does nothing here, since training='plain'"):
            plan_of("dense", small_data, options={option: 3})
    with pytest.raises(SettingError, match="clip must be a finite number > 0"):
        plan_of("dense", small_data, options={"training": "adam", "clip": 0})

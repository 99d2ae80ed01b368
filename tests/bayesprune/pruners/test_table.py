"""Every method of the table prunes by its own score and allocation, and not by another's.

The scores are held against closed forms in the tests beside them; here they are bound to names.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bayesprune.data import Data
from bayesprune.experiments.methods import METHODS
from bayesprune.models import LeNet300
from bayesprune.pruners.allocation import Layers, class_blind, class_uniform, cut
from bayesprune.pruners.budgeted import open_within
from bayesprune.pruners.channels import geometric_median, taylor_units
from bayesprune.pruners.problem import Problem, UnitScore, WeightScore
from bayesprune.pruners.saliency import grasp, logit_snip, obd, snip, synflow, taylor
from bayesprune.pruners.scores import l1_norms, magnitude
from bayesprune.pruners.surgeon import layer_obs
from bayesprune.pruners.units import unit_preferences
from bayesprune.run.budget import Budget
from bayesprune.run.running import initial_state
from bayesprune.run.settings import RunSettings
from bayesprune.training import TrainState

WEIGHTS: dict[str, tuple[WeightScore, Callable[[Layers], dict[str, Tensor]]]] = {
    "magnitude": (magnitude, class_blind), "class-uniform": (magnitude, class_uniform), "obd": (obd, class_blind),
    "layer-obs": (layer_obs, class_uniform), "snip": (snip, class_blind), "logit-snip": (logit_snip, class_blind),
    "grasp": (grasp, class_blind), "synflow": (synflow, class_blind), "taylor": (taylor, class_blind),
}  # fmt: skip
UNITS: dict[str, tuple[UnitScore, Callable[[Layers], dict[str, Tensor]]]] = {
    "l1-units": (l1_norms, class_uniform), "geometric-median": (geometric_median, class_uniform),
    "taylor": (taylor_units, class_blind),
}  # fmt: skip


def pruned_state(data: Data, method: str, **given: object) -> tuple[Problem, TrainState]:
    """A network before its first step: the problem it posed, and what the method made of it."""
    options: dict[str, object] = {"prune_share": 0.0, "least": 1}
    if method == "synflow":
        options["rounds"] = 1  # of several the score of each round is that of another network
    chosen = RunSettings.from_json({"method": method, "epochs": 4, "batch_size": 50, "options": options, **given})
    torch.manual_seed(0)
    network = LeNet300((12, 8), (1, 6, 6), 3)
    before, state = (initial_state(network, data, chosen) for _ in range(2))
    (phase,) = METHODS[method].plan(state, data, chosen).phases
    assert phase.start is not None
    torch.manual_seed(1)
    phase.start(state)
    torch.manual_seed(1)
    return Problem.of(before, data), state


def expected_masks(problem: Problem, method: str) -> dict[str, Tensor]:
    """What a method of this name is to keep of 552 weights at a density of 0.25."""
    score, allocate = WEIGHTS[method]
    return cut(allocate(Layers(score(problem), dict(problem.weights()))), 138, least=1)


@pytest.mark.parametrize("method", WEIGHTS)
def test_weights_are_kept_by_the_methods_own_score(small_data: Data, method: str) -> None:
    problem, state = pruned_state(small_data, method, density=0.25)
    expected = expected_masks(problem, method)
    assert all(torch.equal(state.masks[name], mask) for name, mask in expected.items())
    for other in WEIGHTS.keys() - {method}:  # and every other method would keep others
        torch.manual_seed(1)
        assert any(not torch.equal(state.masks[name], mask) for name, mask in expected_masks(problem, other).items())


@pytest.mark.parametrize("method", UNITS)
def test_channels_are_kept_by_the_methods_own_score(small_data: Data, method: str) -> None:
    problem, state = pruned_state(small_data, method, budget="macs=30%")
    kept = {}
    for name, (score, allocate) in UNITS.items():
        torch.manual_seed(1)
        preferences = unit_preferences(problem.structure, score(problem), allocate, least=1)
        whole = TrainState(problem.network, problem.structure, state.example)
        opened = open_within(whole, preferences, Budget("macs", 165.0, relative=False))  # 30 % of 552 is 165.6
        kept[name] = opened.nonzero().flatten().tolist()
    assert state.structure.original_gates().tolist() == kept[method]
    assert all(kept[other] != kept[method] for other in UNITS.keys() - {method})

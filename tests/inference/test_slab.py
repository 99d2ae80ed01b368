"""The slab reaches all that it stands for: the objective's weight decay, and the rule that takes it out again."""

from typing import Any

import pytest
import torch
from torch import Tensor

from bayesprune.data import Data
from bayesprune.inference.parsimonious import Parsimonious
from bayesprune.inference.removal import Attraction
from bayesprune.inference.updates import Shrink
from bayesprune.models import LeNet300
from bayesprune.run.method import Plan
from bayesprune.run.running import initial_state
from bayesprune.run.settings import RunSettings
from bayesprune.training import TrainState
from bayesprune.training.phase import make_optimizers

SLABS = (0.2, 1.0, 3.0)


def planned(data: Data, **options: Any) -> tuple[TrainState, Plan]:
    torch.manual_seed(0)
    settings = RunSettings("parsimonious", epochs=4, batch_size=40, noise=0.0, options=options)
    state = initial_state(LeNet300((6, 4), (1, 6, 6), 3), data, settings)
    return state, Parsimonious().plan(state, data, settings)


def slopes(data: Data, slab: float) -> tuple[Tensor, Tensor]:
    """All weights, and the gradient of the first phase's loss in them at given gates and examples."""
    state, plan = planned(data, slab=slab)
    phase = plan.phases[0]
    make_optimizers(state, phase)
    phase.objective.attach(state)
    inputs, labels = next(iter(data.train.batches(40, seed=0)))
    weights = [state.network.get_parameter(f"fc{k}.weight") for k in (1, 2, 3)]
    torch.manual_seed(1)
    found = torch.autograd.grad(phase.objective.loss(state, inputs, labels), weights)
    phase.objective.detach()
    return torch.cat([w.detach().flatten() for w in weights]), torch.cat([slope.flatten() for slope in found])


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("slab", SLABS)
def test_the_objective_decays_by_one_over_n_slab_squared(small_data: Data, slab: float) -> None:
    """Two slabs differ by their decay, which is all that hangs on the slab: w (1/slab^2 - 1/10^2) / N."""
    weights, here = slopes(small_data, slab)
    _, flat = slopes(small_data, 10.0)
    torch.testing.assert_close(here - flat, weights * (slab**-2 - 10.0**-2) / 240, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("slab", SLABS)
def test_the_removal_rule_knows_the_same_decay(small_data: Data, slab: float) -> None:
    _, plan = planned(small_data, slab=slab, removal="attraction")
    (rule,) = (update.rule for update in plan.phases[0].updates if isinstance(update, Shrink))
    assert isinstance(rule, Attraction) and rule.decay == pytest.approx(1 / (240 * slab**2))

"""A network must learn before its weights become noise: Gaussian weights on networks that know nothing yet."""

from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import bayesprune as bp
from bayesprune.data import Data, from_tensors
from bayesprune.errors import PruningWarning, SettingError
from bayesprune.inference.objective import DEVIATIONS, GATES, guide_of
from bayesprune.inference.ramp import Learning, LearningRamp, LinearRamp
from bayesprune.inference.spike_slab.flat import SpikeSlabFlat, SpikeSlabFlatOptions
from bayesprune.inference.spike_slab.nodes import SpikeSlab
from bayesprune.inference.warm_up import make_warm_up
from bayesprune.models import LeNet300
from bayesprune.run.method import Method
from bayesprune.run.running import initial_state
from bayesprune.run.settings import RunSettings
from bayesprune.training import TrainState, train


class Stranger(nn.Module):
    """A small residual network that this package has never seen: all its channels are tied by the sum."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 24, 3, padding=1), nn.BatchNorm2d(24)
        self.second, self.out = nn.Conv2d(24, 24, 3, padding=1), nn.Linear(24, 10)

    def forward(self, pictures: Tensor) -> Tensor:
        found = torch.relu(self.norm(self.first(pictures)))
        found = found + nn.functional.silu(self.second(found))
        said: Tensor = self.out(found.mean((2, 3)))
        return said


def digits() -> Data:
    pictures, classes = load_digits(return_X_y=True)
    return from_tensors(
        torch.tensor(pictures.reshape(-1, 1, 8, 8) / 16, dtype=torch.float32), torch.tensor(classes), seed=0
    )


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::bayesprune.errors.PruningWarning")
@pytest.mark.parametrize(("method", "least"), [("spike-slab-flat", 0.85), ("spike-slab", 0.3)])
def test_it_does_not_destroy_a_network_that_it_does_not_know(method: str, least: float) -> None:
    """Dense training reaches 91 % in these epochs; with noise from the first step both ended below 22 %."""
    assert bp.prune(Stranger, digits(), method, epochs=93, seed=0).evaluation.accuracy > least


def perceptron() -> LeNet300:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LeNet300((12, 8), (1, 6, 6), 3)


def trained(method: Method, data: Data, steps: int, **options: Any) -> tuple[TrainState, list[float]]:
    """So many steps of the pruning phase; how far the log deviations have moved after each."""
    settings = RunSettings(method.name, epochs=40, batch_size=24, options=options)
    state = initial_state(perceptron(), data, settings)
    (phase, *_) = method.plan(state, data, settings).phases
    begun: Any = guide_of(state)
    start = float(next(iter(begun.log_deviation.values())).detach().flatten()[0])
    found = []

    def look(state: TrainState) -> None:
        guide: Any = guide_of(state)
        values = torch.cat([value.detach().flatten() for value in guide.log_deviation.values()])
        found.append(float((values - start).abs().max()))
        if state.phase_step == steps:
            state.phase_step = phase.steps  # enough

    object.__setattr__(phase, "updates", [*phase.updates, look])
    train(state, [phase], data, batch_size=24, seed=0)
    return state, found


@pytest.mark.parametrize("method", [SpikeSlabFlat(), SpikeSlab()])
def test_deviations_wait_until_the_loss_is_level(method: Method, small_data: Data) -> None:
    state, moved = trained(method, small_data, 120, means_first=True)
    begins = next(step for step, value in enumerate(moved) if value > 1e-4)
    assert begins > 15  # three times the shortest memory, at least
    assert moved[-1] > 1e-4
    assert state.memory(Learning).clock > 0
    _, moved = trained(method, small_data, 3, means_first=False)
    assert moved[0] > 1e-4


@pytest.mark.usefixtures("at_once")
def test_gates_of_spike_slab_nodes_wait_for_the_deviations(small_data: Data) -> None:
    state, moved = trained(SpikeSlab(), small_data, 120, means_first=True)
    guide: Any = guide_of(state)
    assert moved[-1] > 1e-4 and float(guide.logit.detach().std()) == 0.0
    assert state.optimizers[GATES].param_groups[0]["lr"] == 0.0 < state.optimizers[DEVIATIONS].param_groups[0]["lr"]


@pytest.mark.usefixtures("at_once")
def test_spike_slab_nodes_of_perceptrons_start_all_at_once(small_data: Data) -> None:
    """As in the paper; with convolutions the means are first."""
    _, moved = trained(SpikeSlab(), small_data, 3)
    assert moved[0] > 1e-4
    settings = RunSettings("spike-slab", epochs=40)
    for network, waits in ((Stranger(), True), (LeNet300((12, 8), (1, 8, 8), 10), False)):
        data = digits()
        objective: Any = SpikeSlab().plan(initial_state(network, data, settings), data, settings).phases[0].objective
        assert (objective.warm_up is not None) == waits


@pytest.mark.parametrize(
    ("options", "deviation"), [({}, 0.05), ({"means_first": True}, 0.0024757), ({"deviation": 0.01}, 0.01)]
)
def test_means_that_are_first_learn_through_little_noise(
    options: dict[str, Any], deviation: float, small_data: Data
) -> None:
    settings = RunSettings("spike-slab", epochs=4, options=options)
    state = initial_state(perceptron(), small_data, settings)
    SpikeSlab().plan(state, small_data, settings)
    guide: Any = guide_of(state)
    assert guide.log_deviation["fc2|weight"].exp().tolist()[0][0] == pytest.approx(deviation, rel=1e-4)


def test_they_wait_where_prices_do_not(small_data: Data) -> None:
    """Prices that follow a budget do not wait, and deviations do: a loss is seen once by either."""
    settings = RunSettings("spike-slab-flat", epochs=40, batch_size=24, budget="macs=50%")
    state = initial_state(perceptron(), small_data, settings)
    objective: Any = SpikeSlabFlat().plan(state, small_data, settings).phases[0].objective
    assert isinstance(objective.ramp, LinearRamp) and isinstance(objective.warm_up, LearningRamp)
    free = RunSettings("spike-slab-flat", epochs=40, batch_size=24)
    state = initial_state(perceptron(), small_data, free)
    objective = SpikeSlabFlat().plan(state, small_data, free).phases[0].objective
    assert objective.ramp is objective.warm_up


def test_the_numbers_by_hand() -> None:
    assert make_warm_up(1000, gates_wait=True) == LearningRamp(100, 400, 25.0)
    assert make_warm_up(70_000) == LearningRamp(0, 480, 30.0)
    assert make_warm_up(10) == LearningRamp(0, 4, 5.0)


def test_decay_at_fixed_structure_is_that_of_the_plain_method() -> None:
    assert SpikeSlabFlatOptions(slab=0.1).fixed_slab == bp.ParsimoniousOptions().fixed_slab == 0.5


def test_means_first_is_true_or_false() -> None:
    kinds: tuple[Any, ...] = (bp.SpikeSlabOptions, bp.SpikeSlabFlatOptions)
    for options in kinds:
        with pytest.raises(SettingError, match="means_first must be true or false, not 1"):
            options(means_first=1)


def test_a_network_that_knows_nothing_when_its_nodes_are_chosen_says_so(small_data: Data) -> None:
    with pytest.warns(PruningWarning, match="predicted hardly better than a guess"):
        bp.prune(perceptron(), small_data, "spike-slab", epochs=1, learning_rate=1e-8, start=0.3)

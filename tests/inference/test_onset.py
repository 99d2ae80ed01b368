"""Nothing is judged before anything is learnt: what waits, for how long, and what is said where it was in vain."""

from __future__ import annotations

from collections.abc import Callable
from math import log
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import bayesprune as bp
from bayesprune.data import Data, from_tensors
from bayesprune.errors import PruningWarning
from bayesprune.inference import onset
from bayesprune.inference.multipliers.relatives import RELATIVES
from bayesprune.inference.objective import guide_of
from bayesprune.inference.onset import Onset
from bayesprune.inference.parsimonious import Parsimonious
from bayesprune.inference.spike_slab.edges import SparseWeights
from bayesprune.inference.spike_slab.flat import SpikeSlabFlat
from bayesprune.inference.spike_slab.group_slabs import GroupHorseshoe, GroupLasso
from bayesprune.inference.spike_slab.nodes import SpikeSlab
from bayesprune.models import LeNet300
from bayesprune.run.running import initial_state, run
from bayesprune.run.settings import RunSettings
from bayesprune.training import Checkpointer, TrainState, train
from bayesprune.training.memory import from_tree, to_tree
from bayesprune.training.phase import make_optimizers

MakeState = Callable[..., TrainState]
_ALL: tuple[Any, ...] = (
    Parsimonious(), SpikeSlab(), SpikeSlabFlat(), GroupLasso(), GroupHorseshoe(), SparseWeights(), *RELATIVES
)  # fmt: skip
METHODS: dict[str, Any] = {method.name: method for method in _ALL}


def watched(state: TrainState, losses: list[float], guess: float | None = 2.0, latest: int = 100) -> list[bool]:
    """Whether a run waits before each loss."""
    memory = state.memory(Onset)
    memory.guess, memory.latest, memory.memory = guess, latest, 5.0
    found = []
    for state.phase_step, loss in enumerate(losses):
        found.append(onset.waits(state))
        onset.observe(state, loss)
    return found


def test_it_is_over_once_the_loss_is_well_below_that_of_a_guess(gated_state: MakeState) -> None:
    """At 1 from the eleventh step on: the average over five steps is below 1.5 after the fourth of these."""
    state = gated_state()
    found = watched(state, [2.0] * 10 + [1.0] * 20)
    assert found == [True] * 14 + [False] * 16
    assert state.memory(Onset).left and onset.since(state) == 29 - 14
    assert onset.review(state) == []


def test_a_loss_that_is_level_needs_to_be_less_far_below(gated_state: MakeState) -> None:
    """A tenth below a guess is all that some data give."""
    found = watched(gated_state(), [1.8] * 40)
    assert found == [True] * 15 + [False] * 25
    assert all(watched(gated_state(), [1.95] * 40))


def test_without_a_known_guess_the_first_loss_stands_for_it(gated_state: MakeState) -> None:
    assert not watched(gated_state(), [8.0, *[2.0] * 30], guess=None)[-1]
    assert all(watched(gated_state(), [2.0] * 30, guess=None))


def test_it_ends_at_the_latest_and_says_so(gated_state: MakeState) -> None:
    state = gated_state()
    found = watched(state, [2.0] * 140)
    assert found == [True] * 100 + [False] * 40
    (line,) = onset.review(state)
    assert "first 100 steps the loss (2) never fell notably below that of the best constant answer (2)" in line


def test_noise_is_left_out_while_nothing_moves(gated_state: MakeState) -> None:
    state = gated_state()
    watched(state, [2.0] * 14)
    assert not onset.stalls(state)
    watched(state, [2.0] * 2)
    assert onset.stalls(state)


def test_what_rises_begins_after_the_wait(gated_state: MakeState) -> None:
    state = gated_state()
    memory = state.memory(Onset)
    memory.latest, memory.begun = 100, 40
    found = []
    for state.phase_step in (40, 44, 49, 60):
        found.append(onset.risen(state, 10))
    assert found == pytest.approx([0.1, 0.5, 1.0, 1.0])
    memory.begun = -1
    assert onset.risen(state, 10) == onset.risen(state, 0) == 0.0


def test_it_comes_back_from_a_checkpoint(gated_state: MakeState) -> None:
    state = gated_state()
    watched(state, [2.0, 1.9, 1.8])
    again = from_tree(to_tree({"Onset": state.memory(Onset)}), torch.device("cpu"))["Onset"]
    assert again == state.memory(Onset) and again is not state.memory(Onset)


def perceptron() -> LeNet300:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LeNet300((12, 8), (1, 6, 6), 3)


class StopError(Exception):
    """The run is cut off."""


def until(step: int) -> Callable[[Any], None]:
    """Cuts a run off after a step."""

    def stop(progress: Any) -> None:
        if progress.step > step:
            raise StopError

    return stop


@pytest.mark.parametrize("name", METHODS)
def test_nothing_but_the_network_moves_while_the_loss_is_that_of_a_guess(name: str, small_data: Data) -> None:
    """Four steps: the loss cannot be averaged before."""
    settings = RunSettings(name, epochs=40, batch_size=24)
    state = initial_state(perceptron(), small_data, settings)
    (phase, *_) = METHODS[name].plan(state, small_data, settings).phases
    begun = [parameter.detach().clone() for parameter in guide_of(state).parameters()]
    weights = state.network.get_parameter("fc1.weight").detach().clone()
    with pytest.raises(StopError):
        train(state, [phase], small_data, batch_size=24, seed=0, progress=until(3))
    after = list(guide_of(state).parameters())
    assert begun and all(map(torch.equal, begun, after))
    assert not torch.equal(weights, state.network.get_parameter("fc1.weight"))


@pytest.mark.parametrize("name", ["vib", "bc-gnj", "sparse-vd", "parsimonious", "spike-slab", "ss-ghs", "sv-bnn"])
def test_the_objective_is_the_mean_loss_alone_then(name: str, small_data: Data) -> None:
    """No penalty, no prior, and of noise only that of multipliers that start near 1."""
    settings = RunSettings(name, epochs=40, batch_size=24, options={"start": 1 - 1e-6} if name in OPEN else {})
    state = initial_state(perceptron(), small_data, settings)
    plain = cross_entropy(state.network.eval()(inputs_of(small_data)[0]), inputs_of(small_data)[1])
    (phase, *_) = METHODS[name].plan(state, small_data, settings).phases
    make_optimizers(state, phase)
    phase.objective.attach(state)
    found = phase.objective.loss(state, *inputs_of(small_data))
    phase.objective.detach()
    assert float(found.detach()) == pytest.approx(float(plain.detach()), abs=0.02)


OPEN = ("parsimonious", "spike-slab", "ss-ghs", "sv-bnn")


def inputs_of(data: Data) -> tuple[Tensor, Tensor]:
    inputs, labels = next(iter(data.train.batches(240)))
    return inputs, labels


class Concat(nn.Module):
    """Two convolutions side by side, batch normalisation and a mean over the map: it learns nothing for 60 steps."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 10, 3, padding=1), nn.Conv2d(1, 6, 5, padding=2)
        self.n, self.c = nn.BatchNorm2d(16), nn.Conv2d(16, 20, 3, padding=1)
        self.h, self.o = nn.Linear(20, 24), nn.Linear(24, 10)

    def forward(self, pictures: Tensor) -> Tensor:
        found = torch.relu(self.n(torch.cat([self.a(pictures), self.b(pictures)], 1)))
        found = nn.functional.gelu(self.c(found)).mean((2, 3))
        said: Tensor = self.o(torch.relu(self.h(found)))
        return said


def digits() -> Data:
    pictures, classes = load_digits(return_X_y=True)
    pixels = torch.tensor(pictures.reshape(-1, 1, 8, 8) / 16, dtype=torch.float32)
    return from_tensors(pixels, torch.tensor(classes), seed=77)


def test_the_guess_is_that_of_the_training_labels() -> None:
    data = digits()
    state = initial_state(Concat(), data, RunSettings("vib", epochs=40))
    onset.prepare(state, data, 1_000)
    memory = state.memory(Onset)
    assert memory.guess == pytest.approx(log(10), abs=1e-3)
    assert (memory.latest, memory.memory) == (400, 25.0)


@pytest.mark.long
@pytest.mark.parametrize(
    ("method", "least"), [("spike-slab-flat", 0.75), ("vib", 0.9), ("sbp", 0.8), ("l0", 0.8), ("parsimonious", 0.8)]
)
def test_a_network_that_learns_late_is_learnt(method: str, least: float) -> None:
    """Dense training reaches 90.5 %; without the wait spike-slab-flat and vib ended at a guess, 10.0 %."""
    with torch.random.fork_rng(devices=[]):
        assert bp.prune(Concat, digits(), method, seed=4711, progress=False).evaluation.accuracy > least


def test_a_run_that_waited_in_vain_says_so(small_data: Data) -> None:
    with pytest.warns(PruningWarning, match="never fell notably below that of the best constant answer"):
        bp.prune(perceptron(), small_data, "vib", epochs=6, batch_size=24, learning_rate=1e-8)


@pytest.mark.parametrize("name", ["parsimonious", "sbp", "spike-slab", "sv-bnn"])
def test_a_run_that_is_cut_off_while_it_waits_ends_alike(name: str, small_data: Data, tmp_path: Path) -> None:
    settings = RunSettings(name, epochs=6, batch_size=24)
    whole = run(METHODS[name], perceptron(), small_data, settings)
    saved = Checkpointer(tmp_path / "state", steps=1)
    with pytest.raises(StopError):
        run(METHODS[name], perceptron(), small_data, settings, checkpointer=saved, progress=until(3))
    again = run(METHODS[name], perceptron(), small_data, settings, checkpointer=saved)
    assert again.warnings == whole.warnings and again.kept == whole.kept
    for key, value in whole.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[key])

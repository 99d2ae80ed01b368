"""Noise of learnt strength, against formulas written out and against what it must do."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from bayesprune.data import Data
from bayesprune.errors import SettingError
from bayesprune.inference.noise import LearntNoise, NoiseScale, hold, noise_of
from bayesprune.inference.parsimonious import Parsimonious
from bayesprune.models import LeNet300
from bayesprune.run.running import initial_state, run
from bayesprune.run.settings import RunSettings
from bayesprune.training import TrainState


@pytest.fixture
def state(small_data: Data) -> TrainState:
    """A perceptron with learnt noise over its gates."""
    settings = RunSettings("parsimonious", epochs=2)
    state = initial_state(LeNet300((5, 4), small_data.input_shape, small_data.classes), small_data, settings)
    state.modules["noise"] = NoiseScale(state.structure.gate_count, 0.3)
    return state


def test_information_is_that_of_a_gaussian_channel() -> None:
    """A channel of signal power 1 and noise power s^2 passes 1/2 ln(1 + 1/s^2) nats: ln 2 / 2 at s = 1."""
    noise = NoiseScale(3, 1.0)
    torch.testing.assert_close(noise.penalty().item(), 3 * 0.34657359)
    with torch.no_grad():
        noise.log_scale.copy_(torch.tensor([0.0, -1.0, -2.0]))
    scale = noise.log_scale.exp()
    torch.testing.assert_close(noise.penalty(), 0.5 * torch.log(1 + 1 / scale**2).sum())


def test_gradient_of_the_strength_is_that_of_the_expected_loss(state: TrainState, small_data: Data) -> None:
    """The reparametrised gradient's mean against central differences of the loss's mean over the same draws."""
    inputs, labels = next(iter(small_data.train.batches(40)))
    objective = LearntNoise(1e-3)
    objective.attach(state)
    log_scale = noise_of(state).log_scale

    def mean_loss(shift: float) -> torch.Tensor:
        torch.manual_seed(0)
        with torch.no_grad():
            log_scale[-1] += shift
        loss = torch.stack([objective.loss(state, inputs, labels) for _ in range(20)]).mean()
        with torch.no_grad():
            log_scale[-1] -= shift
        return loss

    mean_loss(0.0).backward()
    assert log_scale.grad is not None
    numeric = (mean_loss(2e-2) - mean_loss(-2e-2)).item() / 4e-2
    assert log_scale.grad[-1].item() == pytest.approx(numeric, rel=0.03, abs=2e-5)
    objective.detach()


def test_noise_of_the_least_strength_is_all_but_none(state: TrainState, small_data: Data) -> None:
    inputs, labels = next(iter(small_data.train.batches(40)))
    with torch.no_grad():
        noise_of(state).log_scale.fill_(-30.0)
    hold(state)
    torch.testing.assert_close(noise_of(state).log_scale.exp(), torch.full_like(noise_of(state).log_scale, 0.01))
    objective = LearntNoise(1e-9)
    objective.attach(state)
    plain = cross_entropy(state.network(inputs), labels)
    torch.testing.assert_close(objective.loss(state, inputs, labels), plain, rtol=0.02, atol=0.02)
    objective.detach()


def test_a_run_learns_its_noise_and_cuts_it_with_the_network(small_data: Data) -> None:
    settings = RunSettings(
        "parsimonious", epochs=40, price=1.0, widths=(12, 8),
        options={"learnt_noise": 1e-3, "horizon": 10, "prune_share": 0.5},
    )  # fmt: skip
    network = LeNet300((12, 8), small_data.input_shape, small_data.classes)
    pruned = run(Parsimonious(), network, small_data, settings)
    assert sum(len(kept) for kept in pruned.kept.values()) < 56
    assert pruned.history[-1]["phase"] == "fixed"


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan")])
def test_a_weight_that_cannot_be_is_refused(weight: float) -> None:
    with pytest.raises(SettingError, match="learnt noise must be a finite number > 0"):
        LearntNoise(weight)


def test_a_start_out_of_bounds_is_refused() -> None:
    with pytest.raises(SettingError, match="between 0.01 and 1.0, not at 0.0: set noise"):
        NoiseScale(3, 0.0)

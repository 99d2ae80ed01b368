"""The best constant answer, against closed forms; and when a network is no better."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import bayesprune as bp
from bayesprune.data import Data, from_tensors
from bayesprune.errors import PruningWarning
from bayesprune.evaluation.constant import best_constant, is_no_better


def made(targets: Any, task: Any) -> Data:
    inputs = torch.randn(len(targets), 3, generator=torch.Generator().manual_seed(1))
    return from_tensors(inputs, torch.as_tensor(targets), task=task, seed=0)


def training_targets(data: Data) -> Tensor:
    return torch.cat([targets for _, targets in data.train.batches(100)])


def fitted(data: Data) -> Any:
    return best_constant(data.task, data.task.likelihood(), data.train)


def test_of_classes_it_is_their_entropy() -> None:
    data = made([0] * 70 + [1] * 20 + [2] * 10, "classification")
    shares = torch.bincount(training_targets(data)).double() / len(data.train)
    found = fitted(data)
    assert found.loss == pytest.approx(float(-(shares * shares.log()).sum()), abs=1e-5)
    assert torch.allclose(found.output.softmax(0).double(), shares, atol=1e-3)


def test_of_one_tag_it_is_the_entropy_of_its_share() -> None:
    data = made([0.0] * 80 + [1.0] * 20, "binary")
    share = float(training_targets(data).mean())
    assert fitted(data).loss == pytest.approx(-share * np.log(share) - (1 - share) * np.log(1 - share), abs=1e-5)


def test_of_numbers_it_is_their_mean_at_the_noise_that_training_begins_with() -> None:
    data = made(np.linspace(3.0, 9.0, 100), "regression")
    found, targets = fitted(data), training_targets(data)
    spread = float((targets - targets.mean()).square().mean())
    assert found.loss == pytest.approx(0.5 * np.log(2 * np.pi) + 0.5 * spread, abs=1e-5)
    assert float(found.likelihood.deviation().detach()) == pytest.approx(spread**0.5, rel=1e-4)


def test_of_counts_it_is_the_logarithm_of_their_mean() -> None:
    data = made(np.arange(100) % 7, "counts")
    assert float(fitted(data).output) == pytest.approx(float(training_targets(data).mean().log()), abs=1e-4)


def test_of_positions_it_is_the_same_at_each() -> None:
    pictures = torch.randn(40, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    data = from_tensors(pictures, (torch.arange(640).reshape(40, 4, 4) % 3 == 0).long(), task="segmentation", seed=0)
    targets = training_targets(data)
    shares = torch.bincount(targets.flatten()).double() / targets.numel()
    assert fitted(data).loss == pytest.approx(float(-(shares * shares.log()).sum()) * 16, rel=1e-4)


def test_a_loss_of_the_users_that_takes_no_constant_has_none() -> None:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        raise ValueError("only outputs of my network")

    assert fitted(made(np.linspace(0.0, 1.0, 60), bp.OwnTask(loss=loss))) is None


@pytest.mark.parametrize(
    ("scores", "no_better"),
    [
        ({"accuracy": 0.5, "nll": 0.70}, True),
        ({"accuracy": 0.9, "nll": 5.0}, False),  # sure of itself and often right
        ({"accuracy": 0.5, "nll": 0.4}, False),
        ({"accuracy": 0.55, "nll": 0.69}, True),  # within what 60 examples can tell
    ],
)
def test_a_network_is_better_by_its_metric_or_by_its_likelihood(scores: dict[str, float], no_better: bool) -> None:
    data = made([0, 1] * 150, "classification")
    assert (is_no_better(scores, fitted(data), data.test, data.task) is not None) == no_better


@pytest.mark.parametrize("method", ["dense", "parsimonious", "vib", "spike-slab", "sv-bnn", "l1-units"])
def test_a_run_that_ends_at_a_guess_says_so(method: str) -> None:
    """The labels have nothing to do with the inputs."""
    data = made(np.arange(120) % 3, "classification")
    size: dict[str, Any] = {"budget": "macs=50%"} if method == "l1-units" else {}
    with pytest.warns(PruningWarning, match="ended at a guess: its test accuracy is .* best constant answer"):
        bp.prune("mlp", data, method, epochs=1, learning_rate=1e-7, seed=0, **size)


def test_one_that_has_learnt_says_nothing(small_data: Data) -> None:
    pruned = bp.prune("mlp", small_data, "dense", epochs=8, seed=0)
    assert not any("guess" in line for line in pruned.warnings)

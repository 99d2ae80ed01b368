"""What is measured in the unit of the targets, against scipy: known noise, several outputs, positions that count."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from bayesprune.tasks import Regression, Segmentation


def test_known_noise_is_in_the_unit_of_the_targets() -> None:
    """Targets with deviation 40 and noise 5, and with deviation 0.1 and noise 0.02: NLL and coverage by scipy."""
    random = np.random.default_rng(0)
    targets = random.normal(size=(400, 2)) * [40.0, 0.1] + [300.0, -2.0]
    task = Regression(2, noise=(5.0, 0.02)).refitted(targets, "here")
    likelihood, truth = task.likelihood(), task.targets(targets, "here")
    outputs = truth + torch.tensor(random.normal(size=(400, 2)) * [0.125, 0.2], dtype=torch.float32)
    found = task.measured(outputs, truth, likelihood)
    predicted = task.answers(outputs.double()).numpy()
    surprise = -norm.logpdf(targets, predicted, [5.0, 0.02]).sum(1).mean()
    low, high = norm.interval(0.9, predicted, [5.0, 0.02])
    assert found["nll"] == pytest.approx(surprise, rel=1e-3)
    assert found["coverage"] == pytest.approx(((low <= targets) & (targets <= high)).mean(), abs=0.003)
    assert found["rmse"] == pytest.approx(np.sqrt(np.square(predicted - targets).mean()), rel=1e-3)
    # In training the same, but for the logarithms of the deviations that targets were divided by.
    per_example = float(likelihood.loss(outputs.double(), truth.double()))
    assert per_example + np.log(task.to_json()["std"]).sum() == pytest.approx(surprise, rel=1e-3)


def test_the_loss_of_a_position_is_a_mean_over_those_that_count() -> None:
    """Of batches of unequal sizes too: by hand from the log-softmax."""
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(5, 3, 4, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 3, (5, 4), generator=generator)
    labels[0, :3], labels[4, 1] = -100, -100
    task = Segmentation(3)
    likelihood = task.likelihood()
    batches = [task.collected(outputs[rows], labels[rows], likelihood) for rows in (slice(0, 1), slice(1, 5))]
    logs = outputs.log_softmax(1).movedim(1, -1)[labels != -100]
    expected = -logs.gather(1, labels[labels != -100][:, None]).mean()
    assert task.measure(batches, likelihood)["nll"] == pytest.approx(float(expected), rel=1e-9)

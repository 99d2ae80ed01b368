"""Several networks as one: means of what they predict, by torch.distributions."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Categorical, Poisson

import bayesprune as bp
from bayesprune.data import Data, from_tensors
from bayesprune.errors import SettingError
from bayesprune.run.ensemble import Ensemble
from bayesprune.tasks import Binary, Classification, Counts, MultiLabel, Segmentation, Task


def predicted(task: Task, outputs: Tensor) -> Tensor:
    """Probabilities or rates of one network, by other code than the task's."""
    if isinstance(task, Classification | Segmentation):
        return Categorical(logits=outputs.movedim(1, -1)).probs.movedim(-1, 1)
    if isinstance(task, Counts):
        return Poisson(outputs.exp()).mean
    return Bernoulli(logits=outputs).probs


@pytest.mark.parametrize(
    ("task", "shape"),
    [(Classification(3), (4, 3)), (Segmentation(3), (4, 3, 5)), (Binary(1), (4, 1)), (MultiLabel(3), (4, 3)),
     (Counts(2), (4, 2))],
)  # fmt: skip
def test_the_mean_is_that_of_what_is_predicted(task: Task, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    several = 5 * torch.randn(3, *shape, dtype=torch.float64)
    mean = torch.stack([predicted(task, one) for one in several]).mean(0)
    torch.testing.assert_close(predicted(task, task.averaged(several)), mean)
    extreme = task.averaged(torch.tensor([300.0, -300.0]).view(2, *([1] * len(shape))).expand(2, *shape))
    assert bool(extreme.isfinite().all())


def rows() -> Data:
    """A regression on two inputs."""
    inputs = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
    return from_tensors(inputs, inputs.sin().sum(1) + 0.1, task="regression", seed=0)


def small() -> nn.Module:
    """A perceptron 2-8-1."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))


def test_restarts_are_evaluated_together() -> None:
    given: dict[str, Any] = {"epochs": 3, "price": 1.0, "seed": 1}
    best = bp.prune(small(), rows(), restarts=2, **given)
    found = best.evaluate_ensemble()
    assert found.macs == sum(one.evaluation.macs for one in best.restarts)
    inputs, targets = next(iter(rows().test.batches(1000)))
    outputs = [one.network(inputs).detach() for one in best.restarts]
    assert best.task is not None and best.likelihood is not None
    expected = best.task.measured(torch.stack(outputs).mean(0), targets, best.likelihood)["rmse"]
    assert expected is not None and found.rmse == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(best.ensemble()(inputs), torch.stack(outputs).mean(0))


def test_one_run_is_no_ensemble() -> None:
    with pytest.raises(SettingError, match="restarts=5"):
        bp.prune(small(), rows(), epochs=2, price=1.0).ensemble()


def test_tuples_and_dicts_reach_the_networks() -> None:
    class Two(nn.Module):
        def forward(self, left: Tensor, right: Tensor) -> Tensor:
            return left - right

    both = Ensemble([Two(), Two()], None)
    left, right = torch.randn(4, 3), torch.randn(4, 3)
    assert torch.equal(both((left, right)), left - right)
    assert torch.equal(both({"right": right, "left": left}), left - right)

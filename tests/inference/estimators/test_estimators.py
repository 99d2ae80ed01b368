"""What estimators have in common: the table, settings, cost, other kinds of networks and likelihoods."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

from bayesprune.errors import SettingError, UnknownNameError
from bayesprune.inference.elbo import MiniBatch
from bayesprune.inference.estimators import ESTIMATORS, SalientFlips, UniformFlips, estimator
from bayesprune.inference.estimators.flips import systematic
from bayesprune.inference.guides import GateGuide
from bayesprune.inference.references.oracle import expected_loss
from bayesprune.models.gated import GatedModel
from bayesprune.models.likelihoods import GaussianLikelihood
from bayesprune.models.priors.gates import FlatteningGatePrior
from bayesprune.structure import find

if TYPE_CHECKING:
    from tests.inference.conftest import Moments, Tiny

UNBIASED = [name for name, make in ESTIMATORS.items() if make().unbiased]


class Convolutional(nn.Module):
    """3 filters, pooling, 3 more, and a linear layer on the flattened maps."""

    def __init__(self, normalised: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 3, 3)
        self.norm = nn.BatchNorm2d(3, momentum=0.0) if normalised else nn.Identity()
        self.conv2 = nn.Conv2d(3, 3, 2)
        self.last = nn.Linear(12, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        maps = nn.functional.max_pool2d(self.norm(self.conv1(inputs)).relu(), 2)
        logits: Tensor = self.last(self.conv2(maps).relu().flatten(1))
        return logits


def convolutional(normalised: bool = False, theta: tuple[float, ...] = (0.3, 0.6, 0.5, 0.8, 0.4, 0.7)) -> Any:
    """Model, guide, inputs and labels of a gated convolution network in double precision."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = Convolutional(normalised).double()
        for parameter in network.parameters():
            nn.init.normal_(parameter, 0.2, 0.6)
        inputs, labels = torch.randn(4, 1, 8, 8).double(), torch.randint(3, (4,))
    model = GatedModel(network, find(network, inputs), FlatteningGatePrior(torch.full((6,), 2.0).double()), 4)
    return model, GateGuide(model, torch.tensor(theta)).double(), inputs, labels


def gate_gradients(chosen: Any, case: Any, copies: int, steps: int) -> list[Tensor]:
    """Independent estimates of the gradient in theta."""
    model, guide, inputs, labels = case
    many = inputs.repeat(copies, *[1] * (inputs.dim() - 1)), labels.repeat(copies, *[1] * (labels.dim() - 1))
    losses = (chosen.loss(MiniBatch(model, guide, *many), guide.theta) for _ in range(steps))
    return [torch.autograd.grad(loss, guide.theta)[0] for loss in losses]


@pytest.mark.parametrize("name", UNBIASED)
def test_unbiased_on_convolutions(name: str, moments: Callable[[Iterable[Tensor]], Moments]) -> None:
    """Filters, a pooled map, and a flattened one, against the oracle."""
    case = convolutional()
    _, truth = expected_loss(*case)
    torch.manual_seed(0)
    measured = moments(gate_gradients(estimator(name), case, 25, 100))
    assert float(measured.distance(truth).max()) < 3
    assert float(measured.error.max()) < 0.15 * float(truth.square().mean().sqrt())


@pytest.mark.parametrize("name", UNBIASED)
def test_unbiased_with_a_gaussian_likelihood(
    name: str, tiny: Callable[..., Tiny], moments: Callable[[Iterable[Tensor]], Moments]
) -> None:
    """Regression: labels [B, 3] with noise of standard deviation 2."""
    case = tiny(seed=18, likelihood=GaussianLikelihood(2.0))
    case = case._replace(labels=torch.sin(case.inputs[:, :3]))
    _, truth = expected_loss(*case)
    torch.manual_seed(0)
    assert float(moments(gate_gradients(estimator(name), case, 40, 100)).distance(truth).max()) < 3


@pytest.mark.parametrize("name", ESTIMATORS)
def test_value_is_the_mean_loss_and_gates_are_drawn_for_each_example(name: str, tiny: Callable[..., Tiny]) -> None:
    """With all gates decided the value is exact; with undecided ones the copies of an example differ."""
    case = tiny(theta=(1.0, 0.0, 1.0, 1.0, 1.0, 0.0))
    exact, _ = expected_loss(*case)
    value = estimator(name).loss(MiniBatch(*case), case.guide.theta)
    torch.testing.assert_close(value.detach(), exact)
    drawn: list[Tensor] = []
    problem = MiniBatch(*tiny())
    original = problem.predict

    def watch(gates: Tensor, rows: Tensor | None = None) -> Any:
        drawn.append(gates)
        return original(gates, rows)

    problem.predict = watch  # type: ignore[method-assign]  # a spy
    torch.manual_seed(0)
    estimator(name).loss(problem, tiny().guide.theta)
    assert drawn[0].dim() == 2
    assert len(drawn[0].detach().unique(dim=0)) > 1


@pytest.mark.parametrize("name", ESTIMATORS)
def test_batch_normalisation_sees_one_training_pass_a_step(name: str) -> None:
    """Passes that only measure must not move the running statistics."""
    model, guide, inputs, labels = convolutional(normalised=True)
    model.train()
    estimator(name).loss(MiniBatch(model, guide, inputs, labels), guide.theta).backward()
    assert int(model.network.norm.num_batches_tracked) == 1
    assert model.network.norm.training
    assert torch.isfinite(guide.theta.grad).all()


@pytest.mark.parametrize("chosen", [SalientFlips(2000), UniformFlips(2000), UniformFlips(2000, control=True)])
def test_flips_under_batch_normalisation_compare_like_with_like(
    chosen: Any, moments: Callable[[Iterable[Tensor]], Moments]
) -> None:
    """A flip changes one example; with the statistics of the flipped ones alone the differences would be noise.

    The gates are decided, so the truth is one difference for each gate and example, with the running statistics.
    """
    case = convolutional(normalised=True, theta=(1.0, 0.0, 1.0, 1.0, 1.0, 0.0))
    model, guide, inputs, labels = case
    model.train()
    with torch.no_grad():
        model.network.norm.running_mean.copy_(torch.tensor([0.3, -0.2, 0.1]))
    torch.manual_seed(0)
    measured = moments(gate_gradients(chosen, case, 1, 30))
    model.eval()
    _, truth = expected_loss(model, guide, inputs, labels)
    assert float(measured.distance(truth).max()) < 3.5
    assert float(measured.error.max()) < 0.1 * float(truth.square().mean().sqrt())


def test_systematic_sampling_draws_in_proportion() -> None:
    """Every count is the expected number rounded down or up, weights of zero are never drawn, the mean is exact."""
    weights = torch.tensor([0.0, 1.0, 4.0, 0.0, 2.5, 0.5, 0.0])
    expected = 20 * weights.double() / weights.sum()
    torch.manual_seed(0)
    counts = torch.stack([torch.bincount(systematic(weights, 20), minlength=7) for _ in range(4000)]).double()
    assert bool((counts.sum(1) == 20).all())
    assert bool((counts >= expected.floor()).all() and (counts <= expected.ceil()).all())
    error = counts.std(0) / 4000**0.5
    assert bool(((counts.mean(0) - expected).abs() <= 4 * error).all())


def test_more_flips_than_pairs(tiny: Callable[..., Tiny]) -> None:
    """300 flips of 5 x 6 pairs, and of a training set of 5: pairs come several times."""
    case = tiny()
    torch.manual_seed(0)
    for chosen in (SalientFlips(300), UniformFlips(300), UniformFlips(1)):
        loss = chosen.loss(MiniBatch(*case), case.guide.theta)
        assert torch.isfinite(torch.autograd.grad(loss, case.guide.theta)[0]).all()


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("salient-flips", {"flips": 0}, "flips a step must be >= 1, not 0"),
        ("salient-flips", {"floor": 0.0}, "floor must be > 0"),
        ("score-function", {"draws": 1}, "needs draws >= 2, not 1"),
        ("score-function", {"margin": 0.5}, "margin must lie in"),
        ("disarm", {"margin": -0.1}, "margin must lie in"),
        ("curvature", {"flips": 3}, "does not take"),
    ],
)
def test_settings_that_cannot_be_used(name: str, settings: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingError, match=says):
        estimator(name, **settings)


def test_unknown_estimator() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'curvature'"):
        estimator("curvatur")

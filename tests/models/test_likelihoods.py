"""Likelihoods against torch's distributions and closed forms."""

from math import log, pi

import pytest
import torch
from torch.distributions import Categorical

from bayesprune.errors import SettingError
from bayesprune.models.likelihoods import CategoricalLikelihood, FastCategorical, GaussianLikelihood


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("logits_shape", "value_shape"), [((7, 4), (7,)), ((4,), (5,)), ((2, 1, 4), (2, 3)), ((4,), ())]
)
def test_log_probability_is_torch_s(
    dtype: torch.dtype, logits_shape: tuple[int, ...], value_shape: tuple[int, ...]
) -> None:
    """Same batch, values for a broadcast batch, and single logits; gradients too."""
    torch.manual_seed(0)
    logits = (3 * torch.randn(logits_shape, dtype=dtype)).requires_grad_()
    value = torch.randint(4, value_shape)
    ours, theirs = FastCategorical(logits).log_prob(value), Categorical(logits=logits).log_prob(value)
    torch.testing.assert_close(ours, theirs)
    slopes = [torch.autograd.grad(log_prob.sum(), logits)[0] for log_prob in (ours, theirs)]
    torch.testing.assert_close(*slopes)


def test_shapes_and_probabilities() -> None:
    logits = torch.randn(7, 4)
    ours, theirs = FastCategorical(logits), Categorical(logits=logits)
    assert (ours.batch_shape, ours.event_shape) == ((7,), ())
    torch.testing.assert_close(ours.probs, theirs.probs)
    torch.testing.assert_close(ours.logits, theirs.logits)
    wider = ours.expand((3, 7))
    assert wider.batch_shape == (3, 7)
    ones = torch.ones(3, 7).long()
    torch.testing.assert_close(wider.log_prob(ones), theirs.expand((3, 7)).log_prob(ones))
    assert not ours.has_enumerate_support  # gates are what is enumerated


def test_sample_frequencies() -> None:
    """To 4 standard errors, with and without a sample shape; a class of probability 0 never comes."""
    probabilities = torch.tensor([[0.5, 0.0, 0.2, 0.3], [0.05, 0.9, 0.05, 0.0]])
    distribution = FastCategorical(probabilities.log())
    torch.manual_seed(0)
    draws = distribution.sample(torch.Size((50_000,)))
    assert draws.shape == (50_000, 2)
    assert draws.dtype == torch.int64
    for column in (0, 1):
        frequency = torch.bincount(draws[:, column], minlength=4) / 50_000
        error = (probabilities[column] * (1 - probabilities[column]) / 50_000).sqrt()
        assert bool(((frequency - probabilities[column]).abs() <= 4 * error).all())
    assert distribution.sample().shape == (2,)


def test_sampling_keeps_the_logits_differentiable() -> None:
    """The normalised logits are kept from the first use on; sampling first must not cut their gradient."""
    logits = torch.randn(5, 3, requires_grad=True)
    distribution = CategoricalLikelihood()(logits)
    drawn = distribution.sample()
    (slope,) = torch.autograd.grad(distribution.log_prob(drawn).sum(), logits)
    torch.testing.assert_close(slope, torch.nn.functional.one_hot(drawn, 3) - torch.softmax(logits, 1).detach())


def test_extreme_logits_stay_finite() -> None:
    distribution = FastCategorical(torch.tensor([[1e4, 0.0, -1e4]]))
    assert distribution.log_prob(torch.tensor([0])) == 0
    assert distribution.log_prob(torch.tensor([2])) == -2e4
    assert (distribution.sample(torch.Size((100,))) == 0).all()


def test_gaussian_log_probability() -> None:
    """-sum_k [(y_k - f_k)^2 / (2 s^2) + ln s + ln(2 pi)/2], one number an example."""
    outputs, labels = torch.randn(6, 2), torch.randn(6, 2)
    likelihood = GaussianLikelihood(0.5)(outputs)
    assert (likelihood.batch_shape, likelihood.event_shape) == ((6,), (2,))
    expected = -((labels - outputs) ** 2 / 0.5 + log(0.5) + 0.5 * log(2 * pi)).sum(1)
    torch.testing.assert_close(likelihood.log_prob(labels), expected)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_scales_that_cannot_be_used(scale: float) -> None:
    with pytest.raises(SettingError, match="noise scale must be"):
        GaussianLikelihood(scale)

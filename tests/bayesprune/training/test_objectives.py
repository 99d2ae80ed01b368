"""The loss of a mini-batch, against the same formula written out."""

from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import cross_entropy, linear

from bayesprune.errors import SettingError
from bayesprune.training import NegativeLogLikelihood, TrainState
from bayesprune.training.draws import draw_uniform

MakeState = Callable[..., TrainState]


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    inputs = torch.randn(9, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    return inputs, torch.arange(9) % 3


def test_without_noise_it_is_the_mean_cross_entropy(make_state: MakeState) -> None:
    state, objective, (inputs, labels) = make_state(), NegativeLogLikelihood(), batch()
    objective.attach(state)
    loss = objective.loss(state, inputs, labels)
    probabilities = state.network(inputs).softmax(1)
    expected = -probabilities[torch.arange(9), labels].log().mean()
    torch.testing.assert_close(loss, expected)
    assert objective.needs_labels


def test_noise_multiplies_what_every_consumer_reads_for_each_example_its_own(make_state: MakeState) -> None:
    state, objective, (inputs, labels) = make_state(inputs="auto"), NegativeLogLikelihood(0.3), batch()
    objective.attach(state)
    torch.manual_seed(5)
    loss = objective.loss(state, inputs, labels)
    torch.manual_seed(5)
    pixels, first, second = (1 + draw_uniform(9, 36 + 12 + 8, 0.3)).split([36, 12, 8], dim=1)
    weights = dict(state.network.named_parameters())
    hidden = linear(inputs.flatten(1) * pixels, weights["fc1.weight"], weights["fc1.bias"]).relu() * first
    hidden = linear(hidden, weights["fc2.weight"], weights["fc2.bias"]).relu() * second
    expected = cross_entropy(linear(hidden, weights["fc3.weight"], weights["fc3.bias"]), labels)
    torch.testing.assert_close(loss, expected)
    objective.detach()
    torch.testing.assert_close(objective.loss(state, inputs, labels), cross_entropy(state.network(inputs), labels))


def test_noise_is_for_training_only(make_state: MakeState) -> None:
    state, objective, (inputs, _) = make_state(), NegativeLogLikelihood(0.3), batch()
    before = state.network(inputs)
    objective.attach(state)
    assert torch.equal(state.network(inputs), before)


def test_consistency_compares_two_predictions_under_opposite_noise(make_state: MakeState) -> None:
    state, objective, (inputs, labels) = make_state(inputs="auto"), NegativeLogLikelihood(0.3, 0.7), batch()
    objective.attach(state)
    torch.manual_seed(5)
    loss = objective.loss(state, inputs, labels)
    torch.manual_seed(5)
    draw = draw_uniform(9, 36 + 12 + 8, 0.3)
    weights = dict(state.network.named_parameters())
    predictions = []
    for noise in (1 + draw, 1 - draw):
        pixels, first, second = noise.split([36, 12, 8], dim=1)
        hidden = linear(inputs.flatten(1) * pixels, weights["fc1.weight"], weights["fc1.bias"]).relu() * first
        hidden = linear(hidden, weights["fc2.weight"], weights["fc2.bias"]).relu() * second
        logits = linear(hidden, weights["fc3.weight"], weights["fc3.bias"])
        predictions.append(torch.distributions.Categorical(logits=logits))
    one, other = predictions
    likelihood = -(one.log_prob(labels) + other.log_prob(labels)).mean() / 2
    divergence = torch.distributions.kl_divergence
    expected = likelihood + 0.7 * (divergence(one, other) + divergence(other, one)).mean() / 2
    torch.testing.assert_close(loss, expected)


def test_without_noise_there_is_nothing_to_compare(make_state: MakeState) -> None:
    state, objective, (inputs, labels) = make_state(), NegativeLogLikelihood(0.0, 0.5), batch()
    objective.attach(state)
    torch.testing.assert_close(objective.loss(state, inputs, labels), cross_entropy(state.network(inputs), labels))


@pytest.mark.parametrize("noise", [-0.1, float("nan"), float("inf")])
def test_noise_that_cannot_be_is_refused(noise: float) -> None:
    with pytest.raises(SettingError, match="noise must be a finite number >= 0"):
        NegativeLogLikelihood(noise)


def test_consistency_that_cannot_be_is_refused() -> None:
    with pytest.raises(SettingError, match="consistency must be a finite number >= 0, not -1"):
        NegativeLogLikelihood(0.3, -1)

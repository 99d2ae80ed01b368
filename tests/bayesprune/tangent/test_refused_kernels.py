"""Networks and batches that have no tangent kernel are refused by name, and those that have one are not."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bayesprune.errors import DataError, NetworkError
from bayesprune.tangent.capture import check_separate
from bayesprune.tangent.kernels import contracted_kernel, tangent_kernel

WAYS = pytest.mark.parametrize("way", [tangent_kernel, contracted_kernel])


class Centred(nn.Module):
    """Subtracts the batch's mean."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs - inputs.mean(0)


class Summing(nn.Module):
    """Every sample sees those before it."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.cumsum(0)


def perceptron(*between: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), *between, nn.Tanh(), nn.Linear(3, 2)).double()


def batch(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


@pytest.mark.parametrize(
    ("layer", "training"),
    [(nn.BatchNorm1d(3), True), (nn.BatchNorm1d(3, track_running_stats=False), False)],
)
def test_batch_normalisation_over_the_batch_is_refused_by_name(layer: nn.Module, training: bool) -> None:
    network = perceptron(nn.Identity(), layer).train(training)
    with pytest.raises(NetworkError, match="layer '2' .BatchNorm1d. normalises over the batch.*evaluation mode"):
        check_separate(network, batch(3, 4))
    for way in (tangent_kernel, contracted_kernel):
        with pytest.raises(NetworkError, match="layer '2' .BatchNorm1d. normalises over the batch"):
            way(network, batch(1, 4), batch(2, 4))


def test_batch_normalisation_in_evaluation_mode_has_a_kernel() -> None:
    network = perceptron(nn.BatchNorm1d(3))
    network(batch(20, 4))  # statistics that are no zeros and ones
    network.eval()
    first, second = batch(2, 4), batch(3, 4)
    check_separate(network, first)
    kernel, expected = (way(network, first, second) for way in (tangent_kernel, contracted_kernel))
    torch.testing.assert_close(kernel, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("layer", [Centred(), Summing()])
def test_other_layers_that_mix_samples_are_refused(layer: nn.Module) -> None:
    with pytest.raises(NetworkError, match="depend on the other samples of its batch.*take out the layer"):
        check_separate(perceptron(layer), batch(5, 4))


@pytest.mark.parametrize(
    "network",
    [
        perceptron(),
        perceptron(nn.LayerNorm(3)),
        perceptron(nn.Dropout(0.5)),
        nn.Sequential(nn.ReLU(inplace=True), perceptron()),
        nn.Sequential(nn.Flatten(), nn.Linear(4, 2).double()).requires_grad_(False),
    ],
)
def test_networks_that_keep_samples_apart_are_not_refused(network: nn.Module) -> None:
    inputs = batch(5, 4)
    before = inputs.clone()
    check_separate(network, inputs)
    check_separate(network, inputs[:1])
    assert torch.equal(inputs, before)
    assert all(parameter.grad is None for parameter in network.parameters())


@WAYS
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_kernel_that_is_not_finite_is_refused(way: Any, value: float) -> None:
    network = perceptron()
    network.get_parameter("2.weight").data[0, 0] = value
    with pytest.raises(NetworkError, match="NaN or infinite values: check the network's weights"):
        way(network, batch(2, 4), batch(2, 4))


@WAYS
@pytest.mark.parametrize(
    ("first", "second"), [((2, 4), (2, 5)), ((2, 4), (2, 4, 1)), ((0, 4), (2, 4)), ((2, 4), (0, 4))]
)
def test_batches_that_do_not_fit_are_refused(way: Any, first: tuple[int, ...], second: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="two batches of samples of one shape, got") as caught:
        way(perceptron(), batch(*first), batch(*second))
    assert str(list(first)) in str(caught.value) and str(list(second)) in str(caught.value)


@WAYS
def test_a_network_without_parameters_is_refused(way: Any) -> None:
    with pytest.raises(NetworkError, match="no parameters, so it has no tangent kernel"):
        way(nn.Tanh(), batch(2, 4), batch(2, 4))


@pytest.mark.parametrize("shape", [(2, 1), (2,)])
def test_outputs_other_than_logits_are_refused(shape: tuple[int, ...]) -> None:
    network = nn.Sequential(perceptron(), nn.Unflatten(1, shape) if len(shape) > 1 else nn.Flatten(0))
    with pytest.raises(NetworkError, match=r"needs outputs \[samples, logits\], the network gives"):
        tangent_kernel(network, batch(2, 4), batch(2, 4))


def test_jacobians_may_be_taken_some_samples_at_a_time() -> None:
    network, first, second = perceptron(), batch(5, 4), batch(3, 4)
    whole = contracted_kernel(network, first, second)
    for chunk in (1, 2, 7):
        torch.testing.assert_close(contracted_kernel(network, first, second, chunk=chunk), whole)

"""The counter of multiply-accumulates against counts by hand, and against torch's own."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from bayesprune.structure import MacCounter

TIME, READS, WIDTH = 7, 4, 6
SERIES = torch.zeros(1, TIME, READS)
HEADS = torch.zeros(1, 2, 5, 4)
ATTENTION = TIME * (3 * READS * READS + READS * READS) + 2 * TIME * TIME * READS


def recurrent(gates: int, reads: int = READS) -> int:
    """Of one layer in one direction: every weight once a time step."""
    return TIME * gates * WIDTH * (reads + WIDTH)


class Attention(nn.MultiheadAttention):
    """Of a series to itself."""

    def forward(self, series: Tensor) -> Any:  # type: ignore[override]  # one name for the input
        return super().forward(series, series, series)


BY_HAND: dict[str, tuple[Callable[[], nn.Module], Tensor, int]] = {
    "gru": (lambda: nn.GRU(READS, WIDTH, batch_first=True), SERIES, recurrent(3)),
    "lstm": (lambda: nn.LSTM(READS, WIDTH, batch_first=True), SERIES, recurrent(4)),
    "rnn": (lambda: nn.RNN(READS, WIDTH, batch_first=True), SERIES, recurrent(1)),
    "two layers both ways": (
        lambda: nn.LSTM(READS, WIDTH, 2, batch_first=True, bidirectional=True),
        SERIES,
        2 * recurrent(4) + 2 * recurrent(4, 2 * WIDTH),
    ),
    "cell": (lambda: nn.GRUCell(READS, WIDTH), torch.zeros(1, READS), 3 * WIDTH * (READS + WIDTH)),
    "attention": (lambda: Attention(READS, 2, batch_first=True), SERIES, ATTENTION),
    "transformer": (
        lambda: nn.TransformerEncoderLayer(READS, 2, 9, batch_first=True), SERIES, ATTENTION + TIME * 2 * READS * 9,
    ),
    "linear": (lambda: nn.Linear(READS, WIDTH), SERIES, TIME * READS * WIDTH),
    "normalised": (lambda: nn.BatchNorm1d(TIME), SERIES, 0),
}  # fmt: skip


@pytest.mark.parametrize("grad", [torch.no_grad, torch.enable_grad, torch.inference_mode])
@pytest.mark.parametrize("name", BY_HAND)
def test_layers_by_hand(name: str, grad: Callable[[], Any]) -> None:
    make, inputs, expected = BY_HAND[name]
    network = make().eval()
    with grad(), MacCounter() as counter:
        network(inputs)
    assert counter.macs == expected


FUNCTIONS: dict[str, tuple[Callable[[], Any], int]] = {
    "linear": (lambda: functional.linear(torch.zeros(2, 3), torch.zeros(5, 3)), 2 * 3 * 5),
    "matrix and vector": (lambda: torch.zeros(3, 4) @ torch.zeros(4), 12),
    "vectors": (lambda: torch.zeros(4) @ torch.zeros(4), 4),
    "added": (lambda: torch.addmv(torch.zeros(3), torch.zeros(3, 4), torch.zeros(4)), 12),
    "summed": (lambda: torch.addbmm(torch.zeros(3, 5), torch.zeros(2, 3, 4), torch.zeros(2, 4, 5)), 2 * 3 * 4 * 5),
    "einsum": (lambda: torch.einsum("bi,ij->bj", torch.zeros(2, 3), torch.zeros(3, 4)), 24),
    "bilinear": (lambda: functional.bilinear(torch.zeros(2, 3), torch.zeros(2, 4), torch.zeros(5, 3, 4)), 2 * 60),
    "scaled attention": (
        lambda: functional.scaled_dot_product_attention(HEADS, HEADS, HEADS), 2 * 2 * 25 * 4,
    ),
    "product entry by entry": (lambda: torch.zeros(3, 4) * torch.zeros(3, 4), 0),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_by_hand(name: str) -> None:
    function, expected = FUNCTIONS[name]
    with MacCounter() as counter:
        function()
    assert counter.macs == expected


@pytest.mark.parametrize(("make", "shape"), [(lambda: nn.LSTM(4, 6), (7, 2, 4)), (lambda: nn.Linear(4, 6), (7, 4))])
def test_a_backward_pass_costs_two_forward_ones(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    network, inputs = make(), torch.zeros(shape, requires_grad=True)
    with MacCounter() as forward:
        outputs = network(inputs)
    with MacCounter() as backward:
        (outputs[0] if isinstance(outputs, tuple) else outputs).sum().backward()
    assert backward.macs == 2 * forward.macs > 0


def test_torchs_counter_finds_the_same_and_results_are_the_same() -> None:
    torch.manual_seed(0)
    network, inputs = (
        nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(27, 4)),
        torch.randn(5, 1, 5, 5),
    )
    network(inputs).square().sum().backward()
    plain = [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]
    network.zero_grad()
    with MacCounter() as ours, FlopCounterMode(display=False) as theirs:
        network(inputs).square().sum().backward()
    assert 2 * ours.macs == theirs.get_total_flops() > 0
    for parameter, expected in zip(network.parameters(), plain, strict=True):
        assert parameter.grad is not None and torch.equal(parameter.grad, expected)


def test_parameters_that_operators_were_given() -> None:
    used, other = nn.Linear(3, 2), nn.Linear(3, 2)
    with MacCounter() as counter:
        functional.linear(torch.zeros(1, 3), used.weight)
    assert id(used.weight) in counter.used and not {id(used.bias), id(other.weight)} & counter.used

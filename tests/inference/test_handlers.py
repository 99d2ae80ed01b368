"""The sampler of gates, and the handler that lets a model run with given ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import torch

from bayesprune.inference.handlers import GateHandler, draw_gates

if TYPE_CHECKING:
    from tests.inference.conftest import Tiny

DRAWS = 200_000


def test_frequencies() -> None:
    """Every gate opens with its probability, to 4 standard errors; so do pairs of gates and of neighbouring rows."""
    theta = torch.tensor([0.001, 0.1, 0.25, 1 / 3, 0.5, 0.77, 0.999])
    torch.manual_seed(0)
    gates = draw_gates(theta, DRAWS).double()
    assert set(gates.unique().tolist()) == {0.0, 1.0}
    chance = theta.double()
    error = (chance * (1 - chance) / DRAWS).sqrt()
    assert bool(((gates.mean(0) - chance).abs() < 4 * error).all())
    standard = (gates - chance) / (chance * (1 - chance)).sqrt()
    columns = standard.T @ standard / DRAWS  # independent: off the diagonal 0 +- 1 / sqrt(draws)
    assert float((columns - columns.diag().diag()).abs().max()) < 4.5 / DRAWS**0.5
    for lag in (1, 2, 3, 4, 7, 100):
        rows = standard[lag:].T @ standard[:-lag] / (DRAWS - lag)
        assert float(rows.abs().max()) < 4.5 / (DRAWS - lag) ** 0.5, lag


@pytest.mark.parametrize("gate_count", [1, 2, 3, 5, 1184])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_decided_gates_are_met_exactly(gate_count: int, dtype: torch.dtype) -> None:
    """Never the other value at 0 and 1, whatever the number of gates; the type is that of theta."""
    theta = (torch.arange(gate_count) % 2).to(dtype)
    gates = draw_gates(theta, 2000)
    assert gates.dtype == dtype
    assert gates.shape == (2000, gate_count)
    assert torch.equal(gates, theta.expand_as(gates))


def test_probabilities_are_met_to_sixteen_bits() -> None:
    """2^-16 and 1 - 2^-16 are told from 0 and 1: a million draws hold about 15 of the rare kind."""
    theta = torch.tensor([2.0**-16, 1 - 2.0**-16])
    torch.manual_seed(0)
    rare = draw_gates(theta, 2_000_000).double().sum(0)
    assert 8 < float(rare[0]) < 60  # 30.5 expected
    assert 8 < 2_000_000 - float(rare[1]) < 60


def test_probabilities_between_sixteen_bit_numbers_go_to_the_nearer_one() -> None:
    """0.75 / 2^16 is drawn as 1 / 2^16 and 0.25 / 2^16 as 0: 30.5 and 0 of two million."""
    theta = torch.tensor([0.75, 0.25]).double() * 2.0**-16
    rare = draw_gates(theta, 2_000_000).sum(0)
    assert 8 < float(rare[0]) < 60 and float(rare[1]) == 0


def test_draws_follow_the_global_seed_and_carry_no_gradient() -> None:
    theta = torch.full((9,), 0.5, requires_grad=True)
    torch.manual_seed(3)
    first, second = draw_gates(theta, 50), draw_gates(theta, 50)
    torch.manual_seed(3)
    assert torch.equal(draw_gates(theta, 50), first)
    assert not torch.equal(first, second)
    assert not first.requires_grad
    assert draw_gates(theta[:0], 4).shape == (4, 0)


def test_handler_runs_the_model_with_its_gates(tiny: Callable[..., Tiny]) -> None:
    """Global gates and gates for each example; N/B as the scale; the weights' log prior taken down once."""
    model, _, inputs, labels = tiny()
    gates = torch.tensor([1.0, 0.0, 1.0, 1.0, 1.0, 0.0]).double()
    for given in (gates, gates.expand(2, 6)):
        with GateHandler(given) as handler:
            model(inputs[:2], labels[:2])
        network: Any = model.network
        hidden = network.fc1(inputs[:2]).relu() * gates[:3]
        logits = network.fc3(network.fc2(hidden).relu() * gates[3:])
        torch.testing.assert_close(handler.predicted.logits, torch.log_softmax(logits, 1))
        assert handler.scale == 5 / 2
        assert handler.labels is labels or torch.equal(handler.labels, labels[:2])  # type: ignore[arg-type]  # set
        torch.testing.assert_close(handler.weight_log_prob, model.weight_prior.log_prob(network))

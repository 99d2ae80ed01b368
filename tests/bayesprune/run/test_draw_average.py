"""One network under draws of its gates: against networks that are really cut."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import bayesprune as bp
from bayesprune.errors import SettingError
from bayesprune.run.draw_average import DrawAverage
from bayesprune.run.pruned import Pruned
from bayesprune.structure import compact, find


def rows(count: int = 240) -> tuple[Tensor, Tensor]:
    """Three classes by two of five features."""
    inputs = torch.randn(count, 5, generator=torch.Generator().manual_seed(0))
    return inputs, (inputs[:, 0] > 0).long() + (inputs[:, 1] > 0).long()


@pytest.fixture(scope="module")
def pruned() -> Pruned:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))
    return bp.prune(network, rows(), epochs=6, batch_size=30, price=0.01, progress=False)


def draws_of(pruned: Pruned) -> Tensor:
    gates = torch.ones(2, 2, pruned.structure.gate_count, dtype=torch.uint8)
    gates[0, 1, 0] = gates[1, 0, 0] = gates[1, 1, -1] = 0
    return gates


def test_it_says_the_mean_of_the_networks_that_are_cut(pruned: Pruned) -> None:
    assert pruned._data is not None
    inputs, targets = next(iter(pruned._data.test.batches(1000)))
    gates = draws_of(pruned)
    chances = []
    for row in gates.flatten(0, 1):
        network = deepcopy(pruned.network).eval()
        compact(network, pruned.structure, row.bool())
        chances.append(network(inputs).softmax(1).detach())
    mean = torch.stack(chances).mean(0)
    module = pruned.ensemble(gates)
    torch.testing.assert_close(module(inputs).exp(), mean)
    torch.testing.assert_close(module(inputs[:7]), module(inputs)[:7])  # the draws are no matter of the batch
    found = pruned.evaluate_ensemble(gates=gates)
    assert found.metrics == pytest.approx(pruned.predictive(gates).metrics)
    assert found.nll == pytest.approx(float(-mean.detach().log()[torch.arange(len(targets)), targets].mean()), rel=1e-5)
    assert found.macs == 4 * pruned.evaluation.macs and found.params == pruned.evaluation.params
    assert not any(module._forward_pre_hooks for module in pruned.network.modules())


def test_copies_are_of_their_own_and_training_is_that_of_the_network(pruned: Pruned) -> None:
    inputs = torch.randn(9, 5)
    module = pruned.ensemble(draws_of(pruned))
    copy = deepcopy(module)
    with torch.no_grad():
        next(copy.parameters()).zero_()
    assert not torch.equal(copy(inputs), module(inputs))
    copy = deepcopy(module).train()
    for norm in copy.modules():
        if isinstance(norm, nn.BatchNorm1d):
            norm.eval()
    assert torch.equal(copy(inputs), pruned.network(inputs))


def test_drawn_gates_follow_the_inclusion_probabilities(pruned: Pruned) -> None:
    """Frequencies over 4,000 draws, within 5 standard errors; closed gates are not among them."""
    posterior = pruned.posterior
    assert posterior is not None
    theta = torch.linspace(0.3, 1.0, pruned.structure.initial_gate_count)
    made = deepcopy(pruned)
    object.__setattr__(made, "posterior", type(posterior)(**vars(posterior) | {"inclusion_probability": theta}))
    gates = made.drawn_gates(4_000, seed=1)
    wanted = theta[made.structure.original_gates()]
    assert gates.shape == (1, 4_000, made.structure.gate_count)
    error = (wanted * (1 - wanted) / 4_000).sqrt()
    # Of few gates some draws empty a layer, whose likeliest gate is then opened: at most that often is it too often.
    empty = 2 * max(float((1 - wanted[place]).prod()) for place in made.structure.slices().values())
    share = gates[0].float().mean(0)
    assert bool((share >= wanted - 5 * error - 1e-6).all()) and bool((share <= wanted + 5 * error + empty + 1e-6).all())
    assert torch.equal(gates, made.drawn_gates(4_000, seed=1))
    assert not torch.equal(gates, made.drawn_gates(4_000, seed=2))
    made.predictive(made.drawn_gates(2))


def test_without_a_task_the_outputs_are_averaged() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).eval()
    inputs = torch.randn(6, 3)
    structure = find(network, inputs, inputs="none")
    gates = torch.tensor([[1.0, 0, 2, 1], [0, 0, 0.5, 1]])
    hidden = network[0](inputs)
    expected = torch.stack([network[1](hidden * row) for row in gates]).mean(0)
    torch.testing.assert_close(DrawAverage(network, structure, gates, None).eval()(inputs), expected)


def test_what_does_not_fit_is_refused(pruned: Pruned) -> None:
    count = pruned.structure.gate_count
    gates: Any
    for gates in (torch.ones(2, count + 1), torch.ones(0, count)):
        with pytest.raises(SettingError, match=rf"\[draws, {count}\] are needed"):
            pruned.ensemble(gates)
    with pytest.raises(SettingError, match="draws must be an integer >= 1, not 0"):
        pruned.drawn_gates(0)
    dense = bp.prune(nn.Linear(5, 3), rows(), "dense", epochs=1, progress=False)
    with pytest.raises(SettingError, match="method 'dense' has no posterior to draw gates from"):
        dense.drawn_gates()

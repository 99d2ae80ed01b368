"""The plain recurrent network: its definition step by step, removal of hidden units, and what it refuses."""

from copy import deepcopy
from typing import Any

import pytest
import torch

import bayesprune as bp
from bayesprune.data import from_tensors
from bayesprune.errors import InputShapeError, SettingError, UnknownNameError
from bayesprune.models import GraphRNN, StackedRNN
from bayesprune.run.networks import NetworkSpec, name_of
from bayesprune.structure import Gating, compact, find, layer_costs

CELLS = ("tanh", "relu", "gru", "lstm")
TOKENS = torch.tensor([[1, 2, 3, 4, 0, 0], [4, 3, 2, 1, 2, 0], [2, 0, 0, 0, 0, 0]])


def net(cell: str = "gru", **given: Any) -> StackedRNN:
    small: dict[str, Any] = {"widths": (4, 3), "width": 5, "vocabulary": 5, "input_shape": (6,)}
    return StackedRNN(cell, **small | given)


@pytest.mark.parametrize("cell", CELLS)
def test_the_answer_is_read_at_the_last_letter(cell: str) -> None:
    """So it is that of each string alone, without padding, and does not depend on the batch; `last_step` does."""
    network = net(cell).eval()
    together = network(TOKENS)
    for row, length in enumerate((4, 5, 1)):
        state = network.embedding(TOKENS[row, :length])
        for layer in (network.rnn1, network.rnn2):
            state = layer(state)[0]  # type: ignore[operator]  # a layer of torch
        assert torch.allclose(together[row], network.head(state[-1]), atol=1e-6)
    last = net(cell, read="last_step").eval()
    assert not torch.allclose(last(TOKENS)[2], last(TOKENS[2:])[0], atol=1e-4)


@pytest.mark.parametrize(("cell", "gates"), [*zip(CELLS, (1, 1, 3, 4), strict=True)])
def test_costs_by_hand(cell: str, gates: int) -> None:
    costs = {one.name: one for one in layer_costs(net(cell), TOKENS[1:2])}
    sizes = {"rnn1": (5, 4), "rnn2": (4, 3)}
    for name, (inputs, units) in sizes.items():
        weights = gates * units * (inputs + units)
        one = costs.pop(name)
        assert (one.inputs, one.outputs, one.weights, one.positions) == (inputs, units, weights, 5)
        assert (one.macs, one.params) == (5 * weights, weights + 2 * gates * units)
    assert {name: one.macs for name, one in costs.items()} == {"head": 6}


@pytest.mark.parametrize("cell", CELLS)
def test_compact_equals_gated(cell: str) -> None:
    torch.manual_seed(1)
    network = net(cell, widths=(7, 6, 5)).eval()
    structure = find(network, TOKENS)
    assert {group.name: group.size for group in structure.groups} == {"embedding": 5, "rnn1": 7, "rnn2": 6, "rnn3": 5}
    gates = (torch.rand(structure.gate_count) < 0.6).float()
    for place in structure.slices().values():
        gates[place.start] = 1
    gates = structure.consistent(gates.bool()).float()
    gating = Gating(network, structure)
    with gating.applied(gates):
        gated = network(TOKENS)
    gating.remove()
    small = deepcopy(network)
    compact(small, structure, gates.bool())
    assert torch.allclose(small(TOKENS), gated, atol=1e-5)
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in network.parameters())


def test_by_name() -> None:
    for cell in CELLS:
        network = NetworkSpec(f"rnn-{cell}", {"input_shape": [60], "classes": 2}).build()
        spec = name_of(network)
        assert spec is not None and (spec.factory, spec.arguments["cell"]) == ("rnn", cell)
        assert [*spec.build().state_dict()] == [*network.state_dict()]
    # 3 x 50 units on an embedding of 27 x 50: torch's two biases a gate
    whole = NetworkSpec("rnn", {}).build()
    assert sum(p.numel() for p in whole.parameters()) == 27 * 50 + 3 * 3 * (2 * 2500 + 100) + 102


def test_bad_input() -> None:
    with pytest.raises(UnknownNameError, match="unknown kind of cell 'elman'"):
        net("elman")
    with pytest.raises(SettingError, match="read is 'first'"):
        net(read="first")
    for widths in ((), (4, 0)):
        with pytest.raises(SettingError, match=r"one or more widths >= 1"):
            net(widths=widths)
    with pytest.raises(InputShapeError, match=r"rnn cannot take inputs of shape \(1, 28, 28\)"):
        net(input_shape=(1, 28, 28))
    with pytest.raises(UnknownNameError, match="rnn-gru"):
        NetworkSpec("rnn-gry").build()


def test_units_of_a_graph_stay_and_the_refusal_says_what_to_do() -> None:
    data = from_tensors(TOKENS.repeat(20, 1), torch.arange(60) % 2, name="strings")
    network = GraphRNN([[0, 1], [1, 2]], width=2, vocabulary=5, input_shape=(6,))
    for method in ("parsimonious", "l1-units", "spike-slab-flat"):
        with pytest.raises(SettingError, match="joined by the fixed masks of a graph.*such as magnitude"):
            bp.prune(network, data, method, epochs=2, budget="macs=50%")

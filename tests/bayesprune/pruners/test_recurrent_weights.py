"""Single weights of recurrent layers and of layers with a graph's masks: which are counted, removed and kept."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import bayesprune as bp
from bayesprune.data import Data, from_tensors
from bayesprune.errors import BudgetError, NetworkError, SettingError, UnknownNameError
from bayesprune.models import GraphMLP, GraphRNN, LeNet300, StackedRNN
from bayesprune.pruners.controls import fresh
from bayesprune.pruners.saliency import hutchinson_diagonal
from bayesprune.run.running import initial_state
from bayesprune.run.settings import RunSettings
from bayesprune.structure import fixed_masks, weight_sizes, weights_of

GATES = {"tanh": 1, "relu": 1, "gru": 3, "lstm": 4}
WORKED = [[0, 2], [1, 2], [1, 3], [2, 3], [2, 4], [3, 4]]
"""Layers {0, 1}, {2}, {3} and {4}; the last two read the layer before and one more."""

GRAPH_WEIGHTS = 4 + 2 + 2 + 2 + 4 + 1 + 2 + 2
"""Of a network of WORKED with an embedding of 2 and one gate: read from other layers, then within a layer; there are
two cells in each of the last two layers. The head has 2 more."""


@pytest.fixture(scope="module")
def strings() -> Data:
    """Sequences of tokens 1 to 4, of class 1 where the first token is 1 or 2."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(1, 5, (300, 6), generator=generator)
    labels = (tokens[:, 0] < 3).long()
    parts = [(tokens[cut], labels[cut]) for cut in (slice(0, 200), slice(200, 240), slice(240, 300))]
    return from_tensors(*parts[0], validation=parts[1], test=parts[2], name="strings")


def net(cell: str = "gru") -> StackedRNN:
    return StackedRNN(cell, (4, 3), width=5, vocabulary=5, input_shape=(6,))


def prune(network: nn.Module | bp.Pruned, data: Data, method: str = "magnitude", **given: Any) -> bp.Pruned:
    usual: dict[str, Any] = {"epochs": 2, "batch_size": 50}
    return bp.prune(network, data, method, **usual | given)


@pytest.mark.parametrize("cell", list(GATES))
def test_recurrent_matrices_are_weights(cell: str) -> None:
    gates = GATES[cell]
    by_hand = {
        "rnn1.weight_ih_l0": gates * 4 * 5, "rnn1.weight_hh_l0": gates * 4 * 4,
        "rnn2.weight_ih_l0": gates * 3 * 4, "rnn2.weight_hh_l0": gates * 3 * 3, "head.weight": 6,
    }  # fmt: skip
    assert weight_sizes(net(cell), weights_of(net(cell))) == by_hand
    other = nn.Sequential(nn.GRUCell(5, 4))
    assert weight_sizes(other, weights_of(other)) == {"0.weight_ih": 60, "0.weight_hh": 48}
    computed = nn.utils.parametrizations.weight_norm(nn.GRU(5, 4), "weight_hh_l0")
    assert weights_of(computed) == {}


@pytest.mark.parametrize(
    ("matrices", "names"),
    [
        ("recurrent", ["rnn1.weight_ih_l0", "rnn1.weight_hh_l0", "rnn2.weight_ih_l0", "rnn2.weight_hh_l0"]),
        ("input-to-hidden", ["rnn1.weight_ih_l0", "rnn2.weight_ih_l0"]),
        ("hidden-to-hidden", ["rnn1.weight_hh_l0", "rnn2.weight_hh_l0"]),
    ],
)
def test_the_smallest_of_the_chosen_matrices_go(strings: Data, matrices: str, names: list[str]) -> None:
    network = net()
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    pruned = prune(network, strings, epochs=0, density=0.3, options={"matrices": matrices, "prune_share": 0.0})
    after = dict(pruned.network.named_parameters())
    size = torch.cat([before[name].flatten().abs() for name in names])
    threshold = size.sort(descending=True).values[round(0.3 * len(size)) - 1]
    for name, value in before.items():
        wanted = value * (value.abs() >= threshold) if name in names else value
        assert torch.equal(after[name], wanted)
    assert set(pruned.masks) == set(names)


@pytest.mark.parametrize("cell", list(GATES))
def test_masks_hold_while_the_network_trains_again(strings: Data, cell: str) -> None:
    options = {"training": "clipped", "prune_share": 0.0, "retrain": 2, "matrices": "hidden-to-hidden"}
    network = net(cell)
    start = network.get_parameter("rnn1.weight_hh_l0").detach().clone()
    pruned = prune(network, strings, density=0.2, options=options)
    total = GATES[cell] * (16 + 9)
    kept = [int((pruned.network.get_parameter(name) != 0).sum()) for name in pruned.masks]
    assert sum(kept) == sum(int(mask.sum()) for mask in pruned.masks.values()) == round(0.2 * total)
    assert all(not bool(pruned.network.get_parameter(name)[~mask].any()) for name, mask in pruned.masks.items())
    stays = pruned.masks["rnn1.weight_hh_l0"]
    assert not torch.equal(pruned.network.get_parameter("rnn1.weight_hh_l0")[stays], start[stays])
    assert bool(pruned.network.get_parameter("rnn1.weight_ih_l0").all())
    whole = sum(weight_sizes(network, weights_of(network)).values())
    assert [one["weights_left"] for one in pruned.history] == [whole - total + round(0.2 * total)] * 2


def test_the_first_record_says_what_pruning_left(strings: Data) -> None:
    network = prune(net(), strings, "dense", epochs=8, options={"training": "clipped"}).network
    options = {"matrices": "recurrent", "prune_share": 0.0}
    alone = prune(network, strings, epochs=0, density=0.1, options=options)
    again = prune(network, strings, density=0.1, options={**options, "training": "clipped", "retrain": 2})
    assert again.history[0]["pruned_accuracy"] == pytest.approx(alone.evaluate().accuracy)
    assert "pruned_accuracy" not in again.history[1]
    assert again.history[1]["test_accuracy"] == pytest.approx(again.evaluate().accuracy)


@pytest.mark.parametrize("cell", ["tanh", "lstm"])
def test_a_graphs_masks_are_no_weights(cell: str) -> None:
    network = GraphRNN(WORKED, cell, width=2, vocabulary=5, input_shape=(6,))
    assert sum(weight_sizes(network, weights_of(network)).values()) == GATES[cell] * GRAPH_WEIGHTS + 2
    mlp = GraphMLP(WORKED, merge="pre", input_shape=(3,), classes=2)
    assert sum(weight_sizes(mlp, weights_of(mlp)).values()) == 2 * 3 + 2 + 2 + 2 + 2


@pytest.mark.parametrize("method", ["magnitude", "class-uniform", "class-distributed", "set", "rigl", "snip"])
def test_pruning_keeps_to_a_graph(strings: Data, method: str) -> None:
    network = GraphRNN(WORKED, "gru", width=2, vocabulary=5, input_shape=(6,))
    places = fixed_masks(network)
    options: dict[str, Any] = {"least": 1} | ({"every": 2} if method in ("set", "rigl") else {})
    pruned = prune(network, strings, method, density=0.5, options=options)
    total = 3 * GRAPH_WEIGHTS + 2
    masks = pruned.masks
    assert sum(int(mask.sum()) for mask in masks.values()) == round(0.5 * total)
    for name, place in places.items():
        assert not bool(masks[name][~place].any()) and not bool(pruned.network.get_parameter(name)[~place].any())
    assert {n: p.tolist() for n, p in fixed_masks(pruned.network).items()} == {n: p.tolist() for n, p in places.items()}
    if method == "class-uniform":
        for name, place in places.items():
            assert abs(int(masks[name].sum()) - 0.5 * int(place.sum())) <= 1
    if method == "magnitude":
        again = prune(pruned, strings, density=0.25, options={"least": 1})
        assert sum(int(mask.sum()) for mask in again.masks.values()) == round(0.25 * total)


def test_erdos_renyi_shares_of_a_graphs_layers(strings: Data) -> None:
    """A layer's weights kept go with its inputs and outputs, whatever its mask leaves of their product."""
    network = GraphMLP(WORKED, merge="pre", input_shape=(6,), classes=2)
    data = from_tensors(torch.randn(40, 6), torch.arange(40) % 2, name="numbers")
    options = {"least": 1, "allocation": "erdos-renyi", "prune_share": 0.0}
    pruned = prune(network, data, epochs=0, density=0.5, options=options)
    kept = {name: int(mask.sum()) for name, mask in pruned.masks.items()}
    # Inputs and outputs: 8, 3, 4, 3 and 3; the r-th best of a layer stands at (r - 1/2) / that, and the first ten stay:
    # .06, .13, .17 three times, .19, .31, .38, .44 and the first of three at .50.
    assert [*kept.values()] == [4, 2, 2, 1, 1]


def test_a_graphs_network_is_drawn_anew_within_its_masks() -> None:
    network = GraphRNN(WORKED, "gru", width=2)
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    settings = RunSettings("dense", "graphrnn", "reber", epochs=1)
    data = from_tensors(torch.ones(8, 60, dtype=torch.long), torch.arange(8) % 2, name="ones")
    state = initial_state(network, data, settings)
    fresh(state)
    for name, place in fixed_masks(state.network).items():
        value = state.network.get_parameter(name)
        assert not bool(value[~place].any()) and not bool((value == before[name])[place].any())


def test_bad_input(strings: Data, small_data: Data) -> None:
    with pytest.raises(UnknownNameError, match="unknown choice of matrices 'h2h'.*hidden-to-hidden"):
        prune(net(), strings, density=0.5, options={"matrices": "h2h"})
    with pytest.raises(SettingError, match="matrices"):
        prune(net(), strings, density=0.5, options={"matrices": 3})
    with pytest.raises(NetworkError, match="matrices='recurrent' is for recurrent layers, and the network runs none"):
        prune(LeNet300((4, 3), (1, 6, 6), 3), small_data, density=0.5, options={"matrices": "recurrent"})
    for density in (0.0, 1.2):
        with pytest.raises((BudgetError, SettingError), match="density"):
            prune(net(), strings, density=density, options={"matrices": "recurrent"})
    with pytest.raises(UnknownNameError, match="unknown kind of cell 'rnn'.*there are"):
        StackedRNN("rnn")
    with pytest.raises(NetworkError, match="surgeon cannot treat layer 'rnn1', a GRU: .*use another score"):
        prune(net(), strings, "layer-obs", density=0.5)
    numbers = from_tensors(torch.randn(40, 3), torch.arange(40) % 2, name="numbers")
    with pytest.raises(NetworkError, match="fixed mask takes some away: use another method"):
        prune(GraphMLP(WORKED, input_shape=(3,), classes=2), numbers, "ntt", density=0.5)


def test_second_derivatives_reach_through_recurrent_layers(strings: Data) -> None:
    """Of a quadratic loss that they are those of, taken numerically."""
    torch.manual_seed(0)
    network = net("lstm").double()
    inputs, targets = next(iter(strings.test.batches(20)))

    def slope(value: Tensor) -> Tensor:
        weight = network.head.weight
        with torch.no_grad():
            weight.copy_(value)
        loss = nn.functional.cross_entropy(network(inputs), targets)
        return torch.autograd.grad(loss, weight)[0]

    start = network.head.weight.detach().clone()
    numeric = torch.zeros_like(start)
    for place in range(start.numel()):
        step = torch.zeros(start.numel(), dtype=torch.float64)
        step[place] = 1e-5
        step = step.view_as(start)
        numeric.view(-1)[place] = ((slope(start + step) - slope(start - step)) / 2e-5).view(-1)[place]
    slope(start)
    found = hutchinson_diagonal(network, (inputs, targets), draws=400)
    assert all(bool(torch.isfinite(value).all()) for value in found.values())
    assert torch.allclose(found["head.weight"], numeric, atol=0.06)

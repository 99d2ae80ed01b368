"""Channels that are normalised, and units inside of layers, for what closes, scores, spikes and exports them."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from bayesprune.errors import UnsupportedLayerError
from bayesprune.pruners.channels.median import _filters
from bayesprune.pruners.scores import l1_norms_of
from bayesprune.structure import Gating, Reader, compact, fold_spikes, maps_zero_to_zero, read_gates
from tests.bayesprune.structure.by_hand import CASES, ByHand, functional, memory, sequences, vit

BY_NAME = {case.name: case for case in CASES}


def test_a_normalised_channel_that_nobody_reads_stays() -> None:
    """Removing it would change the others' statistics; without the norms it goes."""
    network, structure, _ = vit()
    masks: dict[str, Tensor] = {}
    for reader in structure.readers:
        weight = network.get_parameter(reader.parameter)
        mask = masks.setdefault(reader.parameter, torch.ones_like(weight))
        mask.movedim(reader.weight_axis, 0)[reader.arriving == 3] = 0.0
    assert bool(read_gates(structure, masks)[3])
    alone = replace(structure, norms=())
    assert not bool(read_gates(alone, masks)[3]) and int(read_gates(alone, masks).sum()) == structure.gate_count - 1


def test_a_normalised_channel_without_use_stays_open() -> None:
    """Channel 0 is read by one feature with a gate of its own, which closes."""
    network = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    hand = ByHand(network)
    channels, features = hand.group("0", 4), hand.group("2.inputs", 4)
    hand.writes("0", channels)
    hand.norm("1", channels)
    hand.readers.append(Reader("2", 1, -1, channels, torch.arange(4), features))
    gates = torch.ones(8, dtype=torch.bool)
    gates[4] = False
    assert torch.equal(hand.build().consistent(gates), gates)
    closed = replace(hand.build(), norms=()).consistent(gates)
    assert not bool(closed[0]) and int(closed.sum()) == 6
    inputs = torch.randn(5, 3)
    with torch.no_grad(), Gating(network, hand.build()).applied(gates.float()):
        expected = network(inputs)
    compact(network, hand.build(), gates)
    torch.testing.assert_close(network(inputs), expected)


def test_spikes_are_no_gates_before_a_norm_or_where_no_hook_reads() -> None:
    network, structure, inputs = vit()
    answers = maps_zero_to_zero(network, structure, inputs)
    assert answers == {
        "patches": False,
        "blocks.0.attention": False,
        "blocks.0.up": True,
        "blocks.1.attention": False,
        "blocks.1.up": True,
    }
    gates = torch.ones(structure.gate_count, dtype=torch.bool)
    gates[16] = False  # of blocks.0.up
    folded, _ = fold_spikes(network.eval(), structure, gates, inputs)
    with torch.no_grad(), Gating(network, structure).applied(gates.float()):
        torch.testing.assert_close(folded(inputs), network(inputs))
    gates[0] = False
    with pytest.raises(UnsupportedLayerError, match="'blocks.0.first' normalises over spiked nodes.*by their gates"):
        fold_spikes(network, structure, gates, inputs)
    network, structure, inputs = functional()
    gates = torch.ones(structure.gate_count, dtype=torch.bool)
    gates[0] = False
    with pytest.raises(UnsupportedLayerError, match="'second.weight' normalises over spiked nodes, or reads them by"):
        fold_spikes(network, structure, gates, inputs)


def test_scores_of_heads_and_hidden_units_are_those_of_all_their_rows() -> None:
    network, structure, _ = sequences(nn.LSTM)
    norms = l1_norms_of(network, structure)
    layer = network.get_submodule("recurrent")
    rows = torch.cat([layer.get_parameter("weight_ih_l0"), layer.get_parameter("weight_hh_l0")], 1).abs().sum(1)
    torch.testing.assert_close(norms[6:], rows.reshape(4, 5).sum(0))
    torch.testing.assert_close(norms[:6], network.get_parameter("embedding.weight").abs().sum(0))
    filters = _filters(network, structure, slice(6, 11))
    assert filters.shape == (5, 4 * (6 + 5))
    torch.testing.assert_close(filters.abs().sum(1), norms[6:])
    network, structure, _ = memory()
    layer = network.get_submodule("attention")
    places = structure.slices()["attention"]
    expected = sum(layer.get_parameter(f"{one}_proj_weight").abs().sum(1).reshape(3, 4).sum(1) for one in "qkv")
    torch.testing.assert_close(l1_norms_of(network, structure)[places], expected)


@pytest.mark.filterwarnings("ignore:The tensor attributes self.recurrent")  # torch's, of any recurrent layer
@pytest.mark.parametrize("name", [pytest.param("vit", marks=pytest.mark.long), "memory", "gru"])
def test_compact_networks_export(name: str) -> None:
    network, structure, inputs = BY_NAME[name]()
    random = torch.rand(structure.gate_count)
    compact(network, structure, structure.protect(random < 0.6, random))
    with torch.no_grad():
        torch.testing.assert_close(torch.export.export(network, (inputs,)).module()(inputs), network(inputs))


def test_bags_of_embeddings_lose_columns() -> None:
    network = nn.Sequential(nn.EmbeddingBag(7, 5, mode="sum"), nn.ReLU(), nn.Linear(5, 2))
    hand = ByHand(network)
    columns = hand.group("0", 5)
    hand.writes("0", columns, 1)
    hand.reads("2", columns)
    gates, tokens = torch.tensor([True, False, True, True, False]), torch.randint(0, 7, (3, 4))
    with torch.no_grad():
        with Gating(network, hand.build()).applied(gates.float()):
            expected = network(tokens)
        compact(network, hand.build(), gates)
        torch.testing.assert_close(network(tokens), expected)
    assert str(network[0]) == "EmbeddingBag(7, 3, mode='sum')"

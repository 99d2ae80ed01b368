"""Numbering, round trips through what is kept, and gates that must not close."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bayesprune.errors import SettingError
from bayesprune.models.networks import LeNet5, LeNet300
from bayesprune.structure import Structure, compact, find


@pytest.fixture(scope="module")
def structure() -> Structure:
    return find(LeNet300((4, 3), (1, 2, 3), 2), torch.randn(2, 1, 2, 3))


def test_gates_are_numbered_group_after_group(structure: Structure) -> None:
    assert structure.slices() == {"inputs": slice(0, 6), "fc1": slice(6, 10), "fc2": slice(10, 13)}
    assert structure.slices() == structure.initial_slices()
    assert structure.gate_count == structure.initial_gate_count == 13
    assert structure.original_gates().tolist() == list(range(13))
    assert [group.kind for group in structure.groups] == ["inputs", "channels", "channels"]
    assert structure.groups[0].consumers == ("fc1",) and structure.groups[0].producers == ()
    assert structure.groups[1].producers == ("fc1",) and structure.groups[1].consumers == ("fc2",)


def test_original_indices_after_a_compaction(structure: Structure) -> None:
    network = LeNet300((4, 3), (1, 2, 3), 2)
    open_gates = torch.tensor([0, 1, 1, 0, 0, 1, 0, 1, 0, 1, 1, 1, 0], dtype=torch.bool)
    smaller = compact(network, structure, open_gates)
    assert smaller.kept() == {"inputs": [1, 2, 5], "fc1": [1, 3], "fc2": [0, 1]}
    assert smaller.slices() == {"inputs": slice(0, 3), "fc1": slice(3, 5), "fc2": slice(5, 7)}
    assert smaller.initial_slices() == structure.slices()
    assert smaller.original_gates().tolist() == [1, 2, 5, 7, 9, 10, 11]
    assert (smaller.gate_count, smaller.initial_gate_count) == (7, 13)


def test_open_from_kept_round_trip(case: Any) -> None:
    gates = case.gates(11)
    smaller = compact(case.copy(), case.structure, gates)
    assert torch.equal(case.structure.open_from_kept(smaller.kept()), gates)
    assert bool(smaller.open_from_kept(smaller.kept()).all())
    least = smaller.protect(torch.zeros(smaller.gate_count, dtype=torch.bool), torch.rand(smaller.gate_count))
    still = compact(case.copy(), case.structure, gates)  # another copy of the same structure
    kept = {name: [still.kept()[name][i] for i in least[place].nonzero().flatten().tolist()]
            for name, place in smaller.slices().items()}  # fmt: skip
    assert torch.equal(smaller.open_from_kept(kept), least)


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ({"inputs": [0], "fc1": [0]}, r"\['fc2'\] do not match"),
        ({"inputs": [0], "fc1": [0], "fc2": [0], "fc9": [0]}, r"\['fc9'\] do not match"),
        ({"inputs": [0], "fc1": [4], "fc2": [0]}, r"'fc1' has no channels \[4\]: it has 4"),
        ({"inputs": [0], "fc1": [-1], "fc2": [0]}, "'fc1' has no channels"),
        ({"inputs": [0], "fc1": [1, 1], "fc2": [0]}, "'fc1' has no channels"),
    ],
)
def test_kept_that_does_not_fit(structure: Structure, kept: dict[str, list[int]], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        structure.open_from_kept(kept)


def test_a_channel_that_is_gone_cannot_be_kept(structure: Structure) -> None:
    open_gates = torch.ones(13, dtype=torch.bool)
    open_gates[7] = False
    smaller = compact(LeNet300((4, 3), (1, 2, 3), 2), structure, open_gates)
    with pytest.raises(SettingError, match="'fc1' has no channels"):
        smaller.open_from_kept({"inputs": [0], "fc1": [1], "fc2": [0]})


def test_protect_reopens_the_preferred_gate_of_an_emptied_group(structure: Structure) -> None:
    preference = torch.tensor([0.1, 0.5, 0.2, 0.0, 0.3, 0.4, 9.0, 8.0, 7.0, 6.0, 0.0, 0.0, 0.2])
    open_gates = torch.zeros(13, dtype=torch.bool)
    open_gates[8] = True
    protected = structure.protect(open_gates, preference)
    assert protected.nonzero().flatten().tolist() == [1, 8, 12]
    assert open_gates.sum() == 1  # the argument is left alone
    assert torch.equal(structure.protect(protected, preference), protected)


def test_protect_leaves_a_flattening_layer_something_to_read() -> None:
    """Channel 0 open, and features of channel 1 only: together nothing would be read."""
    network: Any = LeNet5((2, 2, 3), (1, 20, 20))
    structure = find(network, torch.randn(2, 1, 20, 20), flatten_inputs=True)
    assert structure.slices() == {
        "conv1": slice(0, 2), "conv2": slice(2, 4), "fc1": slice(4, 7), "fc1.inputs": slice(7, 15),
    }  # fmt: skip
    open_gates = torch.ones(15, dtype=torch.bool)
    open_gates[3] = False
    open_gates[7:11] = False
    with pytest.raises(SettingError, match="'fc1' would have nothing left to read.*'fc1.inputs'"):
        compact(network, structure, open_gates)
    preference = torch.zeros(15)
    preference[[9, 13]] = torch.tensor([1.0, 2.0])
    protected = structure.protect(open_gates, preference)
    assert (protected != open_gates).nonzero().flatten().tolist() == [9]
    compact(network, structure, protected)
    assert network.fc1.layer.weight.shape == (3, 1)


def test_protect_keeps_every_part_of_a_concatenation(zoo: Any) -> None:
    """`whole` is summed with `left` (3) and `right` (4) put together: neither may lose all its filters."""
    case = zoo("concatenating")
    place = case.structure.slices()["left"]
    open_gates = torch.ones(case.structure.gate_count, dtype=torch.bool)
    open_gates[place] = torch.tensor([True, True, True, False, False, False, False])
    with pytest.raises(SettingError, match="'right' would be emptied"):
        compact(case.copy(), case.structure, open_gates)
    preference = torch.zeros(case.structure.gate_count)
    preference[place.start + 5] = 1.0
    protected = case.structure.protect(open_gates, preference)
    assert (protected != open_gates).nonzero().flatten().tolist() == [place.start + 5]


def test_gates_that_pass_on_are_those_that_a_network_can_be_cut_to(case: Any) -> None:
    """Over random gates, few of them open: `passes_on` agrees with what `compact` refuses, and with `protect`."""
    generator = torch.Generator().manual_seed(3)
    for share in (0.05, 0.2, 0.5) * 5:
        gates = torch.rand(case.structure.gate_count, generator=generator) < share
        sound = case.structure.passes_on(gates)
        assert sound == torch.equal(case.structure.protect(gates, torch.rand(len(gates))), gates)
        if sound:
            compact(case.copy(), case.structure, gates)
        else:
            with pytest.raises(SettingError, match="would (be emptied|have nothing left to read)"):
                compact(case.copy(), case.structure, gates)


def test_consistent_closes_what_has_no_use() -> None:
    network, images = LeNet5((2, 3, 3), (1, 20, 20)), torch.randn(2, 1, 20, 20)
    structure = find(network, images, flatten_inputs=True)
    places = structure.slices()
    open_gates = torch.ones(structure.gate_count, dtype=torch.bool)
    open_gates[places["conv2"].start] = False  # its 4 features have nothing to read
    open_gates[places["fc1.inputs"].start + 8 :] = False  # nobody reads the third filter
    useful = structure.consistent(open_gates)
    assert useful[places["conv2"]].tolist() == [False, True, False]
    assert useful[places["fc1.inputs"]].tolist() == [False] * 4 + [True] * 4 + [False] * 4
    assert useful[places["conv1"]].all() and useful[places["fc1"]].all()
    assert torch.equal(structure.consistent(useful), useful)


class _TwoMaps(nn.Module):
    """Two convolutions, flattened side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = nn.Conv1d(1, 2, 2), nn.Conv1d(1, 2, 2), nn.Linear(12, 2)

    def forward(self, series: Tensor) -> Tensor:
        logits: Tensor = self.head(torch.cat([self.one(series), self.two(series)], 1).flatten(1))
        return logits


def test_consistent_empties_no_group() -> None:
    network, series = _TwoMaps(), torch.randn(2, 1, 4)
    structure = find(network, series, flatten_inputs=True)
    assert structure.slices() == {"one": slice(0, 2), "two": slice(2, 4), "head.inputs": slice(4, 16)}
    open_gates = torch.ones(16, dtype=torch.bool)
    open_gates[4:10] = False  # nothing of `one` is read
    assert torch.equal(structure.consistent(open_gates), open_gates)
    compact(network, structure, open_gates)
    assert network(series).shape == (2, 2)


def test_consistent_gates_are_the_same_function_in_a_smaller_network(zoo: Any) -> None:
    case = zoo("series")
    for seed in range(10):
        gates = case.gates(seed)
        useful = case.structure.consistent(gates)
        assert not bool((useful & ~gates).any())
        large, small = case.copy(), case.copy()
        compact(large, case.structure, gates)
        compact(small, case.structure, useful)
        with torch.no_grad():
            torch.testing.assert_close(small(case.example), large(case.example))

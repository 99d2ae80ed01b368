"""Gates multiply what consumers read: global or one row an example, closed or any real number."""

import weakref
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.utils.checkpoint import checkpoint

import bayesprune as bp
from bayesprune.data import Data
from bayesprune.errors import SettingError, UnsupportedLayerError
from bayesprune.models.networks import LeNet300
from bayesprune.structure import Gating, Structure, compact, find


@torch.no_grad()
def applied(network: nn.Module, structure: Structure, gates: Tensor, inputs: Tensor) -> Tensor:
    gating = Gating(network, structure)
    with gating.applied(gates):
        outputs: Tensor = network(inputs)
    gating.remove()
    return outputs


def test_gates_by_hand_on_lenet300() -> None:
    torch.manual_seed(0)
    network, images = LeNet300(), torch.randn(5, 1, 28, 28)
    gates = torch.randn(784 + 300 + 100)
    pixels, first, second = gates.split([784, 300, 100])
    hidden = linear(images.flatten(1) * pixels, network.fc1.weight, network.fc1.bias).relu()
    hidden = linear(hidden * first, network.fc2.weight, network.fc2.bias).relu()
    expected = linear(hidden * second, network.fc3.weight, network.fc3.bias)
    torch.testing.assert_close(applied(network, find(network, images), gates, images), expected)


def test_each_example_its_own_gates(case: Any) -> None:
    rows = torch.stack([case.gates(seed) for seed in range(len(case.example))]).float()
    together = applied(case.copy(), case.structure, rows, case.example)
    for number, row in enumerate(rows):
        alone = applied(case.copy(), case.structure, row, case.example)
        torch.testing.assert_close(together[number], alone[number], rtol=1e-5, atol=1e-6)


def test_real_numbers_scale_what_consumers_read(case: Any) -> None:
    """Gates by noise are the network whose consumers' weights are multiplied column by column."""
    noise = 1 + 0.3 * torch.randn(case.structure.gate_count, generator=torch.Generator().manual_seed(0))
    scaled, padded = case.copy(), torch.cat([noise, torch.ones(1)])
    for reader in case.structure.readers:
        factors = padded[reader.arriving]
        if reader.selection is not None:
            factors = factors * padded[reader.selection]
        weight = scaled.get_parameter(f"{reader.layer}.weight")
        shape = [-1 if axis == reader.weight_axis else 1 for axis in range(weight.dim())]
        weight.data *= factors.reshape(shape)
    with torch.no_grad():
        expected = scaled(case.example)
    got = applied(case.copy(), case.structure, noise, case.example)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_gradient_reaches_gates_and_weights() -> None:
    torch.manual_seed(0)
    network, images = LeNet300(), torch.rand(4, 1, 28, 28)
    gates = torch.full((4, 1184), 0.5, requires_grad=True)
    with Gating(network, find(network, images)).applied(gates):
        network(images).square().sum().backward()
    assert gates.grad is not None and gates.grad.shape == (4, 1184)
    assert all(bool(part.abs().sum() > 0) for part in gates.grad.split([784, 300, 100], dim=1))
    assert network.fc1.weight.grad is not None


def test_gating_ends_with_its_block_and_nests(zoo: Any) -> None:
    case = zoo("residual")
    network = case.copy()
    gating = Gating(network, case.structure)
    with torch.no_grad():
        plain = network(case.example)
        gates, other = case.gates(1).float(), case.gates(2).float()
        with gating.applied(gates):
            gated = network(case.example)
            with gating.applied(other):
                assert not torch.equal(network(case.example), gated)
            assert torch.equal(network(case.example), gated)
        assert torch.equal(network(case.example), plain)
        with pytest.raises(ZeroDivisionError), gating.applied(gates):
            _ = 1 / 0
        assert torch.equal(network(case.example), plain)
        gating.remove()
        with gating.applied(gates):
            assert torch.equal(network(case.example), plain)


class _Repeating(nn.Module):
    """A convolution that reads every channel twice in a row."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 3, 3), nn.Conv2d(6, 2, 3)

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.second(self.first(images).repeat_interleave(2, 1))
        return outputs


@pytest.mark.parametrize("per_example", [False, True])
def test_features_repeated_in_a_row_before_a_convolution(per_example: bool) -> None:
    """A slice of gates must not be taken for one of the last axis."""
    torch.manual_seed(0)
    network, images = _Repeating(), torch.randn(2, 1, 6, 6)
    pairs = torch.tensor([0, 0, 1, 1, 2, 2])
    structure = find(nn.Sequential(network.first, nn.Conv2d(3, 2, 3)), images)
    reader = replace(structure.readers[0], layer="second", arriving=pairs, selected=torch.arange(6))
    structure = replace(structure, readers=(reader,))
    gates = torch.randn(2, 3) if per_example else torch.randn(3)
    with torch.no_grad():
        maps = network.first(images).repeat_interleave(2, 1) * gates[..., pairs].reshape(-1, 6, 1, 1)
        expected = network.second(maps)
    torch.testing.assert_close(applied(network, structure, gates, images), expected)


class _ByKeyword(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 5), nn.Linear(5, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.fc2(input=self.fc1(inputs).relu())
        return logits


def test_an_input_passed_by_keyword_is_gated_by_the_weight() -> None:
    network, rows = _ByKeyword(), torch.randn(2, 4)
    structure = find(network, rows)
    assert {reader.layer for reader in structure.readers if reader.by_weight} == {"fc2"}
    gates = torch.arange(structure.gate_count) % 2 == 0
    small, gating = deepcopy(network), Gating(network, structure)
    compact(small, structure, gates)
    with gating.applied(gates.float()):
        torch.testing.assert_close(small(rows), network(rows))


@pytest.mark.parametrize("shape", [(12,), (14,), (2, 12), (13, 2), (2, 2, 13), ()])
def test_a_wrong_number_of_gates(shape: tuple[int, ...]) -> None:
    network, images = LeNet300((4, 3), (1, 2, 3), 2), torch.randn(2, 1, 2, 3)
    gating = Gating(network, find(network, images))
    with pytest.raises(SettingError, match="for a structure that has 13"), gating.applied(torch.ones(shape)):
        network(images)


def test_a_copy_of_a_gated_network_is_not_gated(zoo: Any) -> None:
    case = zoo("prelu")
    network = case.copy()
    with Gating(network, case.structure).applied(case.gates(0).float()):
        inside = deepcopy(network)
    with torch.no_grad():
        assert torch.equal(inside(case.example), case.network(case.example))


class Repeating(nn.Module):
    """A network that runs its middle again in the backward pass, to save memory."""

    def __init__(self, *, reentrant: bool) -> None:
        super().__init__()
        self.first, self.last, self.reentrant = nn.Linear(6, 8), nn.Linear(8, 3), reentrant
        self.middle = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 8))

    def forward(self, inputs: Tensor) -> Tensor:
        hidden: Tensor = torch.relu(self.first(inputs))
        outputs: Tensor = self.last(checkpoint(self.middle, hidden, use_reentrant=self.reentrant))
        return outputs


def _gradients(network: nn.Module, gating: Gating, gates: Tensor, inputs: Tensor, *, inside: bool) -> list[Tensor]:
    """Of the gates and of all parameters, with the backward pass while the gates act or afterwards."""
    leaf = gates.clone().requires_grad_()
    with gating.applied(torch.sigmoid(leaf)):
        loss = network(inputs).square().mean()
        if inside:
            loss.backward()
    if not inside:
        loss.backward()
    found = [leaf.grad, *(parameter.grad for parameter in network.parameters())]
    network.zero_grad()
    return [part.clone() for part in found if part is not None]


@pytest.mark.parametrize("inside", [False, True])
def test_gates_act_again_where_a_pass_is_repeated_in_the_backward_pass(inside: bool) -> None:
    network, inputs = Repeating(reentrant=False), torch.randn(4, 6)
    structure = find(network, inputs)
    gating = Gating(network, structure)
    gates = [torch.randn(structure.gate_count) for _ in range(2)]
    found = [_gradients(network, gating, each, inputs, inside=inside) for each in gates]
    network.forward = lambda inputs: network.last(network.middle(torch.relu(network.first(inputs))))  # type: ignore[method-assign]  # the same without repeats
    for each, got in zip(gates, found, strict=True):
        expected = _gradients(network, gating, each, inputs, inside=inside)
        assert len(got) == len(expected) == 9
        assert all(torch.equal(one, other) for one, other in zip(got, expected, strict=True))


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")  # reentrant, in passes without gradients
def test_a_pass_whose_gates_could_not_act_again_is_not_repeated_without_them() -> None:
    """Gradients would be those of another function, without a word where checkpointing is reentrant."""
    network, inputs = Repeating(reentrant=True), torch.randn(4, 6)
    structure = find(network, inputs)
    gating = Gating(network, structure)
    with gating.applied(torch.rand(structure.gate_count)):
        loss = network(inputs).square().mean()
    with pytest.raises(
        UnsupportedLayerError, match=r"'middle.0' runs again in the backward pass .*use_reentrant=False"
    ):
        loss.backward()
    network(inputs).square().mean().backward()  # without gates it is what it was
    network.reentrant, losses = False, []
    for _ in range(2):
        with gating.applied(torch.rand(structure.gate_count)):
            losses.append(network(inputs).square().mean())
    with pytest.raises(UnsupportedLayerError, match="passes under several gates came before it: run the backward pass"):
        (losses[0] + losses[1]).backward()
    gating.remove()


class RepeatingPictures(Repeating):
    """The same for pictures of 6 x 6 and three classes."""

    def __init__(self) -> None:
        super().__init__(reentrant=False)
        self.first = nn.Linear(36, self.first.out_features)

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs.flatten(1))


class RepeatingAttention(nn.Module):
    """Attention, whose weights are gated, that runs again in the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 3)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.first(inputs)
        outputs: Tensor = self.last(checkpoint(self.attention, hidden, hidden, hidden, use_reentrant=False)[0])
        return outputs


def test_gated_weights_are_not_repeated_without_their_gates() -> None:
    network, inputs = RepeatingAttention(), torch.randn(4, 5, 6)
    structure = find(network, inputs)
    gating = Gating(network, structure)
    with gating.applied(torch.rand(structure.gate_count)):
        loss = network(inputs).square().mean()
        with pytest.raises(UnsupportedLayerError, match="for its weights are gated.*checkpointing off"):
            loss.backward()


def test_a_pass_without_gates_lets_the_last_ones_go() -> None:
    """What they were computed from must not live on; until then a graph may be walked back twice, as estimators do."""
    network, inputs = Repeating(reentrant=False), torch.randn(4, 6)
    structure = find(network, inputs)
    gating = Gating(network, structure)
    gates = torch.rand(structure.gate_count, requires_grad=True)
    computed = 1.0 * gates
    alive = weakref.ref(computed)
    with gating.applied(computed):
        loss = network(inputs).square().mean()
    (first,) = torch.autograd.grad(loss, gates, retain_graph=True)
    (second,) = torch.autograd.grad(loss, gates, retain_graph=True)
    assert torch.equal(first, second)
    with torch.no_grad():
        network(inputs)
    with pytest.raises(UnsupportedLayerError, match="a pass without gates came before it: run the backward pass first"):
        loss.backward()
    del computed, loss
    assert alive() is None
    network(inputs).square().mean().backward()
    gating.remove()


@pytest.mark.parametrize("method", ["parsimonious", "vib"])
def test_a_network_that_is_run_again_in_parts_is_pruned(method: str, small_data: Data) -> None:
    pruned = bp.prune(RepeatingPictures(), small_data, method, epochs=3, batch_size=40, progress=False)
    assert len(pruned.kept["middle.0"]) >= 1


@pytest.mark.parametrize("method", ["spike-slab-flat", "spike-slab", "bc-gnj"])
def test_drawn_weights_are_not_repeated_as_others(method: str, small_data: Data) -> None:
    with pytest.raises(UnsupportedLayerError, match="would not be those that were drawn: switch checkpointing"):
        bp.prune(RepeatingPictures(), small_data, method, epochs=3, batch_size=40, progress=False)

"""Compaction carries along original indices, optimizer state and masks, and training goes on."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from bayesprune.errors import SettingError
from bayesprune.models.networks import LeNet5, LeNet300
from bayesprune.structure import SelectChannels, Structure, compact, find

OPTIMIZERS: dict[str, Callable[[Any], Optimizer]] = {
    "sgd": lambda parameters: SGD(parameters, lr=0.1, momentum=0.9),
    "sgd-plain": lambda parameters: SGD(parameters, lr=0.1),
    "adam": lambda parameters: Adam(parameters, lr=0.01),
    "adam-fused": lambda parameters: Adam(parameters, lr=0.01, fused=True),
    "adamw-amsgrad": lambda parameters: AdamW(parameters, lr=0.01, amsgrad=True),
}


def open_from(structure: Structure, kept: dict[str, list[int]]) -> Tensor:
    everything = {group.name: list(range(group.size)) for group in structure.groups}
    return structure.open_from_kept(everything | kept)


def small() -> tuple[Any, Tensor]:
    """A network with 6 inputs and 5 and 4 hidden units, and a batch for it."""
    return LeNet300((5, 4), (1, 2, 3), 3), torch.randn(2, 1, 2, 3)


def steps(network: nn.Module, optimizer: Optimizer, inputs: Tensor, count: int) -> Iterator[Tensor]:
    for _ in range(count):
        optimizer.zero_grad()
        loss = network(inputs).square().mean()
        loss.backward()
        optimizer.step()
        yield loss


def test_weights_are_the_original_ones_at_the_kept_indices() -> None:
    torch.manual_seed(0)
    network: Any = LeNet5((4, 5, 6), (2, 20, 20))
    images = torch.randn(2, 2, 20, 20)
    structure = find(network, images, inputs="all", flatten_inputs=True)
    original = deepcopy(network)
    structure = compact(network, structure, open_from(structure, {"inputs": [1], "conv1": [0, 2, 3], "fc1": [1, 4]}))
    second = {"inputs": [1], "conv1": [0, 3], "conv2": [1, 2, 4], "fc1": [4], "fc1.inputs": [4, 6, 9, 10, 19]}
    structure = compact(network, structure, structure.open_from_kept(second))
    assert structure.kept() == second
    conv1, fc1 = network.conv1.layer, network.fc1.layer
    assert torch.equal(conv1.weight, original.conv1.weight[[0, 3]][:, [1]])
    assert torch.equal(conv1.bias, original.conv1.bias[[0, 3]])
    assert torch.equal(network.conv2.weight, original.conv2.weight[[1, 2, 4]][:, [0, 3]])
    assert torch.equal(fc1.weight, original.fc1.weight[[4]][:, [4, 6, 9, 10, 19]])
    assert torch.equal(network.fc2.weight, original.fc2.weight[:, [4]])
    assert torch.equal(network.fc2.bias, original.fc2.bias)
    # filter 1 left features 0-3 where 4-7 had been, filter 2 features 4-7, filter 4 features 8-11
    assert network.fc1.select.kept.tolist() == [0, 2, 5, 6, 11]
    assert (network.fc1.select.axis, network.conv1.select.axis) == (-1, 1)
    sizes = [(m.in_channels, m.out_channels) for m in (conv1, network.conv2)]
    assert sizes == [(1, 2), (2, 3)] and (fc1.in_features, fc1.out_features, network.fc2.in_features) == (5, 1, 1)
    assert network(images).shape == (2, 10)


def test_norm_and_slope_tensors_and_sizes(zoo: Any) -> None:
    case = zoo("depthwise")
    network = case.copy()
    structure = compact(network, case.structure, open_from(case.structure, {"stem.0": [1, 4], "inputs": [0, 2]}))
    assert structure.kept()["stem.0"] == [1, 4]
    depthwise, norm = network.depthwise[0], network.depthwise[1]
    assert (depthwise.groups, depthwise.in_channels, depthwise.out_channels, norm.num_features) == (2, 2, 2, 2)
    for name in ("weight", "bias", "running_mean", "running_var"):
        assert torch.equal(getattr(norm, name), getattr(case.network.depthwise[1], name)[[1, 4]])
    assert torch.equal(depthwise.weight, case.network.depthwise[0].weight[[1, 4]])
    assert network.stem[0].select.kept.tolist() == [0, 2]
    again = compact(network, structure, open_from_one_left(structure))
    assert network.depthwise[0].groups == 1 and again.kept()["stem.0"] == [1]
    assert network(case.example).shape == (3, 4)


def open_from_one_left(structure: Structure) -> Tensor:
    """All gates but those after the first of the depthwise group."""
    gates = torch.ones(structure.gate_count, dtype=torch.bool)
    gates[structure.slices()["stem.0"].start + 1 : structure.slices()["stem.0"].stop] = False
    return gates


def test_sizes_without_tensors(zoo: Any) -> None:
    """Normalisations without parameters or statistics know a number of channels all the same."""
    transposed, volumes = zoo("transposed"), zoo("volumes")
    network = transposed.copy()
    compact(network, transposed.structure, open_from(transposed.structure, {"down": [0, 1, 5]}))
    assert network.norm1.num_features == 3 and (network.up.in_channels, network.up.out_channels) == (3, 5)
    network(transposed.example)  # an InstanceNorm warns when its number is wrong, and warnings are errors
    network = volumes.copy()
    compact(network, volumes.structure, open_from(volumes.structure, {"conv1": [3]}))
    assert network.norm.num_features == 1


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_state_is_cut_like_the_parameters(name: str) -> None:
    """After compaction a step is the step of a copy whose state was cut by hand."""
    torch.manual_seed(0)
    network, inputs = LeNet300((5, 4), (1, 2, 3), 3), torch.randn(8, 1, 2, 3)
    structure = find(network, inputs)
    optimizer = OPTIMIZERS[name](network.parameters())
    held = list(steps(network, optimizer, inputs, 3))  # losses held on to: their graphs stay alive
    pixels, first, second = [0, 2, 5], [1, 3, 4], [0, 2]
    cuts = {
        "fc1.weight": lambda t: t[first][:, pixels], "fc1.bias": lambda t: t[first],
        "fc2.weight": lambda t: t[second][:, first], "fc2.bias": lambda t: t[second],
        "fc3.weight": lambda t: t[:, second], "fc3.bias": lambda t: t,
    }  # fmt: skip
    copy = LeNet300((3, 2), (1, 1, 3), 3)
    copied = OPTIMIZERS[name](copy.parameters())
    for key, parameter in copy.named_parameters():
        source = network.get_parameter(key)
        parameter.data = cuts[key](source.data).clone()
        for entry, value in optimizer.state[source].items():
            copied.state[parameter][entry] = cuts[key](value).clone() if value.dim() else value.clone()
    objects = {key: id(parameter) for key, parameter in network.named_parameters()}
    gates = open_from(structure, {"inputs": pixels, "fc1": first, "fc2": second})
    compact(network, structure, gates, optimizers=iter([optimizer]))
    assert {key.replace(".layer.", "."): id(p) for key, p in network.named_parameters()} == objects
    assert all(parameter.grad is None for parameter in network.parameters())
    list(steps(network, optimizer, inputs, 2)), list(steps(copy, copied, inputs.flatten(1)[:, pixels], 2))
    for key, parameter in network.named_parameters():
        torch.testing.assert_close(parameter, copy.get_parameter(key.replace(".layer.", ".")))
    assert len(held) == 3


def test_state_of_another_shape_is_left_alone() -> None:
    network, inputs = small()
    structure, optimizer = find(network, inputs), Adam(network.parameters())
    list(steps(network, optimizer, inputs, 1))
    optimizer.state[network.fc1.weight]["rows"] = torch.arange(5.0).reshape(5, 1)
    compact(network, structure, open_from(structure, {"inputs": [0, 1], "fc1": [2]}), optimizers=[optimizer])
    state = optimizer.state[network.fc1.layer.weight]
    assert state["exp_avg"].shape == state["exp_avg_sq"].shape == (1, 2)
    assert state["rows"].shape == (5, 1) and state["step"].shape == ()


@pytest.mark.parametrize("name", ["sgd", "adam-fused"])
def test_training_goes_on_through_several_compactions(name: str, zoo: Any) -> None:
    case = zoo("residual")
    network, structure = case.copy().train(), case.structure
    optimizer = OPTIMIZERS[name](network.parameters())
    optimizer.param_groups[0]["lr"] = 1e-4
    losses = []
    for seed in range(4):
        losses += list(steps(network, optimizer, case.example, 2))
        structure = compact(network, structure, case.gates(seed + 20, structure), optimizers=[optimizer])
    losses += list(steps(network, optimizer, case.example, 2))
    assert len(losses) == 10 and all(bool(torch.isfinite(loss)) for loss in losses)
    assert structure.gate_count < case.structure.gate_count
    sizes = {id(parameter): parameter.shape for parameter in network.parameters()}
    for parameter, state in optimizer.state.items():
        assert all(value.shape == sizes[id(parameter)] for value in state.values() if value.dim())


def test_masks_are_cut_along_and_follow_a_layer_that_moves() -> None:
    torch.manual_seed(0)
    network, images = small()
    structure = find(network, images)
    masks = {name: (torch.rand_like(p) < 0.5).float() for name, p in network.named_parameters()}
    del masks["fc2.bias"]
    original = dict(masks)
    gates = open_from(structure, {"inputs": [0, 4], "fc1": [1, 2, 4], "fc2": [3]})
    structure = compact(network, structure, gates, masks=masks)
    shapes = {name: parameter.shape for name, parameter in network.named_parameters()}
    assert {name: mask.shape for name, mask in masks.items()} == {n: s for n, s in shapes.items() if n != "fc2.bias"}
    assert torch.equal(masks["fc1.layer.weight"], original["fc1.weight"][[1, 2, 4]][:, [0, 4]])
    assert torch.equal(masks["fc1.layer.bias"], original["fc1.bias"][[1, 2, 4]])
    assert torch.equal(masks["fc3.weight"], original["fc3.weight"][:, [3]])
    compact(network, structure, structure.open_from_kept({"inputs": [4], "fc1": [2], "fc2": [3]}), masks=masks)
    assert torch.equal(masks["fc1.layer.weight"], original["fc1.weight"][[2]][:, [4]])


def test_copies_and_state_dicts(case: Any) -> None:
    gates = case.gates(5)
    network = case.copy()
    compact(network, case.structure, gates)
    copied = deepcopy(network)
    fresh = case.copy()
    for parameter in fresh.parameters():
        parameter.data.zero_()
    compact(fresh, case.structure, gates)
    fresh.load_state_dict(network.state_dict())
    with torch.no_grad():
        expected = network(case.example)
        assert torch.equal(copied(case.example), expected)
        assert torch.equal(fresh(case.example), expected)
    assert not {id(p) for p in copied.parameters()} & {id(p) for p in network.parameters()}


def test_selectors_say_what_they_pass_and_cost_nothing() -> None:
    network, images = small()
    structure = find(network, images)
    compact(network, structure, open_from(structure, {"fc1": [1, 2]}))
    assert not any(isinstance(module, SelectChannels) for module in network.modules())  # every input is read
    structure = find(network, images)
    compact(network, structure, open_from(structure, {"inputs": [1, 5]}))
    select = network.fc1.select
    assert isinstance(select, SelectChannels) and str(select) == "SelectChannels(2 features, axis=-1)"
    assert list(select.parameters()) == [] and list(select.state_dict()) == ["kept"]
    assert select(torch.arange(12.0).reshape(2, 6)).tolist() == [[1.0, 5.0], [7.0, 11.0]]


def test_a_selector_depends_on_what_is_kept_not_on_the_way_there() -> None:
    """A stored network is rebuilt in one step, so that it must have the modules that several steps made."""
    network, direct = LeNet5((2, 2, 3), (1, 20, 20)), LeNet5((2, 2, 3), (1, 20, 20))
    structure = find(network, torch.randn(2, 1, 20, 20), flatten_inputs=True)
    kept = {"conv1": [0, 1], "conv2": [0, 1], "fc1": [0, 1, 2], "fc1.inputs": [0, 1, 2, 3, 5, 6]}
    middle = compact(network, structure, structure.open_from_kept(kept))
    kept |= {"conv2": [0], "fc1.inputs": [0, 1, 2, 3]}  # now everything that arrives is read
    compact(network, middle, middle.open_from_kept(kept))
    compact(direct, structure, structure.open_from_kept(kept))
    assert str(direct) == str(network) and "fc1.select.kept" in network.state_dict()
    direct.load_state_dict(network.state_dict())


def test_a_compact_network_can_be_compacted_anew() -> None:
    """Found again, it has the groups that are left (its selected inputs are no group any more)."""
    torch.manual_seed(0)
    network, images = small()
    structure = find(network, images)
    compact(network, structure, open_from(structure, {"inputs": [1, 5], "fc1": [0, 1, 2]}))
    again = find(network, images)
    assert again.slices() == {"fc1.layer": slice(0, 3), "fc2": slice(3, 7)}
    compact(network, again, torch.tensor([True, False, True, True, False, False, False]))
    assert network.fc1.layer.weight.shape == (2, 2) and network.fc2.weight.shape == (1, 2)
    assert network(images).shape == (2, 3)


def test_training_flags_and_requires_grad_stay() -> None:
    network, images = small()
    network.fc2.weight.requires_grad_(False)
    network.eval()
    structure = find(network, images)
    compact(network, structure, open_from(structure, {"inputs": [1, 5], "fc1": [0, 1, 2]}))
    assert not any(module.training for module in network.modules())
    assert not network.fc2.weight.requires_grad and network.fc1.layer.weight.requires_grad


@pytest.mark.parametrize(
    ("gates", "message"),
    [
        (torch.ones(5, dtype=torch.bool), r"\(5,\) gates for a structure that has 15"),
        (torch.ones(1, 15, dtype=torch.bool), r"\(1, 15\) gates"),
        (torch.ones(15), "must be bool, not torch.float32"),
        (torch.ones(15, dtype=torch.uint8), "must be bool"),
        (torch.tensor([0] * 6 + [1] * 9, dtype=torch.bool), "'inputs' would be emptied"),
        (torch.tensor([1] * 6 + [0] * 5 + [1] * 4, dtype=torch.bool), "'fc1' would be emptied"),
        (torch.tensor([1] * 11 + [0] * 4, dtype=torch.bool), "'fc2' would be emptied"),
    ],
)
def test_gates_that_cannot_be(gates: Tensor, message: str) -> None:
    network, images = small()
    structure = find(network, images)
    before = deepcopy(network.state_dict())
    with pytest.raises(SettingError, match=message):
        compact(network, structure, gates)
    after = network.state_dict()
    assert list(before) == list(after) and all(torch.equal(before[key], after[key]) for key in before)

"""Masks on a network's layers, and masks that an optimizer's steps respect."""

import io
from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from bayesprune.errors import SettingError
from bayesprune.training.masks import attach_masks, attached_masks, hold_masks


def masked() -> tuple[nn.Sequential, dict[str, Tensor]]:
    """A perceptron 4-3-2 with 7 of its 18 weights at zero, and its masks."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    masks = {"0.weight": torch.arange(12).view(3, 4) % 3 != 1, "2.weight": torch.arange(6).view(2, 3) % 2 == 0}
    with torch.no_grad():
        for name, mask in masks.items():
            network.get_parameter(name).mul_(mask)
    return network, masks


def zeros(network: nn.Module) -> int:
    return sum(int((parameter == 0).sum()) for parameter in network.parameters())


def step(network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    network(torch.randn(5, 4)).square().sum().backward()
    optimizer.step()


@pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated:DeprecationWarning")
def test_masks_go_along_with_copies_and_larger_networks_and_not_with_the_state() -> None:
    network, masks = masked()
    attach_masks(network, masks)
    assert set(network.state_dict()) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert {name: mask.tolist() for name, mask in attached_masks(network).items()} == {
        name: mask.tolist() for name, mask in masks.items()
    }
    larger = nn.Sequential(deepcopy(network), nn.Linear(2, 2))
    assert set(attached_masks(larger)) == {"0.0.weight", "0.2.weight"}
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(network), buffer)
    attach_masks(network, {"2.weight": masks["2.weight"].float()})
    assert list(attached_masks(network)) == ["2.weight"] and attached_masks(network)["2.weight"].dtype == torch.bool
    attach_masks(network, {})
    assert attached_masks(network) == {} and "pruning_masks" not in vars(network[2])


def test_a_layer_on_its_own_has_masks_too() -> None:
    layer = nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight[0, 1] = 0.0
    attach_masks(layer, {"weight": torch.tensor([[True, False], [True, True]])})
    assert list(attached_masks(layer)) == ["weight"]


def test_masks_do_not_outlive_their_zeros_or_their_shape() -> None:
    network, masks = masked()
    attach_masks(network, masks)
    with torch.no_grad():
        network.get_parameter("0.weight")[0, 1] = 1e-30
    assert list(attached_masks(network)) == ["2.weight"]
    network[2].weight = nn.Parameter(torch.zeros(2, 2))
    assert attached_masks(network) == {}


OPTIMIZERS: list[Callable[[nn.Module], torch.optim.Optimizer]] = [
    lambda network: torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, weight_decay=0.1),
    lambda network: torch.optim.Adam(network.parameters(), 0.1),
    lambda network: torch.optim.AdamW(network.parameters(), 0.1, fused=True),
]


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_weights_stay_zero_after_every_step_until_the_handle_is_removed(
    make: Callable[[nn.Module], torch.optim.Optimizer],
) -> None:
    network, masks = masked()
    before, optimizer = deepcopy(network), make(network)
    handle = hold_masks(network, masks, optimizer)
    for _ in range(5):
        step(network, optimizer)
        assert all(bool((network.get_parameter(name)[~mask] == 0).all()) for name, mask in masks.items())
    alive = {name: network.get_parameter(name)[mask] for name, mask in masks.items()}
    assert all(bool((value != before.get_parameter(name)[masks[name]]).any()) for name, value in alive.items())
    handle.remove()
    step(network, optimizer)
    assert zeros(network) < 7


def test_a_held_step_is_the_plain_step_under_masks() -> None:
    network, masks = masked()
    plain = deepcopy(network)
    optimizer, other = (torch.optim.SGD(one.parameters(), 0.1) for one in (network, plain))
    hold_masks(network, masks, optimizer)
    inputs = torch.randn(5, 4)
    for one, steps in ((network, optimizer), (plain, other)):
        one(inputs).square().sum().backward()
        steps.step()
    for name, parameter in plain.named_parameters():
        assert torch.equal(network.get_parameter(name), parameter * masks.get(name, torch.ones(())))


def test_holding_sets_zeros_that_were_lost() -> None:
    network, masks = masked()
    nn.init.ones_(network.get_parameter("0.weight"))
    hold_masks(network, masks, torch.optim.SGD(network.parameters(), 0.1))
    assert zeros(network[0]) == 4


def test_an_optimizer_of_another_network_and_masks_of_another_shape_are_refused() -> None:
    network, masks = masked()
    with pytest.raises(SettingError, match="steps no weight that has a mask: make it from pruned.network.parameters"):
        hold_masks(network, masks, torch.optim.SGD(deepcopy(network).parameters(), 0.1))
    with pytest.raises(SettingError, match=r"the mask of 2.weight is \[3\] and its weights are \[2, 3\]"):
        hold_masks(network, {"2.weight": torch.ones(3)}, torch.optim.SGD(network.parameters(), 0.1))
    hold_masks(network, {}, torch.optim.SGD(network.parameters(), 0.1)).remove()

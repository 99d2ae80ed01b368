"""Modes and hooks are as they were afterwards, also when something fails meanwhile."""

from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from bayesprune.structure import evaluating, hooked
from bayesprune.structure.modes import as_in_training, remember_frozen, train_mode


def network_of() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))


def test_every_module_has_its_mode_again() -> None:
    network = network_of()
    network[1].eval()

    def fail() -> None:
        assert not any(module.training for module in network.modules())
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), evaluating(network):
        fail()
    assert [module.training for module in network.modules()] == [True, True, False, True]


def test_hooks_are_there_meanwhile_only() -> None:
    network, seen = network_of(), list[str]()

    def watch(name: str) -> RemovableHandle:
        return network.get_submodule(name).register_forward_hook(lambda *_: seen.append(name))

    network[1].register_forward_hook(lambda *_: 1 / len(seen[2:]))  # fails while hooks are on
    with pytest.raises(ZeroDivisionError), hooked([watch("0"), watch("1")]):
        network(torch.randn(4, 2))
    network[0](torch.randn(4, 2))
    assert seen == ["0"]


def test_hooks_made_before_one_that_fails_are_taken_off() -> None:
    network = network_of()

    def watching() -> Iterator[RemovableHandle]:
        yield network[0].register_forward_hook(lambda *_: None)
        assert len(network[0]._forward_hooks) == 1
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), hooked(watching()):
        pass
    assert not network[0]._forward_hooks


class Nested(nn.Module):
    """A normalisation and a dropout inside a part of the network."""

    def __init__(self) -> None:
        super().__init__()
        self.part = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Dropout())
        self.norm, self.head = nn.BatchNorm1d(3), nn.Linear(3, 1)


def modes_in_training(network: nn.Module) -> dict[str, bool]:
    remember_frozen(network)
    network.eval()
    train_mode(network)
    return {name: module.training for name, module in network.named_modules()}


def test_what_the_user_keeps_in_evaluation_mode_stays_in_it() -> None:
    network = Nested().train()
    network.part.eval()
    assert [name for name, on in modes_in_training(network).items() if not on] == ["part", "part.0", "part.1", "part.2"]
    network = Nested().eval()  # as loaded for inference: nothing is meant to stay as it is ...
    assert all(modes_in_training(network).values())
    network = Nested().eval()
    network.norm.requires_grad_(False)  # ... but a frozen normalisation
    assert [name for name, on in modes_in_training(network).items() if not on] == ["norm"]
    network = Nested().train()
    network.norm.requires_grad_(False)  # in training mode its statistics go on
    assert all(modes_in_training(network).values())


def test_as_in_training_leaves_layers_in_evaluation_mode() -> None:
    network = Nested().eval()
    network.head.train()
    with as_in_training(network):
        assert [name for name, module in network.named_modules() if module.training] == ["", "part"]
    assert [name for name, module in network.named_modules() if module.training] == ["head"]

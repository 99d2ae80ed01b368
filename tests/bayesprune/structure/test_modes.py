"""Modes and hooks are as they were afterwards, also when something fails meanwhile."""

from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from bayesprune.structure import evaluating, hooked


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

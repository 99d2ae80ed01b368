"""The registry of networks: names, specs, and callables of the user's own."""

import sys
from types import ModuleType
from typing import Any

import pytest
from torch import nn

import bayesprune.models.networks  # noqa: F401  # fills the registry
from bayesprune.errors import InputShapeError, NetworkError, SettingError, UnknownNameError
from bayesprune.run.networks import NetworkSpec, known, name_of, register, require_size


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of the user's with a few factories."""
    module: Any = ModuleType("own_networks_for_a_test")

    def small(width: int = 3, input_shape: tuple[int, ...] = (1, 2, 2), classes: int = 2) -> nn.Module:
        assert isinstance(input_shape, tuple)
        return nn.Sequential(nn.Flatten(), nn.Linear(4, width), nn.Linear(width, classes))

    def takes_all(**arguments: Any) -> nn.Module:
        network: Any = nn.Linear(2, 2)
        network.seen = arguments
        return network

    module.small, module.takes_all, module.none, module.number = small, takes_all, lambda: None, 7
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def test_known_names() -> None:
    assert {"lenet300", "lenet5", "conv4"} <= set(known())
    assert known() == sorted(known())


@pytest.mark.parametrize(("wrong", "near"), [("lenet30", "lenet300"), ("LeNet5", "lenet5"), ("conf4", "conv4")])
def test_an_unknown_name_offers_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(UnknownNameError, match=f"unknown network {wrong!r}: did you mean {near!r}") as caught:
        NetworkSpec(wrong).build()
    assert caught.value.nearest == near and "conv4" in str(caught.value)


def test_a_name_like_no_other_offers_the_list() -> None:
    with pytest.raises(UnknownNameError, match="there are.*conv4.*lenet300") as caught:
        NetworkSpec("qqqqqq").build()
    assert caught.value.nearest is None and "did you mean" not in str(caught.value)


def test_spec_builds_with_lists_from_json() -> None:
    network = NetworkSpec("lenet300", {"widths": [5, 4], "input_shape": [1, 2, 3], "classes": 3}).build()
    assert [tuple(parameter.shape) for parameter in network.parameters()] == [(5, 6), (5,), (4, 5), (4,), (3, 4), (3,)]


def test_errors_of_the_network_pass() -> None:
    with pytest.raises(InputShapeError, match=r"lenet5 cannot take inputs of shape \(1, 8, 8\)"):
        NetworkSpec("lenet5", {"input_shape": [1, 8, 8]}).build()


def test_a_callable_of_the_users_own(own: ModuleType) -> None:
    spec = NetworkSpec(f"{own.__name__}:small", {"width": 5, "input_shape": [1, 2, 2], "classes": 4, "other": 1})
    network = spec.build()  # what the factory does not take is not passed
    assert isinstance(network, nn.Sequential) and network[2].out_features == 4 and network[1].out_features == 5
    every = NetworkSpec(f"{own.__name__}:takes_all", {"input_shape": [1, 2], "other": 1}).build()
    assert every.seen == {"input_shape": (1, 2), "other": 1}


def test_a_factory_overrules_the_name(own: Any) -> None:
    network = NetworkSpec("no such name", {"classes": 9, "widths": [1]}).build(own.small)
    assert isinstance(network, nn.Sequential) and network[2].out_features == 9


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own_networks_for_a_test:missing", "cannot be imported.*missing.*package.module:callable"),
        ("no_such_module_for_a_test:small", "cannot be imported.*no_such_module_for_a_test"),
        ("own_networks_for_a_test:number", "is not callable"),
    ],
)
def test_callables_that_cannot_be_used(own: ModuleType, name: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        NetworkSpec(name).build()


def test_a_callable_that_makes_no_network(own: ModuleType) -> None:
    with pytest.raises(NetworkError, match="made None; a torch.nn.Module is needed"):
        NetworkSpec(f"{own.__name__}:none").build()


def test_registering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bayesprune.run.networks._FACTORIES", {})

    @register("tiny")
    class Tiny(nn.Linear):
        def __init__(self, classes: int = 2) -> None:
            super().__init__(3, classes)
            self.spec_arguments = {"classes": classes}

    assert known() == ["tiny"]
    assert name_of(Tiny(5)) == NetworkSpec("tiny", {"classes": 5})
    assert NetworkSpec("tiny", {"classes": 4}).build().out_features == 4


def test_networks_without_a_spec() -> None:
    assert name_of(nn.Linear(2, 2)) is None


def test_require_size() -> None:
    require_size("any", (1, 4, 4), (1, 4, 4))
    for shape in ((1, 3, 4), (1, 4), (1, 4, 4, 4), (0, 4, 4)):
        with pytest.raises(InputShapeError, match="any cannot take inputs of shape"):
            require_size("any", shape, (1, 4, 4))

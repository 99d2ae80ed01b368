"""Names of networks with arguments in parentheses."""

from typing import Any

import pytest

import bayesprune.models.networks  # noqa: F401  # fills the registry
from bayesprune.errors import SettingError, UnknownNameError
from bayesprune.models import GraphRNN
from bayesprune.run.network_arguments import split_arguments
from bayesprune.run.networks import NetworkSpec, factory_named


@pytest.mark.parametrize(
    ("name", "plain", "given"),
    [
        ("lenet5", "lenet5", {}),
        ("lenet5()", "lenet5", {}),
        ("graphrnn(cell=lstm, graph=watts-strogatz:3)", "graphrnn", {"cell": "lstm", "graph": "watts-strogatz:3"}),
        ("x(a=3,b=-0.5,c=True,d=none)", "x", {"a": 3, "b": -0.5, "c": True, "d": None}),
    ],
)
def test_arguments_are_read(name: str, plain: str, given: dict[str, Any]) -> None:
    assert split_arguments(name) == (plain, given)


def test_the_network_is_the_one_with_these_arguments() -> None:
    built = NetworkSpec("graphrnn(cell=tanh,graph=barabasi-albert:2,width=9)", {"classes": 3}).build()
    direct = GraphRNN("barabasi-albert:2", "tanh", width=9, classes=3)
    shapes = [[tuple(one.shape) for one in network.parameters()] for network in (built, direct)]
    assert shapes[0] == shapes[1] and isinstance(built, GraphRNN) and built.cell == "tanh"
    assert factory_named("graphrnn()") is GraphRNN


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("graphrnn(cell=lstm", SettingError, "write its arguments as NAME"),
        ("graphrnn(lstm)", SettingError, "write its arguments as NAME"),
        ("graphrnn(cell=)", SettingError, "write its arguments as NAME"),
        ("graphrnn(cell=gru,cell=lstm)", SettingError, "give every argument once"),
        ("graphrnn(cel=lstm)", UnknownNameError, "unknown argument of graphrnn 'cel': did you mean 'cell'"),
        ("rnn-lstm(arguments=20)", UnknownNameError, "there are widths"),
        ("graphrnn(classes=7)", SettingError, "leave out classes, which the data say"),
        ("grafrnn(cell=lstm)", UnknownNameError, "unknown network 'grafrnn': did you mean 'graphrnn'"),
    ],
)
def test_wrong_arguments_are_said(name: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        factory_named(name)


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("graphrnn(width=abc)", SettingError, "width is 'abc': take a whole number of 1 or more"),
        ("graphrnn(width=2.5)", SettingError, "width is 2.5: take a whole number"),
        ("graphrnn(width=true)", SettingError, "width is True: take a whole number"),
        ("graphrnn(width=0)", SettingError, "width is 0: take 1 or more"),
        ("graphrnn(cell=3)", UnknownNameError, "unknown kind of cell '3'"),
    ],
)
def test_arguments_of_another_kind_are_said(name: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        NetworkSpec(name, {"classes": 3}).build()

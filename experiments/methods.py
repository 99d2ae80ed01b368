"""The one table of methods: these names on the command line, in TOML, JSON and plots."""

from bayesprune.errors import UnknownNameError
from bayesprune.inference.parsimonious import Parsimonious
from bayesprune.pruners.methods import baselines
from bayesprune.run.method import Method
from bayesprune.tangent.method import NeuralTangentTransfer

METHODS: dict[str, Method] = {method.name: method for method in [*baselines(), NeuralTangentTransfer(), Parsimonious()]}


def method(name: str) -> Method:
    """A method by name.

    Raises:
        UnknownNameError: there is none; the nearest name is offered.
    """
    if name not in METHODS:
        raise UnknownNameError("method", name, METHODS)
    return METHODS[name]

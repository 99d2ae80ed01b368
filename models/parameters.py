"""A module's own parameters as Pyro's param statements, without Pyro's global parameter store."""

import weakref
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import pyro
from pyro.nn.module import PyroModule
from pyro.poutine.runtime import _PYRO_STACK, effectful
from pyro.poutine.trace_messenger import TraceMessenger
from torch import Tensor, nn

from bayesprune.errors import SettingError


def are_collected() -> bool:
    """Whether somebody collects parameters: `poutine.trace(param_only=True)`, as `pyro.infer.SVI` does at a step."""
    return any(isinstance(handler, TraceMessenger) and handler.param_only for handler in _PYRO_STACK)


def tell(name: str, parameter: nn.Parameter) -> None:
    """One param statement that Pyro's handlers see, with the parameter itself behind it.

    It is what Pyro's `module_local_params` does: nothing enters the global store, so two models share nothing.

    Raises:
        SettingError: a handler puts another value in the parameter's place, which nobody would read.
    """
    value: Any = parameter.detach()
    value.unconstrained = weakref.ref(parameter)
    if _said(value, name=name) is not value:
        raise SettingError(
            f"a handler replaced the parameter {name!r}, which the network holds itself: for a law of the weights "
            "make the model with weight_sites=True"
        )


def tell_all(prefix: str, module: nn.Module, *, leave: Collection[int] = ()) -> None:
    """Tell all parameters that learn, without those of Pyro's own modules, which tell theirs, and ids in `leave`."""
    theirs = {id(p) for part in module.modules() if isinstance(part, PyroModule) for p in part.parameters()}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad and id(parameter) not in theirs and id(parameter) not in leave:
            tell(f"{prefix}.{name}", parameter)


@contextmanager
def own_store(state: Any) -> Iterator[Any]:
    """For a while Pyro's store holds the parameters of `state` only (None for none yet); yields the state to keep.

    Pyro takes the way back from a value to its parameter off as it puts a store away; who collects parameters needs it.
    """
    with pyro.get_param_store().scope(state) as kept:
        yield kept
    if are_collected():
        values: Any = kept["params"].values()
        for parameter in values:
            parameter.unconstrained = weakref.ref(parameter)


@effectful(type="param")
def _said(value: Tensor) -> Tensor:
    """The value as it is."""
    return value

"""What a user hands over as network: a module with its weights, or a name, class or function that makes one."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bayesprune.data import Data
from bayesprune.errors import NetworkError, SettingError, a_kind
from bayesprune.run.networks import Factory, NetworkSpec, name_of, registered_name
from bayesprune.run.normal import without_usual_widths
from bayesprune.run.running import Fresh, initial_network, load_weights
from bayesprune.run.settings import RunSettings

Given = nn.Module | str | Callable[..., nn.Module]
"""A module, a name (registered, or `package.module:callable`), or a class or function."""


@dataclass(frozen=True)
class Start:
    """A network before a run.

    Attributes:
        network: the module.
        spec: how to build it again without code of the user's; None where only the user can.
        settings: of the run, with the network's name.
        given: whether it was handed over with its weights, or made by code that no file names.
        fresh: makes it with the initial weights of another seed; None where its weights were given.
    """

    network: nn.Module
    spec: NetworkSpec | None
    settings: RunSettings
    given: bool
    fresh: Fresh | None = None


def start_from(network: Given, data: Data, settings: RunSettings) -> Start:
    """The network that a run begins with.

    A name, class or function is called with those of `input_shape=`, `classes=` and `widths=` that it takes, and the
    settings' seed draws its weights. A module keeps the weights it has. `weights` in the settings replaces either.

    Raises:
        NetworkError: it is none of these, or the call fails.
        SettingError: widths are given for a module, or the file of weights does not fit.
    """
    weights = None if settings.weights is None else Path(settings.weights)
    if isinstance(network, nn.Module):
        return _from_module(network, settings, weights)
    name = network if isinstance(network, str) else registered_name(network)
    if name is not None:
        settings = without_usual_widths(replace(settings, network=name))
        spec = spec_for(name, settings, data)
        anew = fresh_from(spec, weights)
        return Start(initial_network(spec, settings.seed, weights), spec, settings, given=False, fresh=anew)
    if not callable(network):
        raise NetworkError(
            f"network is {a_kind(network)}: give a torch.nn.Module, a name such as 'lenet300', or a class or "
            f"function that makes one{'; of a pruned network its .network' if hasattr(network, 'network') else ''}"
        )
    settings = replace(settings, network=getattr(network, "__name__", type(network).__name__))
    spec = spec_for(settings.network, settings, data)
    made, anew = initial_network(spec, settings.seed, weights, network), fresh_from(spec, weights, network)
    return Start(made, None, settings, given=True, fresh=anew)


def fresh_from(spec: NetworkSpec, weights: object, factory: Factory | None = None) -> Fresh | None:
    """What makes a network with the initial weights of another seed; None where they come from a file."""
    return None if weights is not None else lambda seed: initial_network(spec, seed, factory=factory)


def spec_for(name: str, settings: RunSettings, data: Data) -> NetworkSpec:
    """How to build a network for data: with the shape of their inputs, their classes, and the settings' widths."""
    arguments: dict[str, Any] = {"input_shape": data.inputs.plain_shape, "classes": data.classes}
    if settings.widths is not None:
        arguments["widths"] = list(settings.widths)
    return NetworkSpec(name, arguments)


def _from_module(network: nn.Module, settings: RunSettings, weights: Path | None) -> Start:
    """A module with its weights, or with those of a file."""
    if settings.widths is not None:
        raise SettingError("widths is for a network that the run makes: give its name or class, or leave widths out")
    if weights is not None:
        network = deepcopy(network)
        load_weights(network, weights)
    spec = _remembered_spec(network)
    name = spec.factory if spec else type(network).__name__
    return Start(network, spec, replace(settings, network=name), given=True)


def _remembered_spec(network: nn.Module) -> NetworkSpec | None:
    """How a registered factory made the network; None when it was changed since and cannot be made again."""
    spec = name_of(network)
    if spec is None:
        return None
    with torch.random.fork_rng(devices=[]):
        fresh = spec.build()
    return spec if _anatomy(fresh) == _anatomy(network) else None


def _anatomy(network: nn.Module) -> list[object]:
    """Names and kinds of all modules, names and shapes of all tensors."""
    modules: list[object] = [(name, type(module)) for name, module in network.named_modules()]
    return modules + [(name, getattr(value, "shape", None)) for name, value in network.state_dict().items()]

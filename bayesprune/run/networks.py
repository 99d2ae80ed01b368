"""The registry of networks by name; the models floor fills it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import Parameter, signature
from typing import Any

from torch import nn

from bayesprune.errors import BayespruneError, InputShapeError, NetworkError, SettingError, UnknownNameError, a_kind
from bayesprune.run.network_arguments import split_arguments, with_arguments
from bayesprune.run.user_code import import_current

Factory = Callable[..., nn.Module]
_FACTORIES: dict[str, Factory] = {}


def register(name: str) -> Callable[[Factory], Factory]:
    """Decorate a factory (or a class) that takes `input_shape=` and `classes=` to make it known by name."""

    def add(factory: Factory) -> Factory:
        _FACTORIES[name] = factory
        return factory

    return add


def known() -> list[str]:
    """The names of all registered networks."""
    return sorted(_FACTORIES)


@dataclass(frozen=True)
class NetworkSpec:
    """How to build a network: a registered name or `package.module:callable`, and its keyword arguments."""

    factory: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def build(self, factory: Factory | None = None) -> nn.Module:
        """Build it anew with random weights; `factory` overrules the name.

        Raises:
            UnknownNameError: there is no such network.
            InputShapeError: it cannot take the input shape.
            NetworkError: the factory fails, or what it makes is no network.
        """
        maker = factory or factory_named(self.factory)
        accepted = _parameters(maker)
        takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted.values())
        arguments = {key: _plain(v) for key, v in self.arguments.items() if takes_all or key in accepted}
        try:
            network = maker(**arguments)
        except BayespruneError:
            raise
        except (Exception, SystemExit) as error:  # the factory is the user's and may raise anything
            given = ", ".join(f"{key}={value}" for key, value in arguments.items())
            raise NetworkError(
                f"network {self.factory!r}, called with ({given}), failed with {type(error).__name__}: {error}; "
                "give a network that is made already, or a function that takes nothing but these"
            ) from error
        if not isinstance(network, nn.Module):
            raise NetworkError(f"{self.factory!r} made {a_kind(network)}; a torch.nn.Module is needed")
        return network


def name_of(network: nn.Module) -> NetworkSpec | None:
    """The spec of a network made by a registered factory, when it remembers one (`network.spec_arguments`)."""
    for name, factory in _FACTORIES.items():
        arguments = getattr(network, "spec_arguments", None)
        if factory is type(network) and arguments is not None:
            return NetworkSpec(name, dict(arguments))
    return None


def registered_name(factory: object) -> str | None:
    """The name under which a factory is registered, None for one of the user's."""
    return next((name for name, known in _FACTORIES.items() if known is factory), None)


def require_size(name: str, input_shape: tuple[int, ...], smallest: tuple[int, ...]) -> None:
    """Refuse an input shape with other axes, or with an image smaller than the network can take.

    Raises:
        InputShapeError: naming the shape and the smallest one.
    """
    shape = tuple(input_shape)
    if len(shape) != len(smallest) or any(size < least for size, least in zip(shape, smallest, strict=True)):
        raise InputShapeError(
            f"{name} cannot take inputs of shape {shape}: it needs at least {smallest}: "
            "give larger images or take another network"
        )


def factory_named(name: str) -> Factory:
    """A registered factory, or the callable that `package.module:callable` names.

    Behind a registered name may stand arguments: "graphrnn(cell=lstm, graph=watts-strogatz:3)".

    Raises:
        UnknownNameError: there is no such network, or it has no such argument.
        SettingError: its module cannot be imported, what is named there is not callable, or arguments cannot be read.
    """
    plain, arguments = split_arguments(name)
    if plain in _FACTORIES:
        return with_arguments(_FACTORIES[plain], plain, arguments) if arguments else _FACTORIES[plain]
    if arguments:
        raise UnknownNameError("network", plain, _FACTORIES)
    if ":" not in name:
        raise UnknownNameError("network", name, _FACTORIES)
    module_name, _, attribute = name.partition(":")
    try:
        maker: object = getattr(import_current(module_name), attribute)
    except (Exception, SystemExit) as error:  # the module is the user's and may raise anything
        raise SettingError(
            f"network {name!r} cannot be imported ({type(error).__name__}: {error}); give package.module:callable"
        ) from error
    if not callable(maker):
        raise SettingError(f"network {name!r} is not callable")
    return maker


def _parameters(maker: Factory) -> Mapping[str, Parameter]:
    """What a callable takes; nothing where that cannot be told."""
    try:
        return signature(maker).parameters
    except (TypeError, ValueError):
        return {}


def _plain(value: Any) -> Any:
    """Lists from JSON become the tuples that constructors expect."""
    return tuple(value) if isinstance(value, list) else value

"""One form for settings that ask for the same run: what is written out but equal to a default is left out."""

from collections.abc import Callable
from dataclasses import replace
from inspect import signature
from typing import Any

from torch import Tensor, nn

from bayesprune.data import Data
from bayesprune.run.method import Method
from bayesprune.run.networks import factory_named
from bayesprune.run.settings import RunSettings
from bayesprune.structure.passes import look
from bayesprune.structure.selectors import Selected
from bayesprune.structure.sources import input_readers
from bayesprune.training.fixed import FixedTraining

_PLAIN = RunSettings("dense")


def normal_settings(method: Method, settings: RunSettings, data: Data, network: Callable[[], nn.Module]) -> RunSettings:
    """The settings as they name the run; a run with them gives the same result.

    Args:
        method: that the settings name.
        settings: as the user wrote them.
        data: that the run learns from.
        network: makes the run's network; called only where a default depends on it.

    Raises:
        SettingError: an option is unknown or has a value that cannot be used.
    """
    settings = method.normal(settings.with_defaults(data.train))
    if "estimator" not in method.takes:
        settings = replace(settings, estimator=_PLAIN.estimator)
    if settings.options.get("training", "recipe") == "recipe" and (settings.noise, settings.consistency) != (
        None,
        None,
    ):
        settings = _without_usual_noise(settings, data, network())
    if settings.inputs != _PLAIN.inputs:
        example = next(iter(data.test.batches(2)))[0]
        settings = _with_usual_inputs(settings, network(), example)
    return settings


def without_usual_widths(settings: RunSettings) -> RunSettings:
    """Without widths that are those of the network's factory anyway."""
    if settings.widths is None:
        return settings
    usual = signature(factory_named(settings.network)).parameters.get("widths")
    if usual is None or not isinstance(usual.default, tuple | list) or tuple(usual.default) != settings.widths:
        return settings
    return replace(settings, widths=None)


def without_usual_options(settings: RunSettings, own: object, usual: object) -> RunSettings:
    """Without the options that are as they would be anyway.

    Args:
        settings: of the run.
        own: the method's own settings, read from these.
        usual: what they are when no option is given.
    """
    options: dict[str, Any] = {
        name: value for name, value in settings.options.items() if getattr(own, name) != getattr(usual, name)
    }
    return replace(settings, options=options)


def _without_usual_noise(settings: RunSettings, data: Data, network: nn.Module) -> RunSettings:
    """Without noise and consistency that are those of the kind of network anyway."""
    free = replace(settings, noise=None, consistency=None)
    usual = FixedTraining.of(free, network, data.train, epochs=1, slab=1.0, likelihood=data.task.likelihood())
    same = {name: None for name in ("noise", "consistency") if getattr(settings, name) == getattr(usual, name)}
    return replace(settings, **same)  # type: ignore[arg-type]  # names of settings


def _with_usual_inputs(settings: RunSettings, network: nn.Module, example: Tensor) -> RunSettings:
    """With `inputs="auto"` where what is asked for gives the same gates."""
    if settings.inputs == _PLAIN.inputs or any(isinstance(module, Selected) for module in network.modules()):
        return settings  # features that are selected already get gates of their own
    passes = look(network, example)
    wanted, usual = (
        [] if choice == "none" else input_readers(network, example, passes, convolutions=choice == "all")
        for choice in (settings.inputs, _PLAIN.inputs)
    )
    return replace(settings, inputs=_PLAIN.inputs) if wanted == usual else settings

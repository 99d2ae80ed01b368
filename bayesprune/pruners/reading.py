"""Reading a run's options: with the method's own defaults, in one form, and none that would do nothing."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from bayesprune.errors import SettingError
from bayesprune.pruners.options import DEFAULT_LEARNING_RATE, PruneOptions, TrainOptions
from bayesprune.pruners.schedule import USES
from bayesprune.run.normal import without_usual_options
from bayesprune.run.settings import RunSettings

ROUNDS_APART = {"plain": "trains until validation no longer improves", "clipped": "takes all epochs before pruning"}
"""Trainings in which every round of pruning, the only one too, has `retrain` epochs besides the run's: and what they do
before the first."""

Options = TypeVar("Options", bound=TrainOptions)


def options_of(
    kind: type[Options],
    settings: RunSettings,
    usual: Mapping[str, Any] | None = None,
    *,
    at_start: bool = False,
) -> Options:
    """The options of a run.

    Args:
        kind: of the method's options.
        settings: of the run.
        usual: the method's own defaults of its options.
        at_start: whether the method has no training before it prunes.

    Raises:
        SettingError: there is no such option, its value is not allowed, or it does nothing beside the others.
    """
    given = settings.options
    own, plain = (kind.of(settings.method, {**(usual or {}), **options}) for options in (given, {}))
    reasons = _reasons(own, at_start)
    for name in given:
        if name in reasons and getattr(own, name) != getattr(plain, name):
            raise SettingError(f"{name}={getattr(own, name)!r} does nothing here, since {reasons[name]}: leave it out")
    if own.training != "recipe" and settings.consistency:
        raise SettingError(
            f"consistency={settings.consistency:g} does nothing here, since training={own.training!r} makes no second "
            "prediction: leave it out"
        )
    if own.training != "recipe" and settings.optimizer is not None:
        raise SettingError(
            f"optimizer={settings.optimizer!r} does nothing here, since training={own.training!r} has one of its own: "
            "leave it out"
        )
    return own


def normal_of(
    kind: type[TrainOptions],
    settings: RunSettings,
    usual: Mapping[str, Any] | None = None,
    *,
    at_start: bool = False,
    dense: bool = False,
) -> RunSettings:
    """The same request in one form: without options and a learning rate that are the method's anyway.

    Other arguments and errors are those of `options_of`; with `dense` it trains as that method does.
    """
    own = options_of(kind, settings, usual, at_start=at_start)
    settings = without_usual_options(settings, own, kind.of(settings.method, usual or {}))
    if at_start and "prune_share" in settings.options:  # 0, which is so anyway
        settings = replace(settings, options={n: v for n, v in settings.options.items() if n != "prune_share"})
    trains_first = dense or (not at_start and own.prune_share > 0)
    as_usual = settings.learning_rate == DEFAULT_LEARNING_RATE and settings.optimizer is None
    if trains_first and own.training == "recipe" and as_usual:
        settings = replace(settings, learning_rate=None)
    return settings


def _reasons(own: TrainOptions, at_start: bool) -> dict[str, str]:
    """Why an option does nothing, for those that do nothing."""
    found = {}
    if own.training != "recipe":
        found["slab"] = f"training={own.training!r} has no weight decay from a prior"
    if own.training != "adam":
        found["clip"] = f"training={own.training!r} has no such limit of gradients (training='adam' does)"
        found["curve"] = f"training={own.training!r} takes down no curve (training='adam' does)"
    if own.training in ROUNDS_APART:
        found["fixed_learning_rate"] = f"training={own.training!r} has one learning rate, `learning_rate`"
        if own.prune_share > 0:
            found["prune_share"] = f"training={own.training!r} {ROUNDS_APART[own.training]}"
    if isinstance(own, PruneOptions):
        found |= _of_rounds(own)
    if own.prune_share == 0:
        found["sparsity"] = "prune_share=0 leaves no training before pruning"
    if at_start and own.prune_share > 0:
        found["prune_share"] = "there is no training before pruning"
    return found


def _of_rounds(own: PruneOptions) -> dict[str, str]:
    """Those that are about rounds of pruning."""
    found = {}
    for name in ("rounds", "rate"):
        if name not in USES[own.schedule]:
            fitting = " or ".join(repr(schedule) for schedule, uses in USES.items() if name in uses)
            found[name] = f"schedule={own.schedule!r} takes no {name} (schedule={fitting} does)"
    between = ("retrain", "until_validation")
    if getattr(own, "rewind", None) is not None:
        found |= dict.fromkeys((*between, "prune_share"), "with rewind all trainings are equally long")
    elif own.schedule == "one-shot" and own.training not in ROUNDS_APART:
        found |= dict.fromkeys(between, "schedule='one-shot' has one round and no training between rounds")
    elif own.retrain < 2:
        found["until_validation"] = f"with retrain={own.retrain} no training after a round can end earlier"
    return found

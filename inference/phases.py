"""What methods share that learn gates in a share of their epochs and train the compact network in the rest."""

from dataclasses import replace
from math import ceil
from typing import Any

from bayesprune.data import Data, steps_per_epoch
from bayesprune.errors import SettingError
from bayesprune.run.normal import without_usual_options
from bayesprune.run.settings import RunSettings


def split_epochs(settings: RunSettings, prune_share: float, learnt: str = "gates") -> tuple[int, int]:
    """Epochs in which gates learn, and at fixed structure.

    Args:
        settings: of the run, with its epochs.
        prune_share: share of the epochs in which gates learn.
        learnt: what is learnt in them, for people.

    Raises:
        SettingError: there are none, or noise is asked for without any at fixed structure.
    """
    assert settings.epochs is not None  # with_defaults
    if settings.epochs == 0:
        raise SettingError(
            f"method {settings.method!r} learns its {learnt} in training, and epochs=0 leaves none: give epochs=1 or "
            "more"
        )
    epochs = max(1, round(prune_share * settings.epochs))
    fixed = settings.epochs - epochs
    for name in ("noise", "consistency"):
        if fixed == 0 and getattr(settings, name) is not None:
            raise SettingError(
                f"{name}={getattr(settings, name):g} does nothing here, since {settings.method} trains no epoch at "
                "fixed structure: leave it out, or give a prune_share below 1 and more epochs"
            )
    return epochs, fixed


def epochs_for(steps: int, prune_share: float, data: Data, settings: RunSettings) -> int:
    """The fewest epochs of a whole run whose pruning phase has at least so many steps, up to rounding."""
    return ceil(ceil(steps / steps_per_epoch(data.train, settings.batch_size)) / prune_share)


def normal_of(options: type[Any], settings: RunSettings, learning_rate: float) -> RunSettings:
    """See `Method.normal`: without options and a learning rate that are as they would be anyway.

    Args:
        options: the class of the method's own settings.
        settings: of the run.
        learning_rate: of the method.
    """
    if settings.learning_rate == learning_rate:
        settings = replace(settings, learning_rate=None)
    return without_usual_options(settings, options.of(settings.method, settings.options), options())

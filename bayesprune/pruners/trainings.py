"""The kinds of training that deterministic methods share, by the names of the option `training`."""

from bayesprune.data import Data
from bayesprune.pruners.clipped import ClippedStages
from bayesprune.pruners.constant import ConstantStages
from bayesprune.pruners.options import TrainOptions
from bayesprune.pruners.plain import PlainStages
from bayesprune.pruners.stages import Stages
from bayesprune.run.settings import RunSettings
from bayesprune.training import TrainState

TRAININGS: dict[str, type[Stages]] = {
    "recipe": Stages,
    "plain": PlainStages,
    "adam": ConstantStages,
    "clipped": ClippedStages,
}


def stages_of(settings: RunSettings, options: TrainOptions, state: TrainState, data: Data) -> Stages:
    """The phases of the training that the options ask for."""
    return TRAININGS[options.training](settings, options, state, data)

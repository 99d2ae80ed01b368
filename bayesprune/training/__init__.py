"""The one training loop: phases, one state, checkpoints, callbacks."""

from bayesprune.training.checkpoint import Checkpointer
from bayesprune.training.loop import train
from bayesprune.training.memory import Memory
from bayesprune.training.objectives import NegativeLogLikelihood, Objective
from bayesprune.training.phase import Phase, Start, adam, constant, cosine
from bayesprune.training.progress import Progress
from bayesprune.training.state import TrainState

__all__ = [
    "Checkpointer",
    "NegativeLogLikelihood",
    "Memory",
    "Objective",
    "Phase",
    "Progress",
    "Start",
    "TrainState",
    "adam",
    "constant",
    "cosine",
    "train",
]


def __dir__() -> list[str]:
    return sorted(__all__)

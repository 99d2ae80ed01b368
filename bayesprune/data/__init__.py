"""Data: sets by name, a user's own tensors and loaders, and the protocol by which training reads them."""

from bayesprune.data.build import from_tensors
from bayesprune.data.catalogue import DataInfo, describe, known, load
from bayesprune.data.fetch import Progress
from bayesprune.data.from_loaders import from_loaders
from bayesprune.data.inputs import InputSpec, Normalisations
from bayesprune.data.loaders import LoaderSplit
from bayesprune.data.normalisation import Normalisation
from bayesprune.data.places import cache_folder
from bayesprune.data.splits import Split, TensorSplit, last_batch, steps_per_epoch
from bayesprune.data.value import Data

__all__ = [
    "Data",
    "DataInfo",
    "InputSpec",
    "LoaderSplit",
    "Normalisation",
    "Normalisations",
    "Progress",
    "Split",
    "TensorSplit",
    "cache_folder",
    "describe",
    "from_loaders",
    "from_tensors",
    "known",
    "last_batch",
    "load",
    "steps_per_epoch",
]


def __dir__() -> list[str]:
    return sorted(__all__)

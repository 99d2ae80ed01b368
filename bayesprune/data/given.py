"""What a user hands over as data: a `Data` value or a name, or a message that says how to make one."""

from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bayesprune.data.catalogue import load
from bayesprune.data.value import Data
from bayesprune.errors import DataError

_TENSORS = "bayesprune.data.from_tensors(inputs, labels)"
_LOADERS = "bayesprune.data.from_loaders(train, validation, test, classes=...)"


def as_data(given: Any) -> Data:
    """Data as they are, or loaded by their name.

    Raises:
        DataError: it is something else; the message says which function makes data of it.
        UnknownNameError: there is no data set of this name.
    """
    if isinstance(given, Data):
        return given
    if isinstance(given, str):
        return load(given)
    raise DataError(f"data is a {type(given).__name__}: {_cure(given)}")


def _cure(given: Any) -> str:
    """How to make data of it."""
    parts = list(given.values()) if isinstance(given, dict) else given if isinstance(given, tuple | list) else [given]
    if parts and all(isinstance(part, Tensor | np.ndarray) for part in parts):
        return f"make it with {_TENSORS}"
    if any(isinstance(part, DataLoader) for part in parts):
        return f"make it with {_LOADERS}"
    if any(isinstance(part, Dataset) for part in parts):
        return f"put a torch.utils.data.DataLoader around it, and make it with {_LOADERS}"
    return f"give bayesprune.load_data(NAME), {_TENSORS} or {_LOADERS}"

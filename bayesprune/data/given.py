"""What a user hands over as data: a `Data` value, a name, tensors or loaders; or a message that says how to make it."""

from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bayesprune.batches import join
from bayesprune.data.build import from_tensors
from bayesprune.data.catalogue import load
from bayesprune.data.from_loaders import from_loaders
from bayesprune.data.loaders import pair_of
from bayesprune.data.value import Data
from bayesprune.errors import DataError, SettingError, a_kind
from bayesprune.tasks import Task

_TENSORS = "bayesprune.data.from_tensors(inputs, labels)"
_LOADERS = "bayesprune.data.from_loaders(train, validation, test)"
_THREE = 3


def as_data(given: Any, task: Task | str | None = None) -> Data:
    """Data as they are, loaded by their name, or made of tensors or loaders.

    Args:
        given: `Data`; a name; a pair (inputs, targets); a DataLoader, which is read once into memory and split; or
            three loaders (train, validation, test).
        task: what is to be learnt; None for that of the data, or what their targets suggest.

    Raises:
        DataError: it is something else; the message says which function makes data of it.
        SettingError: the data were made for another task.
        UnknownNameError: there is no data set of this name.
    """
    if isinstance(given, Data):
        name = task.name if isinstance(task, Task) else task
        if name is not None and name != given.task.name:
            raise SettingError(
                f"task={name!r}, and {given.name} was made for {given.task.name!r}: give task={name!r} where the data "
                "are made"
            )
        return given
    if isinstance(given, str):
        return load(given, task=task)
    if isinstance(given, DataLoader):
        return from_tensors(*_read(given), task=task, name="loader")
    if isinstance(given, tuple | list) and len(given) == _THREE and all(isinstance(one, DataLoader) for one in given):
        return from_loaders(*given, task=task)
    if (pair := raw_pair(given)) is not None:
        return from_tensors(*pair, task=task)
    raise DataError(f"data is {a_kind(given)}: {_cure(given)}")


def raw_pair(given: Any) -> tuple[Any, Any] | None:
    """Raw inputs and targets of a pair or of a loader, which is read once; None for anything else."""
    if isinstance(given, DataLoader):
        return _read(given)
    if isinstance(given, tuple | list) and len(given) == 2 and _is_inputs(given[0]) and _is_array(given[1]):
        return given[0], given[1]
    if isinstance(given, tuple | list) and len(given) == 2 and _are_tensors(given[0]) and _is_array(given[1]):
        return tuple(given[0]), given[1]
    return None


def _is_array(value: Any) -> bool:
    """Whether something is an array, a table or column of pandas, or a list of numbers or of lists."""
    if isinstance(value, list):
        return bool(value) and isinstance(value[0], bool | int | float | list | np.number)
    return isinstance(value, Tensor | np.ndarray) or (hasattr(value, "to_numpy") and hasattr(value, "__array__"))


def _are_tensors(value: Any) -> bool:
    """Whether something is a list of tensors or arrays: several inputs."""
    return isinstance(value, list) and bool(value) and all(isinstance(part, Tensor | np.ndarray) for part in value)


def _is_inputs(value: Any) -> bool:
    """Whether something is an array, or a tuple or dict of arrays."""
    parts = list(value.values()) if isinstance(value, dict) else list(value) if isinstance(value, tuple) else [value]
    return bool(parts) and all(_is_array(part) for part in parts)


def _read(loader: "DataLoader[Any]") -> tuple[Any, Any]:
    """All examples of one pass."""
    pairs = [pair_of(batch, f"batch {number} of the loader") for number, batch in enumerate(loader)]
    if not pairs:
        raise DataError("the loader has no examples, or fewer than one batch and drop_last=True")
    return join([inputs for inputs, _ in pairs]), join([targets for _, targets in pairs])


def _cure(given: Any) -> str:
    """How to make data of it."""
    parts = list(given.values()) if isinstance(given, dict) else given if isinstance(given, tuple | list) else [given]
    if parts and all(isinstance(part, Tensor | np.ndarray) for part in parts):
        return f"make it with {_TENSORS}"
    if any(isinstance(part, DataLoader) for part in parts):
        return f"give one loader, or three (train, validation, test), or make it with {_LOADERS}"
    if any(isinstance(part, Dataset) for part in parts):
        return f"put a torch.utils.data.DataLoader around it, and make it with {_LOADERS}"
    return f"give bayesprune.load_data(NAME), {_TENSORS} or {_LOADERS}"

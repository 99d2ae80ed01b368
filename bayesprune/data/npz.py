"""Arrays in an npz file: x and y, or x_train, y_train and the same for test and validation."""

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bayesprune.data.examples import Examples, RawData, to_examples
from bayesprune.errors import DataError

_SPLITS = ("train", "validation", "test")
_WANTED = "it needs arrays x and y, or x_train, y_train, x_test, y_test (and x_validation, y_validation if you like)"
Arrays = dict[str, npt.NDArray[np.generic]]


def read_npz(path: Path, name: str | None = None) -> RawData:
    """Read a data set from an npz file; nothing in the file is ever executed.

    Inputs are pictures [N, H, W], [N, C, H, W] or [N, H, W, C] with C of 1 or 3, features [N, F], or tokens [N, ...]
    (whole numbers other than uint8). uint8 is scaled to [0, 1] later. Pictures become [N, C, H, W]. Targets are those
    of any task.

    Args:
        path: the file.
        name: what tables call the data; None for "npz:PATH".

    Raises:
        DataError: no such file, not an npz file, truncated, with pickled objects, or without the arrays it
            needs.
    """
    if not os.path.isfile(path):
        raise DataError(f"{path} is {'not a file' if os.path.exists(path) else 'not there'}; {_WANTED}")
    names, arrays = _read_arrays(path)
    label = f"npz:{path}" if name is None else name
    if {"x", "y"} <= arrays.keys():
        return RawData(label, _split(arrays, "x", "y", path))
    if not {"x_train", "y_train"} <= arrays.keys():
        raise DataError(f"{path} holds {', '.join(names[:9]) or 'no arrays'}; {_WANTED}")
    splits = {split: _split_or_none(arrays, split, path) for split in _SPLITS}
    return RawData(label, _split(arrays, "x_train", "y_train", path), splits["validation"], splits["test"])


def _read_arrays(path: Path) -> tuple[list[str], Arrays]:
    """The names of all arrays, and those arrays whose names matter."""
    try:
        # Opened here and not by numpy, which leaves a damaged file open.
        with path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            if not isinstance(content, np.lib.npyio.NpzFile):
                raise DataError(f"{path} holds a single array and is not an npz file; {_WANTED}")
            wanted = [key for key in content.files if _matters(key)]
            return sorted(content.files), {key: _read_array(content, key, path) for key in wanted}
    except DataError:
        raise
    except Exception as error:  # a damaged file makes numpy raise almost anything
        raise DataError(
            f"{path} is not an npz file, or a truncated one ({error}); save it again with numpy.savez"
        ) from error


def _matters(key: str) -> bool:
    start, _, split = key.partition("_")
    return start in ("x", "y") and split in ("", *_SPLITS)


def _read_array(content: "np.lib.npyio.NpzFile", key: str, path: Path) -> npt.NDArray[np.generic]:
    try:
        return np.asarray(content[key])
    except Exception as error:  # a damaged file makes numpy and zipfile raise almost anything
        reason = f"{type(error).__name__}: {error}"
        raise DataError(
            f"array {key} of {path} cannot be read ({reason}); save the file again with numpy.savez"
        ) from error


def _split_or_none(arrays: Arrays, split: str, path: Path) -> Examples | None:
    given = [key for key in (f"x_{split}", f"y_{split}") if key in arrays]
    if len(given) == 1:
        raise DataError(f"{path} holds {given[0]} without its counterpart; {_WANTED}")
    return _split(arrays, f"x_{split}", f"y_{split}", path) if given else None


def _split(arrays: Arrays, inputs: str, labels: str, path: Path) -> Examples:
    return to_examples(_channels_first(arrays[inputs], inputs, path), arrays[labels], f"{inputs} of {path}")


def _channels_first(array: npt.NDArray[np.generic], key: str, path: Path) -> npt.NDArray[np.generic]:
    """Pictures as [N, C, H, W]; where both ends could be channels, the second dimension is taken for them."""
    if array.dtype.kind in "iu" and array.dtype != np.uint8:
        return array  # tokens
    if array.ndim == 3:
        return array[:, None]
    if array.ndim == 4 and array.shape[1] not in (1, 3) and array.shape[3] in (1, 3):
        return array.transpose(0, 3, 1, 2)
    if array.ndim not in (2, 4):
        raise DataError(
            f"{key} of {path} has shape {list(array.shape)}; it must be [N, H, W], [N, C, H, W], [N, H, W, C] or [N, F]"
        )
    return array

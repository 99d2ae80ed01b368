"""Examples as they were read, not yet normalised, and the checks that every source uses."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bayesprune.errors import DataError

_TYPE_NAMES: Mapping[str, str] = {
    "O": "objects",
    "U": "text",
    "S": "bytes",
    "c": "complex numbers",
    "V": "records",
}


@dataclass(frozen=True, eq=False)
class Examples:
    """Raw examples of one split.

    Attributes:
        inputs: [N, ...], uint8 (pixels 0 to 255), float32, or float64 where float32 could lose digits.
        labels: [N] int64.
    """

    inputs: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    def take(self, indices: npt.NDArray[np.int64]) -> "Examples":
        """The examples at these positions, in that order."""
        chosen = torch.from_numpy(indices)
        return Examples(self.inputs.index_select(0, chosen), self.labels.index_select(0, chosen))


@dataclass(frozen=True, eq=False)
class RawData:
    """What a source reads; splits it does not come with are None and are split off later.

    Attributes:
        name: what the data set calls itself in tables.
        classes: number of classes, or None to take it from the training labels.
    """

    name: str
    train: Examples
    validation: Examples | None = None
    test: Examples | None = None
    classes: int | None = None


def to_examples(
    inputs: Tensor | npt.NDArray[np.generic], labels: Tensor | npt.NDArray[np.generic], where: str
) -> Examples:
    """Check inputs and labels and bring them to uint8, float32 or float64 [N, ...] and int64 [N].

    Args:
        inputs: [N, ...] numbers; uint8 and float32 stay as they are, shorter ones become float32, all others float64.
        labels: [N] or [N, 1] integers.
        where: what is read, for messages, e.g. "the test split".

    Raises:
        DataError: no examples, unequal lengths, no numbers, labels that are not integers, values that are not
            finite or beyond float32's range.
    """
    array = _as_array(inputs, f"the inputs of {where}")
    if array.ndim < 2 or 0 in array.shape:
        raise DataError(
            f"the inputs of {where} have shape {list(array.shape)}: at least one example with one feature is needed"
        )
    pixels = _as_inputs(array)
    targets = _as_labels(_as_array(labels, f"the labels of {where}"), where)
    if len(targets) != len(pixels):
        raise DataError(
            f"{where} has {len(pixels):,} inputs but {len(targets):,} labels; there must be one label an input"
        )
    _check_finite(pixels, where)
    return Examples(pixels, targets)


def check_labels(examples: Examples, classes: int | None, where: str) -> None:
    """Refuse labels outside 0 .. classes - 1; without a number of classes, negative ones.

    Raises:
        DataError: names the first label out of range, its position, and the range.
    """
    labels = examples.labels
    wrong = labels < 0 if classes is None else (labels < 0) | (labels >= classes)
    if bool(wrong.any()):
        first = int(wrong.to(torch.uint8).argmax())
        allowed = "must not be negative" if classes is None else f"must lie between 0 and {classes - 1}"
        raise DataError(
            f"label {int(labels[first])} of example {first} of {where} is out of range: labels {allowed} "
            f"({int(wrong.sum()):,} of {len(labels):,} are wrong)"
        )


def check_alike(examples: Examples, model: Examples, where: str) -> None:
    """Refuse a split whose inputs differ in shape or scale from those of the training split.

    Raises:
        DataError: names both shapes or both types.
    """
    if examples.inputs.shape[1:] != model.inputs.shape[1:]:
        raise DataError(
            f"inputs of {where} have shape {list(examples.inputs.shape[1:])}, those of the training split "
            f"{list(model.inputs.shape[1:])}; all must be of one shape"
        )
    if torch.uint8 in (kinds := {examples.inputs.dtype, model.inputs.dtype}) and len(kinds) > 1:
        raise DataError(
            f"inputs of {where} are {examples.inputs.dtype}, those of the training split "
            f"{model.inputs.dtype}: uint8 is scaled to [0, 1] and other types are not; give one type"
        )


def _as_array(values: Tensor | npt.NDArray[np.generic], what: str) -> npt.NDArray[np.generic]:
    """A numpy array on the CPU, of a type that is a number."""
    try:
        if isinstance(values, Tensor):
            values = values.detach().cpu().to_dense()
            values = (values.float() if values.dtype == torch.bfloat16 else values).numpy()
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{what} are no array of numbers ({' '.join(str(error).split())}): give a tensor or a numpy array"
        ) from error
    if array.dtype.kind not in "buif":
        raise DataError(f"{what} hold {_TYPE_NAMES.get(array.dtype.kind, str(array.dtype))}; numbers are needed")
    return array


def _as_inputs(array: npt.NDArray[np.generic]) -> Tensor:
    """A copy: uint8 as it is, what float32 holds exactly as float32, everything else as float64."""
    narrow = array.dtype in (np.float16, np.float32)
    wanted = np.uint8 if array.dtype == np.uint8 else np.float32 if narrow else np.float64
    with np.errstate(over="ignore"):  # what overflows becomes infinite and is reported as such
        return torch.from_numpy(np.array(array, dtype=wanted, order="C"))


def _as_labels(array: npt.NDArray[np.generic], where: str) -> Tensor:
    """Labels as int64 [N]; a column [N, 1] is taken, one-hot rows are not."""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise DataError(
            f"the labels of {where} have shape {list(array.shape)}; one integer an example is needed "
            "(for one-hot rows: labels.argmax(1))"
        )
    if array.dtype.kind == "f":
        raise DataError(f"the labels of {where} are {array.dtype}, not integers; give labels.astype(int)")
    if array.dtype.kind == "u" and array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise DataError(f"the largest label of {where} is {int(array.max())}; number the classes 0, 1, 2, ...")
    return torch.from_numpy(array.astype(np.int64))


def _check_finite(inputs: Tensor, where: str) -> None:
    """Count and locate NaN, infinite values, and those that float32 cannot hold."""
    if inputs.dtype == torch.uint8:
        return
    largest = torch.finfo(torch.float32).max
    if float(inputs.amin()) >= -largest and float(inputs.amax()) <= largest:  # false where there is a NaN
        return
    finite = torch.isfinite(inputs)
    wrong = (~finite if not bool(finite.all()) else inputs.abs() > largest).nonzero()
    what = "are not finite" if not bool(finite.all()) else f"are larger than {largest:.2g}, the most that float32 holds"
    first, *position = wrong[0].tolist()
    raise DataError(
        f"{len(wrong):,} values of {where} {what}, in {len(wrong[:, 0].unique()):,} examples; "
        f"the first is in example {first} at {position}: remove or replace such examples"
    )

"""Examples as they were read, not yet normalised, and the checks that every source uses."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bayesprune.batches import Batch, each, named_parts
from bayesprune.errors import DataError
from bayesprune.tasks.task import Task

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
        inputs: [N, ...], or a tuple or dict of such: uint8 (pixels 0 to 255), int64 (tokens, indices), float32, or
            float64 where float32 could lose digits.
        labels: targets [N, ...], int64 or float64.
        weights: of the examples [N] or of their targets [N, ...], float32; None where all count alike.
    """

    inputs: Batch
    labels: Tensor
    weights: Tensor | None = None

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    def take(self, indices: npt.NDArray[np.int64]) -> "Examples":
        """The examples at these positions, in that order."""
        chosen = torch.from_numpy(indices)

        def rows(tensor: Tensor) -> Tensor:
            return tensor.index_select(0, chosen)

        weights = None if self.weights is None else rows(self.weights)
        return Examples(each(rows, self.inputs), rows(self.labels), weights)


@dataclass(frozen=True, eq=False)
class RawData:
    """What a source reads; splits it does not come with are None and are split off later.

    Attributes:
        name: what the data set calls itself in tables.
        classes: number of classes, or None to take it from the training labels.
        task: what is to be learnt: a task, its name, or None for the one that the targets suggest.
        features: names of the input's features, where it has them.
        class_names: of the classes in their order, where they have any.
    """

    name: str
    train: Examples
    validation: Examples | None = None
    test: Examples | None = None
    classes: int | None = None
    task: Task | str | None = None
    features: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()


def to_examples(inputs: Any, labels: Any, where: str, weights: Any = None) -> Examples:
    """Check inputs and targets and bring them to tensors.

    Args:
        inputs: [N, ...] numbers, or a tuple or dict of such; uint8, integers and float32 stay as they are (integers as
            int64), shorter floats become float32, all others float64.
        labels: [N, ...] numbers.
        where: what is read, for messages, e.g. "the test split".
        weights: [N] or [N, ...] numbers >= 0.

    Raises:
        DataError: no examples, unequal lengths, no numbers, values that are not finite or beyond float32's range.
    """
    _, inputs = named_columns(inputs)
    parts = {
        name: _checked_inputs(part, f"the inputs{name and f' {name!r}'} of {where}", where)
        for name, part in _named(inputs).items()
    }
    targets = _as_targets(_as_array(labels, f"the labels of {where}"), where)
    for name, part in parts.items():
        if len(targets) != len(part):
            raise DataError(
                f"{where} has {len(part):,} inputs{name and f' {name!r}'} but {len(targets):,} labels; there must be "
                "one label an input"
            )
    made: Batch = parts[""] if "" in parts else parts if isinstance(inputs, Mapping) else tuple(parts.values())
    return Examples(made, targets, None if weights is None else _as_weights(weights, targets, where))


def named_columns(inputs: Any) -> tuple[tuple[str, ...], Any]:
    """Names of the columns of a table of pandas, and its content as floats; anything else as it is, without names."""
    if not (hasattr(inputs, "columns") and hasattr(inputs, "to_numpy")):
        return (), inputs
    array = inputs.to_numpy()
    whole = array.dtype.kind in "biu"
    return tuple(map(str, inputs.columns)), array.astype(np.float64) if whole else array


def _named(inputs: Any) -> dict[str, Any]:
    """The parts of the inputs by name; one alone has the name ""."""
    if isinstance(inputs, Mapping):
        named = {str(name): part for name, part in inputs.items()}
    elif isinstance(inputs, tuple):
        named = {str(place): part for place, part in enumerate(inputs)}
    else:
        return {"": inputs}
    if not named or "" in named:
        raise DataError("the inputs are empty, or one of them has no name: give tensors, each with a name")
    return named


def _checked_inputs(part: Any, what: str, where: str) -> Tensor:
    """One tensor of the inputs."""
    array = _as_array(part, what)
    if array.ndim < 1 or 0 in array.shape or (array.ndim < 2 and array.dtype.kind not in "iu"):
        raise DataError(f"{what} have shape {list(array.shape)}: at least one example with one feature is needed")
    pixels = _as_inputs(array)
    _check_finite(pixels, where)
    return pixels


def check_alike(examples: Examples, model: Examples, where: str) -> None:
    """Refuse a split whose inputs differ in shape or scale from those of the training split.

    Raises:
        DataError: names both shapes or both types.
    """
    own, models = named_parts(examples.inputs), named_parts(model.inputs)
    if own.keys() != models.keys():
        raise DataError(
            f"inputs of {where} are {_names(own)}, those of the training split {_names(models)}; all must be of one "
            "form"
        )
    for name, other in models.items():
        _check_one_alike(own[name], other, f"inputs{name and f' {name!r}'} of {where}")


def _names(parts: Mapping[str, Tensor]) -> str:
    return "one tensor" if "" in parts else ", ".join(map(repr, parts))


def _check_one_alike(part: Tensor, model: Tensor, what: str) -> None:
    if part.shape[1:] != model.shape[1:]:
        raise DataError(
            f"{what} have shape {list(part.shape[1:])}, those of the training split {list(model.shape[1:])}; all must "
            "be of one shape"
        )
    kinds = {part.dtype, model.dtype}
    if len(kinds) > 1 and kinds & {torch.uint8, torch.int64}:
        raise DataError(
            f"{what} are {part.dtype}, those of the training split {model.dtype}: uint8 is scaled to [0, 1], integers "
            "are taken as they are, and other types are normalised; give one type"
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
        cure = " (for classes: numpy.unique(labels, return_inverse=True)[1])" if what.startswith("the labels") else ""
        held = _TYPE_NAMES.get(array.dtype.kind, str(array.dtype))
        raise DataError(f"{what} hold {held}; numbers are needed{cure}")
    return array


def _as_inputs(array: npt.NDArray[np.generic]) -> Tensor:
    """A copy: uint8 as it is, integers as int64, what float32 holds exactly as float32, everything else as float64."""
    kinds = {"i": np.int64, "u": np.int64, "b": np.float32}
    wanted: Any = kinds.get(array.dtype.kind, np.float64)
    if array.dtype in (np.uint8, np.float16, np.float32):
        wanted = np.uint8 if array.dtype == np.uint8 else np.float32
    with np.errstate(over="ignore"):  # what overflows becomes infinite and is reported as such
        return torch.from_numpy(np.array(array, dtype=wanted, order="C"))


def _as_targets(array: npt.NDArray[np.generic], where: str) -> Tensor:
    """Targets of any shape as int64 or float64; a number too large for int64 is refused."""
    if array.ndim < 1:
        raise DataError(f"the labels of {where} are a single number; one an example is needed")
    if array.dtype.kind == "u" and array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise DataError(f"the largest label of {where} is {int(array.max())}; number the classes 0, 1, 2, ...")
    wanted = np.float64 if array.dtype.kind == "f" else np.int64
    return torch.from_numpy(np.array(array, dtype=wanted, order="C"))


def _as_weights(weights: Any, targets: Tensor, where: str) -> Tensor:
    """Weights with mean 1, so that the examples count as many as they are.

    Raises:
        DataError: their shape does not fit, or they are not finite, negative or all 0.
    """
    array = _as_array(weights, f"the weights of {where}").astype(np.float64)
    if array.shape not in (targets.shape[:1], tuple(targets.shape)):
        raise DataError(
            f"the weights of {where} have shape {list(array.shape)}: one an example [{len(targets)}] is needed, or one "
            f"a target {list(targets.shape)}"
        )
    if not (np.isfinite(array).all() and (array >= 0).all() and array.any()):
        raise DataError(f"the weights of {where} must be finite and >= 0, and not all 0")
    return torch.from_numpy(array.astype(np.float32))


def _check_finite(inputs: Tensor, where: str) -> None:
    """Count and locate NaN, infinite values, and those that float32 cannot hold."""
    if not inputs.is_floating_point():
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

"""What all measures share: tensors on the CPU in a wide type, and a mean that is never NaN for lack of values."""

from torch import Tensor

from bayesprune.errors import DataError


def to_float64(values: Tensor) -> Tensor:
    """The values without gradient, in float64 on the CPU; any shape."""
    # To the CPU first: not every accelerator has float64.
    return values.detach().cpu().double()


def to_int64(values: Tensor) -> Tensor:
    """The values without gradient, in int64 on the CPU; any shape."""
    return values.detach().cpu().long()


def mean(values: Tensor) -> float:
    """Mean over all entries, in the unit of the values.

    Args:
        values: any shape and type; computed in float64.

    Raises:
        DataError: there are no values.
    """
    if not values.numel():
        raise DataError(f"values have shape {list(values.shape)}: a measure needs at least 1 example")
    return float(to_float64(values).mean())

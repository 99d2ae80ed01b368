"""Normalisation: constants of the training split, kept with the data."""

from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from bayesprune.errors import DataError


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation per channel, or one of each for all.

    Channels are dimension 1 of [N, C, ...]; a single pair serves any shape. A network that was trained on data takes
    inputs as `data.normalisation.apply(raw)` gives them.

    Attributes:
        mean: what is subtracted.
        std: what is divided by afterwards.
        dtype: of the raw inputs that it was made for, such as "uint8"; "" where that is not known.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    dtype: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not self.mean:
            raise DataError(
                f"normalisation has {len(self.mean)} means and {len(self.std)} deviations; give one of each a channel"
            )
        if not all(isfinite(mean) for mean in self.mean):
            raise DataError(f"normalisation by the means {list(self.mean)}: each must be finite")
        if not all(0 < deviation < float("inf") for deviation in self.std):
            raise DataError(f"normalisation by the deviations {list(self.std)}: each must be positive and finite")

    def apply(self, inputs: Tensor) -> Tensor:
        """Compute (inputs - mean) / std as a new float32 tensor [N, C, ...] from raw inputs of any real type.

        Pixels (uint8) are brought to [0, 1] first. All other types are subtracted in float64: a large offset, such as
        that of a time stamp, would otherwise take all digits of float32. Whole numbers that nothing is done to (mean 0,
        deviation 1) are tokens or indices, and stay whole: int64.
        """
        if inputs.dtype == torch.uint8:
            return self._scaled(to_unit_scale(inputs))
        if self == IDENTITY and not inputs.is_floating_point() and inputs.dtype != torch.bool:
            return inputs.to(torch.int64)
        return torch.cat([self.in_float64(part).to(torch.float32) for part in inputs.split(_ROWS)])

    def in_float64(self, inputs: Tensor) -> Tensor:
        """Compute (inputs - mean) / std as a new float64 tensor [N, C, ...]; pixels are taken as they are."""
        return self._scaled(inputs.double())

    def undo(self, inputs: Tensor) -> Tensor:
        """Compute inputs * std + mean as a new tensor [N, C, ...] of the inputs' type: what `apply` was given."""
        if self == IDENTITY:
            return inputs.clone()
        wide = inputs.double()
        return (wide * self._shaped(self.std, wide)).add_(self._shaped(self.mean, wide)).to(inputs.dtype)

    def to_json(self) -> dict[str, Any]:
        """As in run.json."""
        return {"mean": list(self.mean), "std": list(self.std), "dtype": self.dtype}

    @classmethod
    def from_json(cls, document: Any) -> "Normalisation | None":
        """What `to_json` wrote; None for anything else."""
        try:
            mean, std = (tuple(map(float, document[name])) for name in ("mean", "std"))
            return cls(mean, std, str(document.get("dtype", "")))
        except (LookupError, TypeError, ValueError, AttributeError):
            return None

    def _scaled(self, inputs: Tensor) -> Tensor:
        return (inputs - self._shaped(self.mean, inputs)).div_(self._shaped(self.std, inputs))

    def _shaped(self, values: tuple[float, ...], inputs: Tensor) -> Tensor:
        """The values where they broadcast over dimension 1."""
        if len(values) > 1 and (inputs.ndim < 2 or inputs.shape[1] != len(values)):
            raise DataError(
                f"normalisation of {len(values)} channels does not fit inputs of shape {list(inputs.shape)}"
            )
        shape = [1] * inputs.ndim
        shape[min(1, inputs.ndim - 1)] = len(values)
        return torch.tensor(values, dtype=inputs.dtype, device=inputs.device).reshape(shape)


_ROWS = 4096
"""Examples that are widened to float64 at a time."""

IDENTITY = Normalisation((0.0,), (1.0,))


def to_unit_scale(inputs: Tensor) -> Tensor:
    """uint8 pixels as float32 in [0, 1]; inputs of other types as they are."""
    return inputs.to(torch.float32).div_(255) if inputs.dtype == torch.uint8 else inputs


def fit_normalisation(inputs: Tensor) -> Normalisation:
    """Mean and standard deviation of the training inputs.

    Pictures [N, C, H, W] get a pair a channel. Flat features [N, F] get a pair a feature, but one pair in
    common when all lie in [0, 1] and so share a scale already (flattened pixels). Other shapes get one pair.
    What never varies, or by no more than its type rounds, is only shifted. Pixels are counted, not summed in floating
    point, so that the constants are the same on every machine.
    """
    if inputs.ndim == 4 or (inputs.ndim == 2 and not _shares_scale(inputs)):
        channels = inputs.transpose(0, 1).flatten(1)
    else:
        channels = inputs.reshape(1, -1)
    moments = _counted(channels) if inputs.dtype == torch.uint8 else _summed(channels)
    mean, std = moments
    std = torch.where(std > _rounding(channels), std, torch.ones_like(std))
    return Normalisation(tuple(mean.tolist()), tuple(std.tolist()), _name(inputs.dtype))


def _shares_scale(inputs: Tensor) -> bool:
    return inputs.dtype == torch.uint8 or (float(inputs.min()) >= 0 and float(inputs.max()) <= 1)


def _counted(channels: Tensor) -> tuple[Tensor, Tensor]:
    """Moments of uint8 [C, M] on the scale of [0, 1], from exact histograms."""
    values = torch.arange(256, dtype=torch.float64) / 255
    shares = torch.stack([torch.bincount(channel, minlength=256) for channel in channels]).double() / channels.shape[1]
    mean = (shares * values).sum(1)
    return mean, (shares * (values - mean[:, None]).square()).sum(1).sqrt()


def _summed(channels: Tensor) -> tuple[Tensor, Tensor]:
    """Moments of float32 or float64 [C, M] in float64.

    The first value is subtracted before any sum, so that a constant has exactly no deviation, and deviations are
    divided by their largest before they are squared, so that small ones do not vanish.
    """
    first = channels[:, :1].double()
    wide = channels.double() - first
    offset = wide.mean(1, keepdim=True)
    wide -= offset
    largest = wide.abs().amax(1, keepdim=True)
    wide /= torch.where(largest > 0, largest, torch.ones_like(largest))
    return (first + offset).flatten(), wide.square_().mean(1).sqrt_() * largest.flatten()


def _rounding(channels: Tensor) -> Tensor:
    """For each of [C, M] the distance of the largest value to the next one of its type; 0 for integers."""
    if not channels.is_floating_point():
        return torch.zeros(len(channels), dtype=torch.float64)
    return channels.abs().amax(1).double() * torch.finfo(channels.dtype).eps


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")

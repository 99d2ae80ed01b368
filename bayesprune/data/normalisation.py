"""Normalisation: constants of the training split, kept with the data."""

from dataclasses import dataclass

import torch
from torch import Tensor

from bayesprune.data.examples import Examples
from bayesprune.errors import DataError


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation per channel, or one of each for all.

    Channels are dimension 1 of [N, C, ...]; a single pair serves any shape.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not self.mean:
            raise DataError(
                f"normalisation has {len(self.mean)} means and {len(self.std)} deviations; give one of each a channel"
            )
        if not all(0 < deviation < float("inf") for deviation in self.std):
            raise DataError(f"normalisation by the deviations {list(self.std)}: each must be positive and finite")

    def apply(self, inputs: Tensor) -> Tensor:
        """Compute (inputs - mean) / std as a new tensor [N, C, ...]."""
        return (inputs - self._shaped(self.mean, inputs)).div_(self._shaped(self.std, inputs))

    def undo(self, inputs: Tensor) -> Tensor:
        """Compute inputs * std + mean as a new tensor [N, C, ...]: what `apply` was given."""
        return (inputs * self._shaped(self.std, inputs)).add_(self._shaped(self.mean, inputs))

    def _shaped(self, values: tuple[float, ...], inputs: Tensor) -> Tensor:
        """The values where they broadcast over dimension 1."""
        if len(values) > 1 and (inputs.ndim < 2 or inputs.shape[1] != len(values)):
            raise DataError(
                f"normalisation of {len(values)} channels does not fit inputs of shape {list(inputs.shape)}"
            )
        shape = [1] * inputs.ndim
        shape[min(1, inputs.ndim - 1)] = len(values)
        return torch.tensor(values, dtype=inputs.dtype, device=inputs.device).reshape(shape)


IDENTITY = Normalisation((0.0,), (1.0,))


def to_unit_scale(inputs: Tensor) -> Tensor:
    """uint8 pixels as float32 in [0, 1]; float32 inputs as they are."""
    return inputs.to(torch.float32).div_(255) if inputs.dtype == torch.uint8 else inputs


def fit_normalisation(examples: Examples) -> Normalisation:
    """Mean and standard deviation of the training split.

    Pictures [N, C, H, W] get a pair a channel. Flat features [N, F] get a pair a feature, but one pair in
    common when all lie in [0, 1] and so share a scale already (flattened pixels). Other shapes get one pair.
    What never varies is only shifted. Pixels are counted, not summed in floating point, so that the constants
    are the same on every machine.
    """
    inputs = examples.inputs
    if inputs.ndim == 4 or (inputs.ndim == 2 and not _shares_scale(inputs)):
        channels = inputs.transpose(0, 1).flatten(1)
    else:
        channels = inputs.reshape(1, -1)
    moments = _counted(channels) if inputs.dtype == torch.uint8 else _summed(channels)
    mean, std = moments
    std = torch.where(std > 0, std, torch.ones_like(std))
    return Normalisation(tuple(mean.tolist()), tuple(std.tolist()))


def _shares_scale(inputs: Tensor) -> bool:
    return inputs.dtype == torch.uint8 or (float(inputs.min()) >= 0 and float(inputs.max()) <= 1)


def _counted(channels: Tensor) -> tuple[Tensor, Tensor]:
    """Moments of uint8 [C, M] on the scale of [0, 1], from exact histograms."""
    values = torch.arange(256, dtype=torch.float64) / 255
    shares = torch.stack([torch.bincount(channel, minlength=256) for channel in channels]).double() / channels.shape[1]
    mean = (shares * values).sum(1)
    return mean, (shares * (values - mean[:, None]).square()).sum(1).sqrt()


def _summed(channels: Tensor) -> tuple[Tensor, Tensor]:
    """Moments of float32 [C, M] in float64."""
    wide = channels.double()
    return wide.mean(1), wide.std(1, correction=0)

"""Augmentation of training pictures: drawn by the seed of an epoch's order, made where the batch lies."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from bayesprune.data.normalisation import Normalisation
from bayesprune.data.splits import TensorSplit
from bayesprune.data.value import Data
from bayesprune.errors import SettingError

CROP_FLIP = "crop-flip"
AUGMENTATIONS = (CROP_FLIP,)
"""The names of augmentations."""

PADDING = 4
"""Places by which a picture is widened on every side before it is cropped."""

_STREAM = 1_000_003
"""More than there are batches in an epoch: no two batches of a run draw the same."""


def augmented(data: Data, name: str | None) -> Data:
    """The data with training pictures changed at random; validation and test pictures stay as they are.

    "crop-flip" moves a picture by up to 4 places in each direction, black where nothing is left, and turns half of them
    left to right: what is usual on CIFAR-10 (He et al., arXiv 1512.03385, section 4.2). Only a shuffled epoch is
    changed. In the order in which they lie, as when batch normalisation is estimated or channels are scored, pictures
    are as they were.

    Args:
        data: at the place of the run.
        name: of the augmentation; None for none.

    Raises:
        SettingError: the inputs are no pictures in memory, or the targets have places of their own.
    """
    if name is None:
        return data
    train = data.train
    if not isinstance(train, TensorSplit):
        raise SettingError(
            f"augment={name!r} changes pictures in memory, and {data.name} comes from a loader: augment in the "
            "loader's transform, and leave augment out"
        )
    if not _are_pictures(train.inputs):
        raise SettingError(
            f"augment={name!r} needs pictures [N, C, H, W], and an input of {data.name} is {data.input_shape}: leave "
            "augment out"
        )
    if train.labels.dim() > 2:
        raise SettingError(
            f"augment={name!r} moves pictures and not their targets, which have places in {data.name}: leave augment "
            "out"
        )
    assert isinstance(data.normalisation, Normalisation)  # of the one input tensor
    black = data.normalisation.apply(torch.zeros(1, train.inputs.shape[1], 1, 1))
    return replace(data, train=AugmentedTensors(train, black.to(train.inputs)))


def _are_pictures(inputs: Any) -> bool:
    return isinstance(inputs, Tensor) and inputs.dim() == 4 and inputs.is_floating_point()


class AugmentedTensors(TensorSplit):
    """Pictures in memory whose shuffled epochs are cropped and flipped.

    Args:
        split: of pictures [N, C, H, W].
        black: [1, C, 1, 1], what lies beyond a picture's edge, normalised.
    """

    def __init__(self, split: TensorSplit, black: Tensor) -> None:
        self.inputs, self.labels, self.weights = split.inputs, split.labels, split.weights
        self._split, self._black = split, black

    def mapped(self, function: Callable[[Tensor], Tensor]) -> TensorSplit:
        """See `TensorSplit.mapped`."""
        return AugmentedTensors(self._split.mapped(function), function(self._black))

    def batches(self, batch_size: int, *, seed: int | None = None, start: int = 0) -> Iterator[tuple[Any, Any]]:
        """One epoch, see `Split.batches`; with a seed its pictures are changed, each batch by seed and number alone."""
        given = self._split.batches(batch_size, seed=seed, start=start)
        return given if seed is None else self._changed(given, seed, start)

    def _changed(self, given: Iterator[tuple[Any, Any]], seed: int, start: int) -> Iterator[tuple[Any, Any]]:
        for number, (inputs, targets) in enumerate(given, start):
            generator = torch.Generator().manual_seed((seed * _STREAM + number) % 2**32)
            offsets = torch.randint(2 * PADDING + 1, (2, len(inputs)), generator=generator)
            flips = torch.randint(2, (len(inputs),), generator=generator).bool()
            moved = offsets.to(inputs.device, non_blocking=True), flips.to(inputs.device, non_blocking=True)
            yield crop_flip(inputs, *moved, self._black.to(inputs)), targets


def crop_flip(pictures: Tensor, offsets: Tensor, flips: Tensor, black: Tensor) -> Tensor:
    """Crops [B, C, H, W] of pictures of that shape which are widened by `PADDING` black places on every side.

    Args:
        pictures: normalised.
        offsets: [2, B], of the first row and the first column of each crop, from 0 to 2 `PADDING`.
        flips: bool [B], which crops are turned left to right.
        black: [1, C, 1, 1].
    """
    count, channels, height, width = pictures.shape
    wide = black.expand(count, channels, height + 2 * PADDING, width + 2 * PADDING).clone()
    wide[:, :, PADDING : PADDING + height, PADDING : PADDING + width] = pictures
    rows = offsets[0, :, None] + torch.arange(height, device=pictures.device)
    columns = torch.arange(width, device=pictures.device).expand(count, width)
    columns = offsets[1, :, None] + torch.where(flips[:, None], columns.flip(1), columns)
    examples = torch.arange(count, device=pictures.device)[:, None, None]
    cropped = wide[examples, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    return cropped if pictures.device.type == "cuda" else cropped.contiguous()  # a GPU likes channels last

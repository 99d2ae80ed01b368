"""Augmentation: against cropping and flipping by hand, keyed to the order's seed, and only where it is asked for."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import bayesprune as bp
from bayesprune.data import Data, TensorSplit, from_loaders, from_tensors
from bayesprune.data.augment import PADDING, AugmentedTensors, augmented, crop_flip
from bayesprune.errors import SettingError
from bayesprune.pruners.methods import Dense
from bayesprune.run.running import run
from bayesprune.run.settings import RunSettings
from bayesprune.training import Checkpointer


def pictures(count: int, channels: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randint(256, (count, channels, 8, 7), generator=generator, dtype=torch.uint8)
    return inputs, torch.arange(count) % 3


@pytest.fixture
def data() -> Data:
    return from_tensors(*pictures(40), validation=pictures(10, seed=1), test=pictures(10, seed=2))


def raw(data: Data, inputs: Tensor) -> Tensor:
    """Normalised pixels as they were, 0 to 255."""
    assert isinstance(data.normalisation, bp.data.Normalisation)
    return (data.normalisation.undo(inputs) * 255).round()


def by_hand(picture: Any, top: int, left: int, flip: bool) -> Any:
    """A picture [C, H, W] in a black frame, a window of it, mirrored."""
    wide = np.pad(picture, ((0, 0), (PADDING, PADDING), (PADDING, PADDING)))
    window = wide[:, top : top + picture.shape[1], left : left + picture.shape[2]]
    return window[:, :, ::-1] if flip else window


@pytest.mark.parametrize(("top", "left"), [(0, 0), (4, 4), (8, 8), (0, 8), (3, 7)])
@pytest.mark.parametrize("flip", [False, True])
def test_a_crop_is_a_window_of_the_picture_in_a_black_frame(data: Data, top: int, left: int, flip: bool) -> None:
    split = augmented(data, "crop-flip").train
    assert isinstance(split, AugmentedTensors) and isinstance(split.inputs, Tensor)
    one = split.inputs[:1]
    made = crop_flip(one, torch.tensor([[top], [left]]), torch.tensor([flip]), split._black)
    assert np.array_equal(raw(data, made)[0].numpy(), by_hand(raw(data, one)[0].numpy(), top, left, flip))


def test_a_shuffled_epoch_has_the_same_pictures_in_the_same_order_each_moved_by_itself(data: Data) -> None:
    given, moved = data.train, augmented(data, "crop-flip").train
    seen = set()
    for (before, labels), (after, others) in zip(given.batches(16, seed=5), moved.batches(16, seed=5), strict=True):
        assert torch.equal(labels, others) and after.shape == before.shape
        for one, other in zip(raw(data, before).numpy(), raw(data, after).numpy(), strict=True):
            ways = [
                (top, left, flip)
                for top in range(2 * PADDING + 1) for left in range(2 * PADDING + 1) for flip in (False, True)
                if np.array_equal(by_hand(one, top, left, flip), other)
            ]  # fmt: skip
            assert ways
            seen.add(ways[0])
    assert len(seen) > 20 and {flip for _, _, flip in seen} == {False, True}


def test_all_offsets_and_both_sides_are_equally_likely() -> None:
    """Of 4,000 draws of a picture of one bright place: each of 9 rows, 9 columns and 2 sides within 5 deviations."""
    picture = torch.zeros(1, 1, 17, 17)
    picture[0, 0, 8, 6] = 1.0
    split = AugmentedTensors(TensorSplit(picture.expand(4_000, -1, -1, -1), torch.zeros(4_000, dtype=torch.long)),
                             torch.zeros(1, 1, 1, 1))  # fmt: skip
    (inputs, _), = split.batches(4_000, seed=3)  # fmt: skip
    _, _, rows, columns = inputs.nonzero(as_tuple=True)
    assert len(rows) == 4_000
    row_counts = torch.bincount(rows - 4, minlength=9)
    plain, turned = torch.bincount(columns, minlength=17)[2:11], torch.bincount(columns, minlength=17)[6:15]
    assert rows.min() == 4 and rows.max() == 12 and plain.sum() + turned.sum() > 4_000
    assert bool(((row_counts - 4_000 / 9).abs() < 5 * (4_000 / 9 * 8 / 9) ** 0.5).all())
    left = (columns < 6).sum()  # only pictures that were not turned reach there: 4 of 9 offsets
    assert abs(float(left) - 4_000 * 2 / 9) < 5 * (4_000 * 2 / 9 * 7 / 9) ** 0.5


def test_draws_hang_on_the_seed_and_the_batch_alone(data: Data) -> None:
    split = augmented(data, "crop-flip").train

    def walk(**given: Any) -> list[Tensor]:
        return [inputs for inputs, _ in split.batches(16, **given)]

    first = walk(seed=5)
    torch.rand(3)
    assert all(map(torch.equal, first, walk(seed=5)))
    assert all(map(torch.equal, first[1:], walk(seed=5, start=1)))
    assert not torch.equal(first[0], walk(seed=6)[0])
    state = torch.get_rng_state()
    walk(seed=5)
    assert torch.equal(state, torch.get_rng_state())


def test_pictures_in_order_and_other_splits_stay_as_they_are(data: Data) -> None:
    moved = augmented(data, "crop-flip")
    assert isinstance(data.train, TensorSplit)
    assert all(torch.equal(one[0], other[0]) for one, other in zip(
        data.train.batches(7), moved.train.batches(7), strict=True
    ))  # fmt: skip
    assert moved.validation is data.validation and moved.test is data.test
    assert augmented(data, None) is data


def test_a_run_learns_from_other_pictures_and_is_resumed_to_the_same_bytes(data: Data, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 30, 3))
    settings = RunSettings("dense", epochs=3, batch_size=10, noise=0.0, augment="crop-flip", optimizer="sgd")
    still = replace(settings, augment=None)

    def weights(settings: RunSettings, **given: Any) -> dict[str, Tensor]:
        state = run(Dense(), network, data, settings, **given).network.state_dict()
        return {name: value.clone() for name, value in state.items()}

    whole = weights(settings)
    assert not all(map(torch.equal, whole.values(), weights(still).values()))

    class Stop(Exception):
        pass

    def stop(progress: Any) -> None:
        if progress.step == 7:
            raise Stop

    for way in (stop, None):
        checkpointer = Checkpointer(tmp_path / "state", steps=3)
        if way is not None:
            with pytest.raises(Stop):
                weights(settings, checkpointer=checkpointer, progress=way)
        else:
            assert all(map(torch.equal, whole.values(), weights(settings, checkpointer=checkpointer).values()))


def test_what_cannot_be_augmented_is_refused(data: Data, small_data: Data) -> None:
    inputs, labels = pictures(12)
    loader: DataLoader[Any] = DataLoader(TensorDataset(inputs.float(), labels), batch_size=4)
    loaded = from_loaders(loader, loader, loader)
    painted = from_tensors(inputs, torch.randint(2, (12, 8, 7)), task="segmentation")
    rows = from_tensors(torch.randn(20, 5), torch.arange(20) % 2)
    for wrong, said in {
        loaded: "comes from a loader: augment in the loader's transform",
        painted: "moves pictures and not their targets",
        rows: "needs pictures [N, C, H, W], and an input of",
    }.items():
        with pytest.raises(SettingError, match=re.escape(said)):
            augmented(wrong, "crop-flip")
    with pytest.raises(SettingError, match=r"unknown augmentation 'flip': did you mean 'crop-flip'\?"):
        RunSettings("dense", augment="flip")
    with pytest.raises(SettingError, match="needs pictures"):
        bp.prune(nn.Sequential(nn.Linear(5, 2)), rows, "dense", epochs=1, augment="crop-flip")

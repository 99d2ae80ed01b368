"""SVHN from hand-made MATLAB files."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from bayesprune.data import TensorSplit, load
from bayesprune.errors import DataError, DataUnavailableError


def write(folder: Path, name: str, count: int) -> np.ndarray:
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(count).integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
    savemat(folder / name, {"X": pixels, "y": (np.arange(count) % 10 + 1)[:, None].astype(np.uint8)})
    return pixels


@pytest.mark.parametrize("below", ["SVHN", "."])
def test_the_digit_0_has_label_0_and_pixels_keep_their_places(tmp_path: Path, below: str) -> None:
    write(tmp_path / below, "train_32x32.mat", 40)
    pixels = write(tmp_path / below, "test_32x32.mat", 20)
    data = load("svhn", root=tmp_path, validation=10)
    assert data.split_sizes == {"train": 30, "validation": 10, "test": 20}
    assert (data.input_shape, data.classes) == ((3, 32, 32), 10)
    assert isinstance(data.test, TensorSplit)
    assert data.test.labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0] * 2
    back = (data.normalisation.undo(data.test.inputs) * 255).round().numpy()
    np.testing.assert_array_equal(back[7, 2], pixels[:, :, 2, 7])


def test_there_are_ten_classes_whatever_digits_a_copy_holds(tmp_path: Path) -> None:
    for name in ("train_32x32.mat", "test_32x32.mat"):
        labels = np.array([[1], [2]] * 10, dtype=np.uint8)
        savemat(tmp_path / name, {"X": np.zeros((32, 32, 3, 20), np.uint8) + labels[:, 0], "y": labels})
    assert load("svhn", root=tmp_path, validation=4).classes == 10


@pytest.mark.parametrize("keep", [0, 100, 5000])
def test_a_truncated_file_is_refused(tmp_path: Path, keep: int) -> None:
    write(tmp_path, "test_32x32.mat", 20)
    write(tmp_path, "train_32x32.mat", 40)
    path = tmp_path / "train_32x32.mat"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"train_32x32.mat is damaged"):
        load("svhn", root=tmp_path)


def test_other_arrays_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "test_32x32.mat", 20)
    savemat(tmp_path / "train_32x32.mat", {"X": np.zeros((4, 4)), "y": np.ones((4, 1))})
    with pytest.raises(DataError, match=r"X of shape \[4, 4\]"):
        load("svhn", root=tmp_path)


def test_offline(tmp_path: Path) -> None:
    with pytest.raises(DataUnavailableError, match=r"SVHN/train_32x32.mat, SVHN/test_32x32.mat into"):
        load("svhn", root=tmp_path)

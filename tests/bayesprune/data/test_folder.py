"""Image folders: layouts, numbering, and the first odd file named."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bayesprune.data import TensorSplit, load
from bayesprune.data.folder import read_folder
from bayesprune.errors import DataError

Paint = Callable[..., Path]


@pytest.fixture
def paint(tmp_path: Path) -> Paint:
    """Writes one picture of a single grey or colour under the temporary folder."""

    def write(name: str, colour: int | tuple[int, ...] = 0, mode: str = "L", size: tuple[int, int] = (5, 4)) -> Path:
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, size, colour).save(path)
        return path

    return write


def test_classes_are_numbered_by_name_and_pictures_read_in_order(paint: Paint, tmp_path: Path) -> None:
    for name, colour in (("b/2.png", 20), ("b/1.PNG", 10), ("a/x.png", 30), ("c/y.pgm", 40)):
        paint(name, colour)
    (tmp_path / "set" / "README.txt").write_text("passed over")
    (tmp_path / "set" / "a" / ".hidden.png").write_text("passed over")
    (tmp_path / "set" / "a" / "notes.txt").write_text("passed over")
    raw = read_folder(tmp_path / "set")
    assert raw.train.inputs.shape == (4, 1, 4, 5)
    assert raw.train.inputs[:, 0, 0, 0].tolist() == [30, 10, 20, 40]
    assert raw.train.labels.tolist() == [0, 1, 1, 2]
    assert (raw.validation, raw.test, raw.classes) == (None, None, 3)


def test_colours_come_in_the_order_red_green_blue(paint: Paint, tmp_path: Path) -> None:
    paint("a/1.png", (1, 2, 3), "RGB")
    paint("b/1.bmp", (4, 5, 6), "RGB")
    raw = read_folder(tmp_path / "set")
    assert raw.train.inputs.shape == (2, 3, 4, 5)
    assert raw.train.inputs[:, :, 2, 3].tolist() == [[1, 2, 3], [4, 5, 6]]


def test_splits_in_subfolders(paint: Paint, tmp_path: Path) -> None:
    for split, count in (("train", 6), ("test", 3), ("val", 2)):
        for number in range(count):
            paint(f"{split}/cat/{number}.png", number)
            paint(f"{split}/dog/{number}.png", 100 + number)
    data = load(f"folder:{tmp_path / 'set'}")
    assert data.split_sizes == {"train": 12, "validation": 4, "test": 6}
    assert isinstance(data.test, TensorSplit)
    assert data.test.labels.tolist() == [0, 0, 0, 1, 1, 1]
    pixels = data.normalisation.undo(data.test.inputs)[:, 0, 0, 0] * 255
    torch.testing.assert_close(pixels, torch.tensor([0.0, 1, 2, 100, 101, 102]), atol=1e-3, rtol=0)
    assert data.name == f"folder:{tmp_path / 'set'}"


def test_classes_without_splits_are_split_by_seed(paint: Paint, tmp_path: Path) -> None:
    for number in range(20):
        paint(f"train/{number}.png", number)  # a class that happens to be called like a split
        paint(f"truck/{number}.png", 100 + number)
    data = load(f"folder:{tmp_path / 'set'}")
    assert data.split_sizes == {"train": 28, "validation": 4, "test": 8}
    assert data.classes == 2


def test_bilevel_and_palette_pictures_are_converted(paint: Paint, tmp_path: Path) -> None:
    paint("a/1.png", 1, "1")
    paint("b/1.png", 0, "1")
    assert read_folder(tmp_path / "set").train.inputs[:, 0, 0, 0].tolist() == [255, 0]


def test_the_first_picture_of_another_size_is_named(paint: Paint, tmp_path: Path) -> None:
    paint("a/1.png")
    odd = paint("b/1.png", size=(6, 4))
    paint("b/2.png", size=(7, 4))
    with pytest.raises(DataError) as caught:
        read_folder(tmp_path / "set")
    message = str(caught.value)
    assert f"{odd} is 6 x 4 pixels" in message
    assert "5 x 4 pixels" in message
    assert "\n" not in message


def test_the_first_picture_of_another_mode_is_named(paint: Paint, tmp_path: Path) -> None:
    paint("a/1.png")
    odd = paint("b/1.png", (0, 0, 0), "RGB")
    with pytest.raises(DataError, match=f"{odd} is .* mode RGB"):
        read_folder(tmp_path / "set")


def test_a_mode_that_cannot_be_used_is_refused(paint: Paint, tmp_path: Path) -> None:
    paint("a/1.png", (1, 2, 3, 4), "RGBA")
    with pytest.raises(DataError, match=r"1.png has mode RGBA"):
        read_folder(tmp_path / "set")


@pytest.mark.parametrize("keep", [0, 10, 45])
def test_a_damaged_picture_is_named(paint: Paint, tmp_path: Path, keep: int) -> None:
    paint("a/1.png")
    bad = paint("b/1.png")
    bad.write_bytes(bad.read_bytes()[:keep])
    with pytest.raises(DataError, match=f"{bad} cannot be decoded"):
        read_folder(tmp_path / "set")


def test_folders_without_pictures_are_refused(paint: Paint, tmp_path: Path) -> None:
    (tmp_path / "set" / "a").mkdir(parents=True)
    with pytest.raises(DataError, match=r"a has no pictures .*\.png"):
        load(f"folder:{tmp_path / 'set'}")
    (tmp_path / "set" / "a").rmdir()
    with pytest.raises(DataError, match="has no subfolders"):
        load(f"folder:{tmp_path / 'set'}")
    with pytest.raises(DataError, match="is not there"):
        load(f"folder:{tmp_path / 'absent'}")
    with pytest.raises(DataError, match="is not a folder"):
        load(f"folder:{paint('a/1.png')}")


def test_classes_that_differ_between_splits_are_refused(paint: Paint, tmp_path: Path) -> None:
    paint("train/a/1.png")
    paint("train/b/1.png")
    paint("test/a/1.png")
    paint("test/c/1.png")
    with pytest.raises(DataError, match=r"other classes than the training split \(b, c\)"):
        read_folder(tmp_path / "set")


def test_one_class_is_refused(paint: Paint, tmp_path: Path) -> None:
    for number in range(20):
        paint(f"a/{number}.png", number)
    with pytest.raises(DataError, match="one class only"):
        load(f"folder:{tmp_path / 'set'}")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_a_folder_that_may_not_be_read_is_a_data_error(paint: Paint, tmp_path: Path) -> None:
    closed = paint("a/1.png").parent
    closed.chmod(0)
    try:
        with pytest.raises(DataError, match="cannot be read"):
            read_folder(tmp_path / "set")
    finally:
        closed.chmod(0o700)


def test_a_path_from_the_home_folder(paint: Paint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    for number in range(10):
        paint(f"a/{number}.png", int(rng.integers(256)))
        paint(f"b/{number}.png", int(rng.integers(256)))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(load("folder:~/set").train) == 14

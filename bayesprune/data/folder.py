"""An image folder: one subfolder a class, all pictures of one size and mode."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bayesprune.data.examples import Examples, RawData, to_examples
from bayesprune.errors import DataError

_ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp"})
_SPLITS = {"train": ("train",), "validation": ("validation", "val"), "test": ("test",)}
_CONVERTED = {"1": "L", "P": "RGB"}  # bilevel and palette pictures lose nothing
_CHANNELS = {"L": 1, "RGB": 3}
_LAYOUT = (
    "give each class a subfolder with its pictures: PATH/CLASS/*.png, "
    "or PATH/train/CLASS/*.png and PATH/test/CLASS/*.png"
)


def read_folder(path: Path, name: str | None = None) -> RawData:
    """Read PATH/CLASS/*.png, or PATH/train, PATH/test and perhaps PATH/validation with classes in each.

    Classes are numbered by the sorted names of their subfolders; hidden files and files that do not end like
    pictures are passed over. Inputs are uint8 [N, 1 or 3, H, W].

    Args:
        path: the folder.
        name: what tables call the data; None for "folder:PATH".

    Raises:
        DataError: no folder, nothing in it, classes that differ between splits, a file that is no picture, or
            the first picture whose size or mode differs from the others'.
    """
    if not os.path.isdir(path):
        raise DataError(f"{path} is {'not a folder' if os.path.exists(path) else 'not there'}; {_LAYOUT}")
    folders = {split: _subfolder(path, names) for split, names in _SPLITS.items()}
    if folders["train"] is None:
        folders = {"train": path}
    classes = _class_names(folders["train"] or path)
    reader = _PictureReader()
    splits = {split: _read_split(where, classes, reader) for split, where in folders.items() if where is not None}
    label = f"folder:{path}" if name is None else name
    return RawData(label, splits["train"], splits.get("validation"), splits.get("test"), len(classes))


class _PictureReader:
    """Decodes pictures and holds every one to the size and mode of the first."""

    def __init__(self) -> None:
        self._first: tuple[Path, tuple[int, int], str] | None = None

    def read(self, path: Path) -> npt.NDArray[np.uint8]:
        """One picture as [H, W, C]."""
        picture = _decode(path)
        found = (path, picture.size, picture.mode)
        self._first = self._first or found
        if found[1:] != self._first[1:]:
            raise DataError(
                f"{path} is {_describe(*found[1:])}, but {self._first[0]} is {_describe(*self._first[1:])}; "
                "all pictures "
                "must have one size and mode: convert or remove it"
            )
        return np.asarray(picture, dtype=np.uint8).reshape(picture.height, picture.width, _CHANNELS[picture.mode])


def _decode(path: Path) -> Any:
    """The picture in mode L or RGB."""
    from PIL import Image

    try:
        with Image.open(path) as opened:
            picture = opened.convert(_CONVERTED.get(opened.mode, opened.mode))
    except Exception as error:  # a damaged file makes Pillow raise almost anything
        raise DataError(
            f"{path} cannot be decoded as a picture ({type(error).__name__}: {error}); remove it"
        ) from error
    if picture.mode not in _CHANNELS:
        raise DataError(f"{path} has mode {picture.mode}; pictures must be grey (L) or colour (RGB): convert it")
    return picture


def _describe(size: tuple[int, int], mode: str) -> str:
    return f"{size[0]} x {size[1]} pixels, mode {mode}"


def _subfolder(path: Path, names: tuple[str, ...]) -> Path | None:
    """The subfolder of a split, told by the folders in it: a class, too, may be called "train"."""
    folders = (path / name for name in names if os.path.isdir(path / name))
    return next((folder for folder in folders if any(entry.is_dir() for entry in _visible(folder))), None)


def _visible(path: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            shown = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}); check its permissions") from error
    return sorted(shown, key=lambda entry: entry.name)


def _class_names(folder: Path) -> list[str]:
    names = [entry.name for entry in _visible(folder) if entry.is_dir()]
    if not names:
        raise DataError(f"{folder} has no subfolders, so there are no classes; {_LAYOUT}")
    return names


def _read_split(folder: Path, classes: list[str], reader: _PictureReader) -> Examples:
    found = _class_names(folder)
    if found != classes:
        odd = sorted(set(found) ^ set(classes))
        raise DataError(
            f"{folder} has other classes than the training split ({', '.join(odd[:5])}); both need the same subfolders"
        )
    pictures, labels = [], []
    for label, name in enumerate(classes):
        files = [
            Path(entry.path) for entry in _visible(folder / name) if os.path.splitext(entry.name)[1].lower() in _ENDINGS
        ]
        if not files:
            raise DataError(
                f"{folder / name} has no pictures ({', '.join(sorted(_ENDINGS))}); add some or remove the folder"
            )
        pictures += [reader.read(file) for file in files]
        labels += [label] * len(files)
    return to_examples(np.stack(pictures).transpose(0, 3, 1, 2), np.asarray(labels), str(folder))

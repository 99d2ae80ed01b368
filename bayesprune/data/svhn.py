"""SVHN: house numbers, two MATLAB files."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bayesprune.data.examples import Examples, RawData, to_examples
from bayesprune.data.fetch import Progress, RemoteFile, fetch_files
from bayesprune.data.places import Places
from bayesprune.data.source import first_existing
from bayesprune.data.torchvision_guard import import_torchvision
from bayesprune.errors import DataError

_FOLDER, _NAMES = "SVHN", ("train_32x32.mat", "test_32x32.mat")


@dataclass(frozen=True)
class SvhnSource:
    """The cropped digits, in the folder SVHN of a root, or in the root itself as torchvision has it."""

    name: str = "svhn"
    what: str = "house numbers in photographs, colour, 32 x 32, 10 classes"
    sizes: tuple[int, int] = (73_257, 26_032)
    download_bytes: int = 246_315_233

    @property
    def files(self) -> tuple[str, ...]:
        """The two files."""
        return tuple(f"{_FOLDER}/{name}" for name in _NAMES)

    def find(self, places: Places) -> Path | None:
        """The folder that holds both files."""
        return first_existing(places, _find_in)

    def read(self, found: Path, progress: Progress | None = None) -> RawData:
        """Read both files; inputs are uint8 [N, 3, 32, 32], the digit 0 has label 0."""
        return RawData(self.name, _read(found / _NAMES[0]), test=_read(found / _NAMES[1]), classes=10)

    def fetch(self, root: Path, progress: Progress | None) -> None:
        """Download both files with torchvision's addresses and checksums."""
        table = import_torchvision().datasets.SVHN.split_list
        files = [RemoteFile(name, (address,), md5) for address, name, md5 in (table["train"], table["test"])]
        fetch_files(files, root, root / _FOLDER, lambda folder: None, progress)


SVHN = SvhnSource()


def _find_in(root: Path) -> Path | None:
    return next(
        (place for place in (root / _FOLDER, root) if all(os.path.isfile(place / name) for name in _NAMES)),
        None,
    )


def _read(path: Path) -> Examples:
    """One file: X [32, 32, 3, N] and y [N, 1], where 10 stands for the digit 0."""
    from scipy.io import loadmat

    try:
        content = loadmat(path, variable_names=("X", "y"))
        pixels, labels = np.asarray(content["X"]), np.asarray(content["y"]).reshape(-1)
    except Exception as error:  # a damaged file makes scipy raise almost anything
        raise DataError(f"{path} is damaged ({type(error).__name__}: {error}); delete it and load again") from error
    if pixels.ndim != 4 or pixels.dtype != np.uint8:
        raise DataError(f"{path} holds X of shape {list(pixels.shape)}, {pixels.dtype}; SVHN has [32, 32, 3, N], uint8")
    return to_examples(pixels.transpose(3, 2, 0, 1), np.where(labels == 10, 0, labels), str(path))

"""MNIST and Fashion-MNIST: the original IDX files, in the layout that torchvision uses."""

import gzip
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from bayesprune.data.examples import Examples, RawData, to_examples
from bayesprune.data.fetch import Progress, RemoteFile, fetch_files
from bayesprune.data.idx import read_idx
from bayesprune.data.places import Places
from bayesprune.data.source import first_existing
from bayesprune.data.torchvision_guard import import_torchvision

_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


@dataclass(frozen=True)
class IdxSource:
    """Four IDX files under `folder`/raw.

    Attributes:
        name: the name people type.
        what: what it is.
        folder: the folder below a root, which is also the name of torchvision's class with the addresses.
        download_bytes: size of the four gzipped files.
    """

    name: str
    what: str
    folder: str
    download_bytes: int
    sizes: tuple[int, int] = (60_000, 10_000)

    @property
    def files(self) -> tuple[str, ...]:
        """The four files, each also taken with .gz at its end."""
        return tuple(f"{self.folder}/raw/{name}" for name in _NAMES)

    def find(self, places: Places) -> Path | None:
        """The folder that holds all four files."""
        return first_existing(places, self._find_in)

    def _find_in(self, root: Path) -> Path | None:
        for folder in (root / self.folder / "raw", root / self.folder):
            if all(_locate(folder, name) is not None for name in _NAMES):
                return folder
        return None

    def read(self, found: Path, progress: Progress | None = None) -> RawData:
        """Read the four files; inputs are uint8 [N, 1, H, W]."""
        train = _read_pair(found, _NAMES[0], _NAMES[1], f"the training split of {self.name}")
        test = _read_pair(found, _NAMES[2], _NAMES[3], f"the test split of {self.name}")
        return RawData(self.name, train, test=test, classes=10)

    def fetch(self, root: Path, progress: Progress | None) -> None:
        """Download the four files with torchvision's addresses and checksums, and unzip them."""
        table = getattr(import_torchvision().datasets, self.folder)
        files = [
            RemoteFile(name, tuple(mirror + name for mirror in table.mirrors), md5) for name, md5 in table.resources
        ]
        fetch_files(files, root, root / self.folder / "raw", _unzip_all, progress)


MNIST = IdxSource("mnist", "handwritten digits, grey, 28 x 28, 10 classes", "MNIST", 11_594_722)
FASHION_MNIST = IdxSource(
    "fashion-mnist", "articles of clothing, grey, 28 x 28, 10 classes", "FashionMNIST", 30_878_645
)


def _locate(folder: Path, name: str) -> Path | None:
    """The plain file, else the gzipped one, else None."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if os.path.isfile(path)), None)


def _read_pair(folder: Path, images: str, labels: str, where: str) -> Examples:
    image_path, label_path = (
        _locate(folder, images) or folder / images,
        _locate(folder, labels) or folder / labels,
    )
    return to_examples(read_idx(image_path, 3)[:, None], read_idx(label_path, 1), where)


def _unzip_all(folder: Path) -> None:
    """Replace every .gz by its content."""
    for zipped in folder.glob("*.gz"):
        with gzip.open(zipped, "rb") as source, zipped.with_suffix("").open("wb") as sink:
            shutil.copyfileobj(source, sink)
        zipped.unlink()

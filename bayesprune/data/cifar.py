"""CIFAR-10: the binary version, torchvision's verified batches, or the JPEG copy."""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bayesprune.data.examples import Examples, RawData, to_examples
from bayesprune.data.fetch import Progress, RemoteFile, fetch_files, file_md5
from bayesprune.data.folder import read_folder
from bayesprune.data.places import Places, cache_folder
from bayesprune.data.source import first_existing
from bayesprune.data.torchvision_guard import import_torchvision
from bayesprune.data.unpack import unpack, unpack_once
from bayesprune.errors import DataError

_BINARY, _BATCHES, _ARCHIVE, _JPEG = (
    "cifar-10-batches-bin",
    "cifar-10-batches-py",
    "cifar-10-python.tar.gz",
    "cifar10-jpeg.tar.xz",
)
_TRAINING = tuple(f"data_batch_{number}" for number in range(1, 6))
_TEST = "test_batch"
_BATCH_MEMBERS = re.compile(rf"{_BATCHES}/[a-z0-9_.]+")
_JPEG_MEMBERS = re.compile(r"(train|test)/[a-z]+/\w+\.jpg")
_PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class CifarSource:
    """CIFAR-10 in one of the forms in which it is passed on.

    torchvision's batches are pickles, which can run code when they are read. So they are read only after the
    checksum of each was found to be torchvision's. The binary version needs no such trust. The JPEG copy is
    lossy: it is taken only where nothing else is there, and calls itself "cifar10 (JPEG copy)".
    """

    name: str = "cifar10"
    what: str = "photographs of animals and vehicles, colour, 32 x 32, 10 classes"
    sizes: tuple[int, int] = (50_000, 10_000)
    download_bytes: int = 170_498_071
    images_per_file: int = 10_000

    @property
    def files(self) -> tuple[str, ...]:
        """The archive, which is unpacked on first use."""
        return (_ARCHIVE,)

    def find(self, places: Places) -> Path | None:
        """The best form in any of the folders; the JPEG copy comes last of all."""
        forms = (
            lambda root: _folder_with(root / _BINARY, [f"{name}.bin" for name in (*_TRAINING, _TEST)]),
            lambda root: _folder_with(root / _BATCHES, [*_TRAINING, _TEST]),
            lambda root: root / _ARCHIVE if os.path.isfile(root / _ARCHIVE) else None,
            lambda root: root / _JPEG if os.path.isfile(root / _JPEG) else None,
        )
        return next((found for form in forms if (found := first_existing(places, form)) is not None), None)

    def read(self, found: Path, progress: Progress | None = None) -> RawData:
        """Read the form that was found; inputs are uint8 [N, 3, 32, 32]."""
        if found.name == _JPEG:
            return self._read_jpeg_copy(found, progress)
        if found.name == _BINARY:
            train, test = self._read_binary(found, _TRAINING), self._read_binary(found, (_TEST,))
        else:
            folder = _unpack_archive(found, progress) if found.name == _ARCHIVE else found
            train, test = _read_verified(folder)
        return RawData(self.name, train, test=test, classes=10)

    def fetch(self, root: Path, progress: Progress | None) -> None:
        """Download torchvision's archive, verify its checksum, and only then unpack it."""
        table = import_torchvision().datasets.CIFAR10
        archive = RemoteFile(_ARCHIVE, (table.url,), table.tgz_md5)
        fetch_files([archive], root, root, _unpack_download, progress)

    def _read_binary(self, folder: Path, names: tuple[str, ...]) -> Examples:
        """Records of one label byte and 3,072 pixels, red, green, blue."""
        records = np.concatenate([_read_records(folder / f"{name}.bin", self.images_per_file) for name in names])
        return to_examples(records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0], f"{self.name} in {folder}")

    def _read_jpeg_copy(self, archive: Path, progress: Progress | None) -> RawData:
        # The folder carries the archive's hash, so that another archive is never mistaken for this one.
        with archive.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        target = cache_folder() / f"cifar10-jpeg-{digest[:12]}"
        raw = read_folder(unpack_once(archive, target, _JPEG_MEMBERS, progress))
        return RawData(f"{self.name} (JPEG copy)", raw.train, test=raw.test, classes=raw.classes)


CIFAR10 = CifarSource()


def _folder_with(folder: Path, names: list[str]) -> Path | None:
    return folder if all(os.path.isfile(folder / name) for name in names) else None


def _read_records(path: Path, images: int) -> npt.NDArray[np.uint8]:
    expected, found = images * (1 + _PIXELS), path.stat().st_size
    if found != expected:
        raise DataError(f"{path} has {found:,} bytes, {images:,} images have {expected:,}; copy it anew")
    return np.fromfile(path, dtype=np.uint8).reshape(images, 1 + _PIXELS)


def _check_archive(archive: Path, md5: str) -> None:
    if (found := file_md5(archive)) != md5:
        raise DataError(
            f"{archive} has checksum {found}, CIFAR-10's is {md5}; it is not opened: delete it and load again"
        )


def _unpack_archive(archive: Path, progress: Progress | None) -> Path:
    """Verify an archive that lies in a data folder and unpack it once into the cache folder."""
    _check_archive(archive, import_torchvision().datasets.CIFAR10.tgz_md5)
    return unpack_once(archive, cache_folder() / "cifar10", _BATCH_MEMBERS, progress) / _BATCHES


def _unpack_download(folder: Path) -> None:
    """Leave only the folder of batches, whose archive was verified."""
    unpack(folder / _ARCHIVE, folder / "unpacked", _BATCH_MEMBERS)
    (folder / "unpacked" / _BATCHES).rename(folder / _BATCHES)
    (folder / "unpacked").rmdir()
    (folder / _ARCHIVE).unlink()


def _read_verified(folder: Path) -> tuple[Examples, Examples]:
    """Let torchvision read its batches after each was verified."""
    table = import_torchvision().datasets.CIFAR10
    expected = [*table.train_list, *table.test_list, [table.meta["filename"], table.meta["md5"]]]
    for name, md5 in expected:
        path = folder / name
        if not os.path.isfile(path) or file_md5(path) != md5:
            raise DataError(
                f"{path} is missing or is not the file of CIFAR-10 (checksum {md5}); it is not opened: copy it anew"
            )
    return _through_torchvision(table, folder.parent, True), _through_torchvision(table, folder.parent, False)


def _through_torchvision(table: Any, root: Path, train: bool) -> Examples:
    loaded = table(root, train=train, download=False)
    where = f"the {'training' if train else 'test'} split of cifar10"
    return to_examples(np.asarray(loaded.data).transpose(0, 3, 1, 2), np.asarray(loaded.targets), where)

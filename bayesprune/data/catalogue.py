"""The names of data sets: loading one, and saying what there is and where it lies."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from bayesprune.data import digits
from bayesprune.data.build import assemble
from bayesprune.data.cifar import CIFAR10
from bayesprune.data.csv_table import split_name
from bayesprune.data.deep_teachers import DEEP_TEACHERS, is_deep_teacher, read_deep_teacher
from bayesprune.data.examples import RawData
from bayesprune.data.fetch import Progress
from bayesprune.data.folder import read_folder
from bayesprune.data.mnist import FASHION_MNIST, MNIST
from bayesprune.data.npz import read_npz
from bayesprune.data.partition import check_seed
from bayesprune.data.places import Places, find_places, first_writable
from bayesprune.data.reber import REBER, SIZES, STUDY, is_reber, read_reber
from bayesprune.data.source import Source, obtain
from bayesprune.data.svhn import SVHN
from bayesprune.data.table_data import read_builtin, read_table_file
from bayesprune.data.tables import TABLES
from bayesprune.data.teachers import TEACHERS, is_teacher, read_teacher
from bayesprune.data.value import Data
from bayesprune.errors import SettingError, UnknownNameError
from bayesprune.tasks import Task

_SOURCES: dict[str, Source] = {source.name: source for source in (MNIST, FASHION_MNIST, CIFAR10, SVHN, STUDY)}
_READERS = {"folder": read_folder, "npz": read_npz, "csv": read_table_file}
_VALIDATION = 5_000
_OTHER_VALIDATION = {STUDY.name: 1_250}
_OWN = {
    "folder:PATH": "your own pictures: PATH/CLASS/*.png, or PATH/train/CLASS/*.png and PATH/test/CLASS/*.png",
    "npz:PATH": "your own arrays: x and y, or x_train, y_train, x_test, y_test",
    "csv:FILE[:TARGET]": "your own table, a line an example; TARGET: a column, or several joined by +; else the last",
}


@dataclass(frozen=True)
class DataInfo:
    """What is known of a data set without loading it.

    Attributes:
        name: the name to load it by.
        what: what it is.
        examples: training (validation included) and test examples, None for a user's own.
        place: the file or folder where it lies, or the folder where its download goes; None for a user's own.
        present: whether it is there; None for a user's own.
        bytes: its size on disk, or that of the download where it is not there; None for a user's own.
    """

    name: str
    what: str
    examples: tuple[int, int] | None
    place: str | None
    present: bool | None
    bytes: int | None

    def as_dict(self) -> dict[str, object]:
        """The same as plain values for JSON."""
        return asdict(self)


def known() -> tuple[str, ...]:
    """The names that `load` takes; for the last three, PATH and FILE stand for a path of yours."""
    return (digits.NAME, *TABLES, *TEACHERS, *DEEP_TEACHERS, *REBER, *_SOURCES, *_OWN)


def load(
    name: str,
    *,
    root: str | Path | None = None,
    seed: int = 0,
    validation: int | None = None,
    download: bool = True,
    progress: Progress | None = None,
    task: Task | str | None = None,
    class_weights: Sequence[float] | str | None = None,
) -> Data:
    """Load a data set by name.

    Args:
        name: one of `known()`, e.g. "mnist5k", "mnist", "folder:photos", "npz:digits.npz"; "mnist@10000" (and the like
            for others with their own files) is MNIST with so many images for validation, "mnist@1000/5000" with no
            more than 5,000 to train besides; "teacher200@3" and "reber@3" are draw 3.
        root: folder with data sets; None for BAYESPRUNE_DATA, then the user's cache folder.
        seed: decides which training examples become the validation split, whatever seed training has; mnist5k
            has one fixed split.
        validation: how many become it; None for 5,000 (1,250 of reber-study), and for 10 % of a folder or npz file
            without validation split. (One without a test split also gives 20 % for testing.)
        download: whether what is missing may be fetched.
        progress: called with (file name, bytes done, bytes in all or None).
        task: what is to be learnt; None for what the targets suggest.
        class_weights: what an error in each class counts in training, or "balanced".

    Raises:
        UnknownNameError: no such data set.
        SettingError: a seed or a size that cannot be used.
        DataUnavailableError: it is not on this machine and cannot be fetched.
        DataError: it cannot be learned from, or its files are damaged.
    """
    check_seed(seed)
    if not isinstance(name, str):
        raise SettingError(f"the name of the data is {name!r}: give some text, such as {digits.NAME!r}")
    plain, held_out, most = _held_out(name)
    if plain in _SOURCES:
        raw = obtain(_SOURCES[plain], find_places(root), download=download, progress=progress)
        validation = held_out if validation is None else validation
        raw = raw if most is None else _reduced(raw, validation + most, seed)
    else:
        raw = _read_local(name)
    raw = raw if task is None else replace(raw, task=task)
    return assemble(raw, validation=validation, seed=seed, class_weights=class_weights)


def files_of(name: str) -> list[Path]:
    """The files that `load` would read for a name; none where it comes with the library or is not there."""
    plain = _held_out(name)[0]
    if plain in _SOURCES:
        found = _SOURCES[plain].find(find_places(None))
    else:
        kind, _, path = name.partition(":")
        found = _own_path(kind, path) if kind in _READERS else None
    if found is None:
        return []
    files = sorted(found.rglob("*")) if found.is_dir() else [found]
    return [file for file in files if file.is_file()]


def describe(root: str | Path | None = None) -> list[DataInfo]:
    """What there is, where it lies, whether it is there; reads no data.

    Args:
        root: as for `load`.
    """
    packaged = digits.packaged_file()
    bundled = DataInfo(
        digits.NAME,
        digits.WHAT,
        (digits.SIZES[0] + digits.SIZES[1], digits.SIZES[2]),
        str(packaged),
        packaged.is_file(),
        _size(packaged) if packaged.is_file() else None,
    )
    own = [DataInfo(name, what, None, None, None, None) for name, what in _OWN.items()]
    tables = [
        DataInfo(name, info.what, _table_sizes(info.examples), "scikit-learn", True, None)
        for name, info in TABLES.items()
    ]
    drawn = [
        DataInfo(name, one.what, (sum(one.sizes[:2]), one.sizes[2]), "drawn when it is loaded", True, None)
        for name, one in (TEACHERS | DEEP_TEACHERS).items()
    ]
    drawn += [
        DataInfo(name, one.what, (sum(SIZES[:2]), SIZES[2]), "drawn when it is loaded", True, None)
        for name, one in REBER.items()
    ]
    return [bundled, *tables, *drawn, *(_inform(source, find_places(root)) for source in _SOURCES.values()), *own]


def _own_path(kind: str, path: str) -> Path | None:
    """The file or folder of a name such as "npz:PATH"; None where it names none."""
    if kind != "csv":
        return Path(os.path.expanduser(path))
    try:
        return split_name(path)[0]
    except SettingError:
        return None


def _table_sizes(examples: int) -> tuple[int, int]:
    """Training (validation included) and test examples of a table that is split 60/20/20 %."""
    test = round(0.2 * examples)
    return examples - test, test


def _held_out(name: str) -> tuple[str, int, int | None]:
    """A name without its `@VALIDATION/TRAINING`, and how many examples validate and train; None for all others.

    Raises:
        SettingError: a size is no whole number.
    """
    plain, at, sizes = name.partition("@")
    if plain not in _SOURCES or not at:
        return name, _OTHER_VALIDATION.get(name, _VALIDATION), None
    held_out, slash, most = sizes.partition("/")
    if not all(size.isdecimal() and int(size) for size in ([held_out, most] if slash else [held_out])):
        raise SettingError(
            f"{name!r}: behind the @ stands how many training examples validate, as in {plain}@10000, and behind a "
            f"slash how many train, as in {plain}@1000/5000"
        )
    return plain, int(held_out), int(most) if slash else None


def _reduced(raw: RawData, size: int, seed: int) -> RawData:
    """Data of which so many training examples are left, drawn by the seed; the name says so.

    Raises:
        SettingError: there are fewer.
    """
    there = len(raw.train)
    if size > there:
        raise SettingError(f"{raw.name} has {there:,} training examples and {size:,} are asked for: name fewer")
    chosen = np.sort(np.random.default_rng(seed).permutation(there)[:size])
    return replace(raw, name=f"{raw.name}, {size:,} of {there:,}", train=raw.train.take(chosen))


def _read_local(name: str) -> RawData:
    """mnist5k, a table of scikit-learn's, a teacher, a Reber set, or a file or folder of the user's."""
    if name == digits.NAME:
        return digits.read_digits()
    if name in TABLES:
        return read_builtin(name)
    if is_teacher(name):
        return read_teacher(name)
    if is_reber(name):
        return read_reber(name)
    if is_deep_teacher(name):
        return read_deep_teacher(name)
    kind, colon, path = name.partition(":")
    if kind not in _READERS or not colon:
        raise UnknownNameError("data set", name, known())
    if not path:
        raise SettingError(f"{name!r} names no path; write it behind the colon, as in {kind}:PATH")
    return _READERS[kind](Path(os.path.expanduser(path)), name)


def _inform(source: Source, places: Places) -> DataInfo:
    found = source.find(places)
    place, size = (first_writable(places), source.download_bytes) if found is None else (found, _size(found))
    return DataInfo(source.name, source.what, source.sizes, str(place), found is not None, size)


def _size(path: Path) -> int:
    """Bytes of a file, or of the files directly in a folder."""
    files = [path] if path.is_file() else [entry for entry in path.iterdir() if entry.is_file()]
    return sum(file.stat().st_size for file in files)

"""The strings and the split of the study of sparse recurrent networks (arXiv 2107.12917), where they are at hand."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bayesprune.data.examples import Examples, RawData, to_examples
from bayesprune.data.fetch import FetchError, Progress
from bayesprune.data.places import Places
from bayesprune.data.reber.letters import encode
from bayesprune.data.reber.sets import CLASSES
from bayesprune.data.source import first_existing
from bayesprune.errors import DataError

_FILES = ("train_data.csv", "test_data.csv")


@dataclass(frozen=True)
class StudySource:
    """Two tables in a folder `reber`, with the columns `string` and `valid` (0 or 1)."""

    name: str = "reber-study"
    what: str = "the 25,000 Reber strings of the study of sparse recurrent networks, its own split; not fetched"
    sizes: tuple[int, int] = (18_750, 6_250)
    files: tuple[str, ...] = tuple(f"reber/{name}" for name in _FILES)
    download_bytes: int = 0

    def find(self, places: Places) -> Path | None:
        """The folder that holds both tables."""
        return first_existing(places, self.find_in)

    def find_in(self, root: Path) -> Path | None:
        """The folder below a root, where both tables are in it."""
        return root / "reber" if all((root / name).is_file() for name in self.files) else None

    def read(self, found: Path, progress: Progress | None = None) -> RawData:
        """Read both tables.

        Raises:
            DataError: a column is missing, a class is neither 0 nor 1, a letter is unknown, a string has length 0.
        """
        train, test = (_read(found / name) for name in _FILES)
        return RawData(self.name, train, test=test, classes=2, class_names=CLASSES)

    def fetch(self, root: Path, progress: Progress | None) -> None:
        """There is no address to fetch it from.

        Raises:
            FetchError: always.
        """
        raise FetchError("it has no download; 'reber' is drawn anywhere")


STUDY = StudySource()


def _read(path: Path) -> Examples:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error}): put the study's file there") from error
    if not rows or not {"string", "valid"} <= rows[0].keys():
        raise DataError(f"{path} has no rows with the columns 'string' and 'valid': put the study's file there")
    wrong = next((number for number, row in enumerate(rows, 1) if row["valid"] not in ("0", "1")), None)
    if wrong is not None:
        raise DataError(f"{path}: 'valid' is {rows[wrong - 1]['valid']!r} in row {wrong}; 0 or 1 is possible")
    classes = np.array([int(row["valid"]) for row in rows])
    return to_examples(encode(row["string"] or "" for row in rows), classes, str(path))

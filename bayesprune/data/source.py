"""What every downloadable source can do, and the way from a name to its raw data."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from bayesprune.data.examples import RawData
from bayesprune.data.fetch import FetchError, Progress
from bayesprune.data.places import VARIABLE, Places, first_writable
from bayesprune.errors import DataUnavailableError


class Source(Protocol):
    """A data set that lies in a folder under its own name and can be downloaded.

    Attributes:
        name: the name people type.
        what: what it is, in a few words.
        sizes: training and test examples.
        files: files it consists of, as paths below a root.
        download_bytes: size of the download.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - described above
    @property
    def what(self) -> str: ...  # noqa: D102 - described above
    @property
    def sizes(self) -> tuple[int, int]: ...  # noqa: D102 - described above
    @property
    def files(self) -> tuple[str, ...]: ...  # noqa: D102 - described above
    @property
    def download_bytes(self) -> int: ...  # noqa: D102 - described above

    def find(self, places: Places) -> Path | None:
        """The file or folder from which it can be read, or None."""
        ...

    def read(self, found: Path, progress: Progress | None) -> RawData:
        """Read what `find` found."""
        ...

    def fetch(self, root: Path, progress: Progress | None) -> None:
        """Download it into a root."""
        ...


def obtain(source: Source, places: Places, *, download: bool, progress: Progress | None) -> RawData:
    """Read a source, after downloading it where it is missing.

    Raises:
        DataUnavailableError: it is not there and cannot be fetched; says where its files go.
        DataError: its files are damaged.
    """
    found = source.find(places)
    if found is None:
        if not download:
            raise _unavailable(source, first_writable(places), "download=False forbids fetching it")
        found = _fetch_into_first(source, places, progress)
    return source.read(found, progress)


def first_existing(places: Places, look: Callable[[Path], Path | None]) -> Path | None:
    """The first thing that `look` finds in one of the folders."""
    return next((found for folder in places.folders if (found := look(folder)) is not None), None)


def _fetch_into_first(source: Source, places: Places, progress: Progress | None) -> Path:
    """Download into the first folder that can be written to."""
    refused = []
    for folder in places.folders:
        try:
            source.fetch(folder, progress)
        except FetchError as error:
            raise _unavailable(source, folder, f"could not be fetched ({error})") from error
        except OSError as error:
            refused.append(f"{folder} cannot be written to ({error.strerror or error})")
            continue
        if (found := source.find(Places((folder,)))) is not None:
            return found
    raise _unavailable(source, first_writable(places), "; ".join(refused) or "its download did not hold its files")


def _unavailable(source: Source, root: Path, reason: str) -> DataUnavailableError:
    return DataUnavailableError(
        f"{source.name!r} is not on this machine: {reason}. Put {', '.join(source.files)} into "
        f"{root.absolute()}, or set {VARIABLE} to a folder that holds them; "
        "'mnist5k' comes with the library and needs no download"
    )

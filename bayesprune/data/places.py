"""Where data sets lie: an explicit root, the folder that BAYESPRUNE_DATA names, the user's cache folder."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "BAYESPRUNE_DATA"


@dataclass(frozen=True)
class Places:
    """Folders to look into, and the same ones, in that order, to download into.

    A folder that cannot be written to (a read-only BAYESPRUNE_DATA) leaves the download to the next one.
    """

    folders: tuple[Path, ...]


def find_places(root: str | Path | None = None) -> Places:
    """An explicit root alone; else BAYESPRUNE_DATA, where set, before the user's cache folder."""
    if root is not None:
        return Places((Path(os.path.expanduser(root)),))
    named = os.environ.get(VARIABLE)
    return Places((Path(os.path.expanduser(named)), cache_folder()) if named else (cache_folder(),))


def first_writable(places: Places) -> Path:
    """The first folder that permissions let one write to or make; the first of all where none is."""
    return next((folder for folder in places.folders if _may_write(folder)), places.folders[0])


def _may_write(folder: Path) -> bool:
    absolute = folder.absolute()
    nearest = next(place for place in (absolute, *absolute.parents) if place.exists())
    return nearest.is_dir() and os.access(nearest, os.W_OK)


def cache_folder() -> Path:
    """The user's cache folder for bayesprune: $XDG_CACHE_HOME/bayesprune or ~/.cache/bayesprune."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(named) if os.path.isabs(named) else Path(os.path.expanduser("~"), ".cache")
    return base / "bayesprune"


@contextmanager
def workspace(folder: Path) -> Iterator[Path]:
    """A temporary folder inside `folder`, which is made where missing; it is gone afterwards in any case.

    Raises:
        OSError: nothing can be written there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".bayesprune-", dir=folder) as temporary:
        yield Path(temporary)


def publish(finished: Path, target: Path) -> None:
    """Move a finished file or folder to its place in one step; what is already there stays.

    Several processes may prepare the same data set at once: the first one wins, the others find it there.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        return
    try:
        os.rename(finished, target)
    except OSError:
        if not target.exists():
            raise

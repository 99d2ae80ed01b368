"""Data by name, loaded once in a process as long as its files stay as they are."""

from functools import lru_cache
from pathlib import Path

from bayesprune.data.catalogue import files_of, load
from bayesprune.data.value import Data

Stamp = tuple[tuple[str, int, int, int], ...]
"""Path, size, and times of the last change of content and of entry of every file, in nanoseconds."""


class CachedLoad:
    """Loads data by name, anew where a file of theirs was changed, added or removed since."""

    def __call__(self, name: str, task: str | None = None) -> Data:
        """As `bayesprune.data.load`."""
        return _load(name, task, _stamp(files_of(name)))

    def cache_clear(self) -> None:
        """Forget what was loaded."""
        _load.cache_clear()


load_cached = CachedLoad()


@lru_cache(maxsize=2)
def _load(name: str, task: str | None, stamp: Stamp) -> Data:
    return load(name, task=task)


def _stamp(files: list[Path]) -> Stamp:
    found = []
    for file in files:
        status = file.stat()
        found.append((str(file.absolute()), status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    return tuple(found)

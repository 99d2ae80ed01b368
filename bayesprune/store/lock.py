"""One process, and one thread, at a time in a folder; a lock ends with the process that holds it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain, repeat
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from bayesprune.store.atomic import write_error

LOCK_FILE = ".lock"
POLL_SECONDS = 0.2


@contextmanager
def locked(folder: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock of a folder, which is made for it; a folder that stays empty is removed again.

    Whoever holds the lock may take it once more in the same thread.

    Args:
        folder: what to lock.
        waiting: called now and then while somebody else holds the lock; what it raises ends the waiting.

    Raises:
        StoreError: the folder cannot be made or locked.
    """
    folder = folder.absolute()
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    lock = FileLock(folder / LOCK_FILE, is_singleton=True)
    try:
        for seconds in chain([0.0], repeat(POLL_SECONDS)):
            if _is_taken(lock, folder, seconds):
                break
            waiting()
        yield
    finally:
        if lock.lock_counter == 1:
            _remove(lock)
        lock.release()
        with suppress(OSError):  # it is not empty any more
            for place in missing:
                place.rmdir()


def _is_taken(lock: BaseFileLock, folder: Path, seconds: float) -> bool:
    """Try for so long to take a lock."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=seconds)
    except (Timeout, FileNotFoundError):  # its last holder removes an empty folder
        return False
    except OSError as error:
        raise write_error(folder / LOCK_FILE, error) from error
    return True


def _remove(lock: BaseFileLock) -> None:
    """Remove the file while it is locked: who waits for it sees that it is gone, and makes another."""
    with suppress(OSError):
        Path(lock.lock_file).unlink()

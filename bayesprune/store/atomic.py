"""Files written whole or not at all, and read, with errors that name the path and the cure."""

import errno
import json
import os
import stat
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import Any, BinaryIO

from bayesprune.errors import StoreError
from bayesprune.store.json_values import parse_json, plain_json

TEMPORARY_PATTERN = ".*.tmp"

LARGEST_TEXT = 2**26
"""Bytes: no text file of ours comes near to it."""

_PERMISSION = "choose a folder you may write to, or change its permissions"
_SPACE = "free some space there or choose a folder on another disk"
_NOT_A_FOLDER = "a part of this path is a file; choose another folder"
_WRITE_CURES = {
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.EROFS: "choose a folder on a disk that is not read-only",
    errno.ENOSPC: _SPACE,
    getattr(errno, "EDQUOT", errno.ENOSPC): _SPACE,
    errno.ENOTDIR: _NOT_A_FOLDER,
    errno.EEXIST: _NOT_A_FOLDER,
    errno.EISDIR: "a folder has this name; choose another name",
}
_READ_CURES = {
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path: a part of it is a file",
    errno.EISDIR: "it is a folder; name a file",
    errno.EACCES: "change its permissions",
    errno.ELOOP: "it is a link that leads back to itself; delete it",
    errno.EINVAL: "restore it or delete it",
    errno.EFBIG: "that is larger than any file that bayesprune writes; restore it or delete it",
}


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write `data` to `path`, making its folder where it is missing; a failure changes nothing at `path`.

    The data goes to a temporary file in the same folder, is forced to the disk, and takes the place of
    `path` in one step, so that whoever reads sees the old file or the new one, also after a kill.

    Raises:
        StoreError: the file cannot be written; no temporary file stays behind.
    """
    target = Path(path)
    temporary = temporary_in(target.parent, target.name)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _write_through(temporary, data)
        os.replace(temporary, target)
    except BaseException as error:  # Ctrl-C too must not leave the temporary file behind
        _remove(temporary)
        if isinstance(error, OSError | ValueError):
            raise write_error(target, error) from error
        raise
    _sync_folder(target.parent)


def move_files(source: Path, target: Path, last: str) -> None:
    """Let the files of a folder take their places in another one, the one named `last` after the others.

    Raises:
        StoreError: a file cannot take its place.
    """
    for file in sorted(source.iterdir(), key=lambda file: (file.name == last, file.name)):
        try:
            os.replace(file, target / file.name)
        except OSError as error:
            raise write_error(target / file.name, error) from error
    _sync_folder(target)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` in UTF-8 to `path`, as `write_bytes` does.

    Raises:
        StoreError: the file cannot be written, or the text has no UTF-8 form.
    """
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise StoreError(f"cannot write {path}: the text has no UTF-8 form ({error})") from error
    write_bytes(path, data)


def write_json(path: str | Path, value: object) -> None:
    """Write `value` as indented JSON to `path`, as `write_bytes` does; NaN and infinities become null.

    Raises:
        StoreError: the file cannot be written, or `value` holds something that JSON cannot.
    """
    try:
        text = json.dumps(plain_json(value, non_finite_as_null=True), indent=2)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"cannot write {path}: {error}; convert it first") from error
    write_text(path, text + "\n")


def read_bytes(path: str | Path, most: int = LARGEST_TEXT) -> bytes:
    """The content of the file at `path`, of `most` bytes.

    Raises:
        StoreError: it cannot be read, is no ordinary file, or is larger.
    """
    with open_file(path, most) as file:
        return read_from(file, path)


def open_file(path: str | Path, most: int) -> BinaryIO:
    """Open an ordinary file of up to `most` bytes to read it; a pipe or a device is refused without waiting for it.

    Raises:
        StoreError: as `read_bytes`.
    """
    try:
        file = open(path, "rb", opener=_open_at_once)  # noqa: SIM115 - the caller closes it
        status = os.fstat(file.fileno())
        try:
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "it is no ordinary file but a pipe or a device")
            if status.st_size > most:
                raise OSError(errno.EFBIG, f"it has {status.st_size:,} bytes")
        except OSError:
            file.close()
            raise
    except (OSError, ValueError) as error:
        raise read_error(path, error) from error
    return file


def read_from(file: BinaryIO, path: str | Path, size: int = -1) -> bytes:
    """So many bytes of a file that `open_file` opened; by default the rest.

    Raises:
        StoreError: they cannot be read.
    """
    try:
        return file.read(size)
    except (OSError, MemoryError) as error:
        raise read_error(path, error) from error


def read_json(path: str | Path) -> Any:
    """The value in the JSON file at `path`.

    Raises:
        StoreError: it cannot be read or is not JSON.
    """
    data = read_bytes(path)
    try:
        return parse_json(data)
    except ValueError as error:
        raise StoreError(f"{path} is damaged: it is not JSON ({error}); restore it or delete it") from error


def check_writable(folder: str | Path) -> None:
    """Make sure, before long work starts, that files can be written in `folder`; nothing stays on disk.

    A folder that is missing is not made: its nearest existing parent is tried instead.

    Raises:
        StoreError: nothing can be written there.
    """
    target = Path(folder).absolute()
    temporary: Path | None = None
    try:
        nearest = next(place for place in (target, *target.parents) if place.exists())
        temporary = temporary_in(nearest, "try")
        _write_through(temporary, b"")
    except (OSError, ValueError) as error:
        raise write_error(Path(folder), error) from error
    finally:
        if temporary is not None:
            _remove(temporary)


def write_error(path: Path, error: OSError | ValueError) -> StoreError:
    """The `StoreError` that says why `path` cannot be written and what to do."""
    return StoreError(_message("write", path, error, _WRITE_CURES))


def read_error(path: str | Path, error: OSError | ValueError | MemoryError) -> StoreError:
    """The `StoreError` that says why `path` cannot be read and what to do."""
    return StoreError(_message("read", Path(path), error, _READ_CURES))


def _message(verb: str, path: Path, error: Exception, cures: dict[int, str]) -> str:
    code = error.errno if isinstance(error, OSError) else None
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
    cure = cures.get(code, "check the path and the disk") if code is not None else "check the path"
    return f"cannot {verb} {path}: {reason}; {cure}"


def temporary_in(folder: Path, name: str) -> Path:
    """A new name in a folder, of the pattern of all temporary files, for what will be `name`."""
    # token_hex and not tempfile's names: a file's mode must follow the umask, and no seeded generator moves.
    return folder / f".{name[:40]}.{token_hex(4)}.tmp"


def _open_at_once(path: str, flags: int) -> int:
    """Open a file without waiting for a pipe's other end."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _write_through(path: Path, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags, 0o666), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _remove(path: Path) -> None:
    with suppress(OSError, ValueError):
        path.unlink()


def _sync_folder(folder: Path) -> None:
    """Force the renaming to the disk where the system can; the file itself is already there."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

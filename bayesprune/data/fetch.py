"""Downloads that are either whole and verified or not there."""

import hashlib
import http.client
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bayesprune.data.places import publish, workspace

Progress = Callable[[str, int, int | None], None]
"""Called with (file name, bytes done, bytes in all or None)."""

_CHUNK, _TIMEOUT_SECONDS = 1 << 18, 30


class FetchError(Exception):
    """A file could not be had from any of its addresses; the text says why."""


@dataclass(frozen=True)
class RemoteFile:
    """A file on the net.

    Attributes:
        name: its file name.
        addresses: where it lies, tried in this order.
        md5: checksum of its content.
    """

    name: str
    addresses: tuple[str, ...]
    md5: str


def fetch_files(
    files: Sequence[RemoteFile],
    root: Path,
    target: Path,
    finish: Callable[[Path], None],
    progress: Progress | None,
) -> None:
    """Download into a temporary folder of `root`, verify and finish the files there, move them to `target`.

    Args:
        files: what to fetch.
        root: folder in which the temporary folder is made (same disk as `target`, so that moving is one
            step).
        target: folder below `root` that receives everything that then lies in the temporary folder.
        finish: prepares the verified files in the temporary folder, e.g. unpacks them.
        progress: told of every piece that came in.

    Raises:
        FetchError: a file could not be had; nothing was changed.
        OSError: nothing can be written in `root`.
    """
    with workspace(root) as temporary:
        for file in files:
            _fetch(file, temporary / file.name, progress)
        finish(temporary)
        for entry in sorted(temporary.iterdir()):
            publish(entry, target / entry.name)


def file_md5(path: Path) -> str:
    """MD5 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _fetch(file: RemoteFile, path: Path, progress: Progress | None) -> None:
    """Try the addresses in turn until one gives the right content."""
    reasons = []
    for address in file.addresses:
        try:
            if (found := _download(address, path, file.name, progress)) == file.md5:
                return
            reasons.append(f"{address}: checksum {found}, expected {file.md5}")
        except (OSError, http.client.HTTPException) as error:  # URLError and time-outs are OSErrors
            reasons.append(f"{address}: {getattr(error, 'reason', None) or error or type(error).__name__}")
    raise FetchError("; ".join(reasons))


def _download(address: str, path: Path, name: str, progress: Progress | None) -> str:
    """Stream one address into a file and return the MD5 of what came."""
    request = urllib.request.Request(address, headers={"User-Agent": "bayesprune"})
    with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response, path.open("wb") as sink:
        stated = response.headers.get("Content-Length")
        return _copy(response, sink, name, int(stated) if stated and stated.isdigit() else None, progress)


def _copy(source: BinaryIO, sink: BinaryIO, name: str, total: int | None, progress: Progress | None) -> str:
    digest, done = hashlib.md5(usedforsecurity=False), 0
    while chunk := source.read(_CHUNK):
        sink.write(chunk)
        digest.update(chunk)
        done += len(chunk)
        if progress is not None:
            progress(name, done, total)
    return digest.hexdigest()

"""Unpacking an archive once into the user's cache folder, safely and in one step."""

import lzma
import os
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from bayesprune.data.fetch import Progress
from bayesprune.data.places import publish, workspace
from bayesprune.errors import DataError


def unpack_once(archive: Path, target: Path, members: "re.Pattern[str]", progress: Progress | None = None) -> Path:
    """Unpack an archive's files whose names match, unless `target` is there already.

    Args:
        archive: a tar file, compressed or not.
        target: the folder that will hold the files; it appears whole or not at all.
        members: what the name of a wanted file looks like in full; it must not match "..".
        progress: told of the bytes unpacked.

    Returns:
        `target`.

    Raises:
        DataError: a damaged or hostile archive, or a folder that cannot be written to.
    """
    if os.path.isdir(target):
        return target
    try:
        with workspace(target.parent) as temporary:
            unpack(archive, temporary / "unpacked", members, progress)
            publish(temporary / "unpacked", target)
    except OSError as error:
        raise DataError(
            f"cannot unpack {archive} into {target.parent}: {error}; make room there, or set XDG_CACHE_HOME "
            "to a folder "
            "that can be written to"
        ) from error
    return target


def unpack(archive: Path, folder: Path, members: "re.Pattern[str]", progress: Progress | None = None) -> None:
    """Unpack the plain files whose names match into a new folder.

    Raises:
        DataError: a damaged archive, one that holds links or devices under matching names, or none of the
            files.
    """
    folder.mkdir()
    done = 0
    try:
        with tarfile.open(archive) as tar:
            if hasattr(tarfile, "data_filter"):  # Python 3.11.4 and later; the names are checked in any case
                tar.extraction_filter = tarfile.data_filter
            for member in _wanted(tar, members, archive):
                tar.extract(member, folder)
                done += member.size
                if progress is not None:
                    progress(f"unpacking {archive.name}", done, None)
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError) as error:
        raise DataError(f"{archive} is damaged ({error}); delete it and fetch it again") from error
    if not done:
        raise DataError(f"{archive} holds none of the files it should; delete it and fetch it again")


def _wanted(tar: tarfile.TarFile, members: "re.Pattern[str]", archive: Path) -> Iterator[tarfile.TarInfo]:
    """The members that match, each a plain file."""
    for member in tar:
        if members.fullmatch(member.name) is None or member.isdir():
            continue
        if not member.isreg():
            raise DataError(
                f"{archive} holds {member.name!r}, which is a link or a device and not a file; it is not unpacked"
            )
        yield member

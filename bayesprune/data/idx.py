"""A reader of IDX files, the format of MNIST: magic, sizes, then bytes; plain or gzipped."""

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import IO, cast

import numpy as np
import numpy.typing as npt

from bayesprune.errors import DataError

_UNSIGNED_BYTE = 0x08


def read_idx(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes.

    The header is two zero bytes, the type code 0x08, the number of dimensions, and each size as a big-endian
    32-bit number.

    Args:
        path: the file; gzipped where the name ends in .gz.
        dimensions: how many there must be: 3 for images [N, H, W], 1 for labels [N].

    Returns:
        Array of the sizes that the header states.

    Raises:
        DataError: not such a file, or shorter or longer than its header says; names the file, both sizes and
            the cure.
    """
    zipped = path.suffix == ".gz"
    try:
        with _open(path, zipped) as file:
            sizes = _read_header(file, path, dimensions)
            expected = math.prod(sizes)
            _check_stored_size(path, 4 + 4 * dimensions + expected, zipped)
            content = _read_up_to(file, expected + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is damaged ({error}); {_cure(path)}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error})") from error
    if len(content) != expected:
        found = f"{len(content):,}" if len(content) < expected else f"more than {expected:,}"
        raise DataError(
            f"{path} holds {found} bytes of data but its header states {expected:,} ({_times(sizes)}); {_cure(path)}"
        )
    return np.frombuffer(content, dtype=np.uint8).reshape(sizes)


def _open(path: Path, zipped: bool) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb")) if zipped else path.open("rb")


def _read_header(file: IO[bytes], path: Path, dimensions: int) -> tuple[int, ...]:
    header = file.read(4 + 4 * dimensions)
    if len(header) < 4 + 4 * dimensions:
        raise DataError(
            f"{path} has only {len(header)} bytes, too few for an IDX header of {4 + 4 * dimensions}; {_cure(path)}"
        )
    magic = bytes([0, 0, _UNSIGNED_BYTE, dimensions])
    if header[:4] != magic:
        raise DataError(
            f"{path} begins with {header[:4].hex()}, an IDX file of this kind with {magic.hex()}; {_cure(path)}"
        )
    sizes = struct.unpack(f">{dimensions}I", header[4:])
    if 0 in sizes:
        raise DataError(f"{path} is empty: its header states {_times(sizes)} values; {_cure(path)}")
    return sizes


def _check_stored_size(path: Path, expected: int, zipped: bool) -> None:
    """Compare the size on disk before anything large is read; a gzipped file is counted while unpacked."""
    found = os.path.getsize(path)
    if not zipped and found != expected:
        raise DataError(f"{path} has {found:,} bytes but its header states {expected:,}; {_cure(path)}")


def _read_up_to(file: IO[bytes], count: int) -> bytearray:
    """At most `count` bytes, growing with what is really there and not with what a header claims."""
    content = bytearray()
    while len(content) < count and (chunk := file.read(min(1 << 24, count - len(content)))):
        content += chunk
    return content


def _times(sizes: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in sizes)


def _cure(path: Path) -> str:
    return f"delete {path.name} and load again to fetch it, or copy it anew"

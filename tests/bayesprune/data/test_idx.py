"""The IDX reader: right arrays, clear errors, and nothing else whatever the bytes."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayesprune.data.idx import read_idx
from bayesprune.errors import DataError

IdxBytes = Callable[[npt.NDArray[Any]], bytes]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("idx")


def oracle(content: bytes, dimensions: int) -> npt.NDArray[np.uint8] | None:
    """What the format says the bytes are, or None where they are no such file."""
    head = 4 + 4 * dimensions
    if len(content) < head or content[:4] != bytes([0, 0, 8, dimensions]):
        return None
    sizes = [int.from_bytes(content[at : at + 4], "big") for at in range(4, head, 4)]
    count = 1
    for size in sizes:
        count *= size
    if count == 0 or count != len(content) - head:
        return None
    return np.array(list(content[head:]), dtype=np.uint8).reshape(sizes)


def check_against_oracle(path: Path, content: bytes, stored: bytes) -> None:
    path.write_bytes(stored)
    expected = oracle(content, 3)
    if expected is None:
        with pytest.raises(DataError, match=path.name):
            read_idx(path, 3)
    else:
        np.testing.assert_array_equal(read_idx(path, 3), expected)


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_reads_what_was_written(tmp_path: Path, idx_bytes: IdxBytes, ending: str) -> None:
    array = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    path = tmp_path / f"images{ending}"
    path.write_bytes(gzip.compress(idx_bytes(array)) if ending else idx_bytes(array))
    read = read_idx(path, 3)
    np.testing.assert_array_equal(read, array)
    assert read.dtype == np.uint8


def test_a_truncated_file_is_named_with_both_sizes_and_the_cure(tmp_path: Path, idx_bytes: IdxBytes) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(idx_bytes(np.zeros((10, 28, 28), np.uint8))[:-1000])
    with pytest.raises(DataError) as caught:
        read_idx(path, 3)
    message = str(caught.value)
    assert str(path) in message
    assert "6,856 bytes" in message
    assert "7,856" in message
    assert "delete" in message
    assert "\n" not in message


def test_a_truncated_gzip_file_is_a_data_error(tmp_path: Path, idx_bytes: IdxBytes) -> None:
    path = tmp_path / "labels.gz"
    path.write_bytes(gzip.compress(idx_bytes(np.arange(200, dtype=np.uint8)))[:-20])
    with pytest.raises(DataError, match="damaged"):
        read_idx(path, 1)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "only 0 bytes"),
        (bytes([0, 0, 8, 1, 0, 0, 0, 0]), "only 8 bytes"),
        (bytes([0, 0, 13, 3]) + struct.pack(">3I", 1, 1, 1) + b"\0", "begins with 00000d03"),
        (bytes([0, 0, 8, 3]) + struct.pack(">3I", 0, 28, 28), "is empty"),
        (
            bytes([0, 0, 8, 3]) + struct.pack(">3I", 1, 1, 1) + b"\0\0",
            "has 18 bytes but its header states 17",
        ),
        (bytes([0, 0, 8, 3]) + struct.pack(">3I", *[2**32 - 1] * 3), "header states 79,2"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "images"
    path.write_bytes(content)
    with pytest.raises(DataError, match=says):
        read_idx(path, 3)


def test_a_gzip_file_that_unpacks_to_more_than_it_states_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(bytes([0, 0, 8, 1]) + struct.pack(">I", 5) + bytes(1 << 22)))
    with pytest.raises(DataError, match="more than 5 bytes"):
        read_idx(path, 1)


def test_a_missing_file_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(tmp_path / "absent", 1)


@given(data=st.data(), shape=st.tuples(*[st.integers(1, 4)] * 3), zipped=st.booleans())
def test_mutated_files_are_read_rightly_or_refused(
    data: st.DataObject, shape: tuple[int, int, int], zipped: bool, place: Path, idx_bytes: IdxBytes
) -> None:
    content = bytearray(idx_bytes(np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)))
    for at, value in data.draw(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=3)):
        if at < len(content):
            content[at] = value
    end = data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))
    mutated = bytes(content[:end]) + data.draw(st.binary(max_size=2))
    path = place / ("images.gz" if zipped else "images")
    check_against_oracle(path, mutated, gzip.compress(mutated) if zipped else mutated)


@given(content=st.binary(max_size=60))
def test_any_bytes_are_read_rightly_or_refused(content: bytes, place: Path) -> None:
    check_against_oracle(place / "any", content, content)


@given(data=st.data())
def test_a_mutated_gzip_stream_is_never_another_error(data: st.DataObject, place: Path, idx_bytes: IdxBytes) -> None:
    array = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
    stored = bytearray(gzip.compress(idx_bytes(array), mtime=0))
    stored[data.draw(st.integers(0, len(stored) - 1))] = data.draw(st.integers(0, 255))
    path = place / "stream.gz"
    path.write_bytes(bytes(stored[: data.draw(st.integers(1, len(stored)))]))
    try:
        read = read_idx(path, 3)
    except DataError:
        return
    np.testing.assert_array_equal(read, array)

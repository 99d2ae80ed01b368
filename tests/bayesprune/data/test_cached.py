"""Data that were loaded are kept as long as their files stay as they are."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bayesprune.data.cached import load_cached
from bayesprune.data.catalogue import files_of
from bayesprune.data.given import as_data
from bayesprune.errors import DataError


def save(path: Path, value: int) -> str:
    """Ten examples of two features, all in a file of one size."""
    inputs = np.arange(20, dtype=np.float32).reshape(10, 2)
    inputs[5, 1] = value
    np.savez(path, x=inputs, y=np.arange(10) % 2)
    return f"npz:{path}"


def test_a_file_that_is_written_anew_is_loaded_anew(tmp_path: Path) -> None:
    name = save(tmp_path / "d.npz", 1)
    first = load_cached(name)
    assert load_cached(name) is first
    times = (tmp_path / "d.npz").stat()
    save(tmp_path / "d.npz", 2)
    os.utime(tmp_path / "d.npz", ns=(times.st_atime_ns, times.st_mtime_ns))  # as a copy that keeps times does
    second = load_cached(name)
    assert second is not first and second.fingerprint != first.fingerprint


def test_a_folder_is_looked_through(tmp_path: Path) -> None:
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for number in range(10):
            Image.fromarray(np.full((4, 4), 9 * number, dtype=np.uint8)).save(tmp_path / label / f"{number}.png")
    first = load_cached(f"folder:{tmp_path}")
    assert load_cached(f"folder:{tmp_path}") is first and len(files_of(f"folder:{tmp_path}")) == 20
    Image.fromarray(np.full((4, 4), 7, dtype=np.uint8)).save(tmp_path / "b" / "10.png")
    assert sum(load_cached(f"folder:{tmp_path}").split_sizes.values()) == 21


def test_a_file_that_is_gone_is_missed(tmp_path: Path) -> None:
    name = save(tmp_path / "d.npz", 1)
    load_cached(name)
    (tmp_path / "d.npz").unlink()
    with pytest.raises(DataError, match="is not there"):
        load_cached(name)


def test_what_comes_with_the_library_has_no_files() -> None:
    assert files_of("mnist5k") == [] and files_of("nowhere") == []


def test_a_name_is_loaded_and_data_are_taken_as_they_are(tmp_path: Path) -> None:
    data = as_data(save(tmp_path / "d.npz", 1))
    assert as_data(data) is data and data.input_shape == (2,)

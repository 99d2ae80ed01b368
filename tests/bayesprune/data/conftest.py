"""Hand-made files of every kind, a cache folder of the test's own, and no way to the network."""

import gzip
import struct
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
Array = npt.NDArray[Any]
IdxBytes = Callable[[Array], bytes]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache folder for the length of a test; nothing is found elsewhere and nothing is fetched."""

    def refuse(*args: object, **settings: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("BAYESPRUNE_DATA", raising=False)
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    return tmp_path / "cache" / "bayesprune"


@pytest.fixture(scope="session")
def idx_bytes() -> IdxBytes:
    """The IDX file of an array, written from the format's description."""
    return lambda array: bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def pictures() -> Callable[[int, int], tuple[Array, Array]]:
    """Random pictures [N, 4, 5] and labels that go through all ten classes."""

    def make(count: int, seed: int) -> tuple[Array, Array]:
        drawn = np.random.default_rng(seed).integers(0, 256, (count, 4, 5), dtype=np.uint8)
        return drawn, (np.arange(count) % 10).astype(np.uint8)

    return make


@pytest.fixture
def mnist_files(idx_bytes: IdxBytes, pictures: Callable[[int, int], tuple[Array, Array]]) -> dict[str, bytes]:
    """The four files of a small MNIST: 100 training and 20 test pictures of 4 x 5 pixels."""
    arrays = (*pictures(100, 0), *pictures(20, 1))
    return {name: idx_bytes(array) for name, array in zip(NAMES, arrays, strict=True)}


@pytest.fixture
def mnist_root(tmp_path: Path, mnist_files: dict[str, bytes]) -> Path:
    """A data folder that holds the small MNIST."""
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, content in mnist_files.items():
        (raw / name).write_bytes(content)
    return tmp_path / "data"


@pytest.fixture
def zipped_mnist(mnist_files: dict[str, bytes]) -> dict[str, bytes]:
    """The same four files, gzipped, as they are downloaded."""
    return {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in mnist_files.items()}

"""What every test shares: one thread a process, and where the real data lie."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bayesprune.data import Data, from_tensors

torch.set_num_threads(1)

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder with the real data sets; without it the tests that need it are skipped."""
    named = os.environ.get("BAYESPRUNE_DATA")
    if not named:
        pytest.skip("BAYESPRUNE_DATA is not set: it names the folder with the real data sets")
    root = Path(named)
    if not root.is_dir():
        pytest.skip(f"BAYESPRUNE_DATA names {root}, which is no folder")
    return root


@pytest.fixture(scope="session")
def small_arrays() -> dict[str, Any]:
    """Three classes of noisy 6x6 pictures, of which a small network learns something: 240 + 40 + 60 of them."""
    generator = np.random.default_rng(0)
    patterns = generator.normal(size=(3, 1, 6, 6))
    labels = np.arange(340) % 3
    pictures = patterns[labels] + 1.5 * generator.normal(size=(340, 1, 6, 6))
    pictures = pictures.astype(np.float32)
    cuts = {"train": slice(0, 240), "validation": slice(240, 280), "test": slice(280, 340)}
    arrays = {f"x_{name}": pictures[cut] for name, cut in cuts.items()}
    return arrays | {f"y_{name}": labels[cut] for name, cut in cuts.items()}


@pytest.fixture(scope="session")
def small_data(small_arrays: dict[str, Any]) -> Data:
    """The same as data in memory."""
    train, validation, test = (
        (small_arrays[f"x_{n}"], small_arrays[f"y_{n}"]) for n in ("train", "validation", "test")
    )
    return from_tensors(*train, validation=validation, test=test, name="small")


@pytest.fixture(scope="session")
def small_npz(small_arrays: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same as a file, by the name under which runs find it."""
    path = tmp_path_factory.mktemp("small") / "small.npz"
    np.savez(path, **small_arrays)
    return f"npz:{path}"

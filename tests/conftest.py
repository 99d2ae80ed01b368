"""What every test shares: one thread a process, and where the real data lie."""

import os
from pathlib import Path

import pytest
import torch

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

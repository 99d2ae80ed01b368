"""Calling the command line in this process, and the files that tests of bad input give it."""

import io
import struct
import sys
import zipfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bayesprune.experiments.cli import main
from bayesprune.models import LeNet300

NETWORKS = """
from torch import nn


def plain():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 3))


def two_outputs():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 2))


def fails():
    raise RuntimeError("out of\\nluck")


def wants_more(depth):
    return plain()


def number():
    return 3


constant = 3
"""
STUDIES = {
    "unknown_key": 'methods = ["dense"]\nepoch = 3\n',
    "unknown_own_key": "[method.dense]\nspeed = 3\n",
    "bad_value": 'methods = ["dense"]\nepochs = "many"\n',
    "bad_option": "[method.parsimonious]\noptions = { start = 2 }\n",
    "unknown_method": 'methods = ["dens"]\n',
    "no_methods": "epochs = 3\n",
    "no_seeds": 'methods = ["dense"]\nseeds = 0\n',
    "no_match": 'methods = ["dense"]\n[method.magnitude]\nmatch = "parsimonious"\n',
    "no_toml": "methods = = [\n",
}


@dataclass(frozen=True)
class Outcome:
    """What a command came to: its exit status and what it wrote."""

    status: int
    out: str
    err: str


Command = Callable[..., Outcome]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Calls the command line as from a shell in an empty folder, with no data sets on the machine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("BAYESPRUNE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments: object) -> Outcome:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            status = main([str(word) for word in arguments])
        return Outcome(status, out.getvalue(), err.getvalue())

    return call


def arrays(count: int = 120, size: int = 8, seed: int = 0) -> dict[str, Any]:
    """Pictures of three classes that a small network can tell apart."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    pictures = generator.random((count, size, size)).astype(np.float32)
    pictures[np.arange(count), labels, :] += 1.0
    return {"x": pictures, "y": labels}


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a data set on which a run takes no time."""
    file = tmp_path_factory.mktemp("small") / "small.npz"
    np.savez(file, **arrays())
    return f"npz:{file}"


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files that cannot be used, and of one that can: ok.npz."""
    root = tmp_path_factory.mktemp("inputs")
    _write_arrays(root)
    _write_mnist(root / "cut" / "MNIST" / "raw")
    for name, text in STUDIES.items():
        (root / f"{name}.toml").write_text(text)
    (root / "networks_of_mine.py").write_text(NETWORKS)
    (root / "module_that_raises.py").write_text("1 / 0\n")
    (root / "module_that_exits.py").write_text("raise SystemExit(0)\n")
    (root / "empty").mkdir()
    (root / "classes" / "a").mkdir(parents=True)
    (root / "file").write_text("not a folder")
    (root / "garbage.safetensors").write_bytes(b"garbage" * 9)
    weights = LeNet300(classes=3).state_dict()
    save_file({name: value.clone() for name, value in weights.items() if "fc1" not in name}, root / "few.safetensors")
    nan = {name: torch.full_like(value, float("nan")) for name, value in weights.items()}
    save_file(nan, root / "nan.safetensors")
    return root


def _write_arrays(root: Path) -> None:
    """Data sets with one thing wrong each."""
    fine = arrays()
    pictures, labels = fine["x"], fine["y"]
    for name, value in (("nan", np.nan), ("infinite", np.inf)):
        spoilt = pictures.copy()
        spoilt[7, 2, 3] = value
        np.savez(root / f"{name}.npz", x=spoilt, y=labels)
    np.savez(root / "ok.npz", **fine)
    np.savez(root / "below.npz", x=pictures, y=labels - 1)
    np.savez(root / "beyond.npz", x=pictures, y=np.where(np.arange(len(labels)) == 5, 10**6, labels))
    np.savez(root / "floats.npz", x=pictures, y=labels.astype(float))
    np.savez(root / "one_class.npz", x=pictures, y=np.zeros_like(labels))
    np.savez(root / "fewer_labels.npz", x=pictures, y=labels[:-1])
    np.savez(root / "no_labels.npz", x=pictures)
    np.savez(root / "large.npz", **arrays(60, 28))
    content = (root / "ok.npz").read_bytes()
    (root / "cut.npz").write_bytes(content[: len(content) // 2])
    with zipfile.ZipFile(root / "damaged.npz", "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY")
        archive.writestr("y.npy", b"")


def _write_mnist(raw: Path) -> None:
    """The files of MNIST, their headers in order and their content cut off."""
    raw.mkdir(parents=True)
    for split, count in (("train", 60_000), ("t10k", 10_000)):
        (raw / f"{split}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, count, 28, 28) + bytes(99))
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, count) + bytes(99))

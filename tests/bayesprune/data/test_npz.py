"""npz files: layouts that are understood, and damaged or hostile ones that are refused."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bayesprune.data import TensorSplit, load
from bayesprune.data.npz import read_npz
from bayesprune.errors import DataError, SettingError

Array = npt.NDArray[Any]
LABELS = np.arange(40) % 4


def drawn(*shape: int) -> Array:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("npz")


@pytest.mark.parametrize(
    ("shape", "becomes"),
    [
        ((40, 6, 5), (1, 6, 5)),
        ((40, 3, 6, 5), (3, 6, 5)),
        ((40, 6, 5, 3), (3, 6, 5)),
        ((40, 6, 5, 1), (1, 6, 5)),
        ((40, 7, 6, 5), (7, 6, 5)),
        ((40, 3, 5, 3), (3, 5, 3)),
        ((40, 9), (9,)),
    ],
)
def test_shapes(tmp_path: Path, shape: tuple[int, ...], becomes: tuple[int, ...]) -> None:
    data = load(f"npz:{save(tmp_path / 'a.npz', x=drawn(*shape), y=LABELS)}")
    assert data.input_shape == becomes
    assert data.split_sizes == {"train": 28, "validation": 4, "test": 8}
    assert data.classes == 4


def test_channels_at_the_end_are_moved_and_bytes_scaled(tmp_path: Path) -> None:
    pixels = drawn(40, 6, 5, 3)
    path = save(tmp_path / "a.npz", x_train=pixels, y_train=LABELS, x_test=pixels[:9], y_test=LABELS[:9])
    data = load(f"npz:{path}", validation=8)
    assert data.split_sizes == {"train": 32, "validation": 8, "test": 9}
    assert isinstance(data.test, TensorSplit)
    expected = torch.from_numpy(pixels[:9].transpose(0, 3, 1, 2) / np.float32(255))
    torch.testing.assert_close(data.normalisation.undo(data.test.inputs), expected)


def test_all_three_splits(tmp_path: Path) -> None:
    parts = {f"x_{split}": drawn(count, 4) for split, count in (("train", 40), ("validation", 5), ("test", 6))}
    path = save(
        tmp_path / "a.npz",
        **parts,
        y_train=LABELS,
        y_validation=LABELS[:5],
        y_test=LABELS[:6],
        more=np.zeros(1),
    )
    assert load(f"npz:{path}").split_sizes == {"train": 40, "validation": 5, "test": 6}
    with pytest.raises(SettingError, match="comes with a validation split of 5"):
        load(f"npz:{path}", validation=4)


def test_a_moved_file_is_the_same_data(tmp_path: Path) -> None:
    first = load(f"npz:{save(tmp_path / 'a.npz', x=drawn(40, 4), y=LABELS)}")
    assert load(f"npz:{save(tmp_path / 'b.npz', x=drawn(40, 4), y=LABELS)}").fingerprint == first.fingerprint
    assert load(f"npz:{save(tmp_path / 'b.npz', x=drawn(40, 5), y=LABELS)}").fingerprint != first.fingerprint


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.path,)


def test_pickled_objects_are_not_opened(tmp_path: Path) -> None:
    trap = np.array([Trap(tmp_path / "sprung")] * 40, dtype=object)
    path = save(tmp_path / "a.npz", x=trap, y=LABELS)
    with pytest.raises(DataError, match="array x of .* cannot be read"):
        load(f"npz:{path}")
    np.save(tmp_path / "b.npy", trap, allow_pickle=True)
    with pytest.raises(DataError, match="not an npz file"):
        load(f"npz:{tmp_path / 'b.npy'}")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({}, "no arrays; it needs"),
        ({"images": drawn(4, 4)}, "holds images; it needs"),
        ({"x": drawn(40, 4)}, "holds x; it needs"),
        (
            {"x_train": drawn(40, 4), "y_train": LABELS, "x_test": drawn(4, 4)},
            "x_test without its counterpart",
        ),
        ({"x": drawn(40), "y": LABELS}, r"shape \[40\]; it must be"),
        ({"x": drawn(40, 1, 1, 1, 1), "y": LABELS}, "it must be"),
        ({"x": drawn(40, 4), "y": LABELS[:39]}, "40 inputs but 39 labels"),
        ({"x": np.full((40, 4), np.nan), "y": LABELS}, "160 values of x of .* not finite"),
        ({"x": drawn(40, 4), "y": LABELS - 1}, "label -1"),
        ({"x": drawn(40, 4), "y": LABELS * 1.0}, "not integers"),
        ({"x": drawn(0, 4), "y": LABELS[:0]}, "at least one example"),
    ],
)
def test_arrays_that_cannot_be_learned_from_are_refused(tmp_path: Path, arrays: dict[str, Array], says: str) -> None:
    with pytest.raises(DataError, match=says):
        load(f"npz:{save(tmp_path / 'a.npz', **arrays)}")


@pytest.mark.parametrize("path", ["absent.npz", ".", "x" * 300])
def test_a_path_to_no_file_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(DataError, match="is not"):
        load(f"npz:{tmp_path / path}")


def test_a_single_array_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", drawn(4, 4))
    with pytest.raises(DataError, match="single array"):
        load(f"npz:{tmp_path / 'a.npy'}")


def test_a_header_that_claims_too_much_is_refused(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (1 << 60, 2)})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue() + b"12")
        archive.writestr("y.npy", header.getvalue())
    with pytest.raises(DataError, match="array x of"):
        load(f"npz:{tmp_path / 'a.npz'}")


@given(data=st.data())
def test_truncated_and_mutated_files_are_read_rightly_or_refused(data: st.DataObject, place: Path) -> None:
    pixels = drawn(6, 4)
    stored = io.BytesIO()
    data.draw(st.sampled_from([np.savez, np.savez_compressed]))(stored, x=pixels, y=LABELS[:6])
    content = bytearray(stored.getvalue())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    for at, value in data.draw(st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), max_size=3)):
        if at < len(content):
            content[at] = value
    path = place / "mutated.npz"
    path.write_bytes(bytes(content))
    try:
        raw = read_npz(path)
    except DataError:
        return
    np.testing.assert_array_equal(raw.train.inputs.numpy(), pixels)
    np.testing.assert_array_equal(raw.train.labels.numpy(), LABELS[:6])

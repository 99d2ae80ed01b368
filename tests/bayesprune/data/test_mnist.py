"""The MNIST family: the real files, hand-made ones, downloads that work, fail, and are interrupted."""

import hashlib
import io
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from bayesprune.data import Data, TensorSplit, load
from bayesprune.data.mnist import MNIST
from bayesprune.data.places import find_places
from bayesprune.data.torchvision_guard import import_torchvision
from bayesprune.errors import DataError, DataUnavailableError

Pictures = Callable[[int, int], tuple[npt.NDArray[Any], npt.NDArray[Any]]]
TRAINING_IMAGES_MD5 = "6bbc9ace898e44ae57da46a324031adb"
TEST_LABELS = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def tensors(data: Data, split: str) -> TensorSplit:
    found = getattr(data, split)
    assert isinstance(found, TensorSplit)
    return found


@pytest.fixture(scope="module")
def mnist(data_root: Path) -> Data:
    if MNIST.find(find_places(data_root)) is None:
        pytest.skip(f"{data_root} holds no MNIST")
    return load("mnist", root=data_root, download=False)


def test_the_real_files_are_the_published_ones(mnist: Data, data_root: Path) -> None:
    content = (data_root / "MNIST" / "raw" / "train-images-idx3-ubyte").read_bytes()
    assert hashlib.md5(content, usedforsecurity=False).hexdigest() == TRAINING_IMAGES_MD5


def test_real_mnist_has_its_sizes_and_constants(mnist: Data) -> None:
    assert mnist.split_sizes == {"train": 55_000, "validation": 5_000, "test": 10_000}
    assert (mnist.input_shape, mnist.classes, mnist.name) == ((1, 28, 28), 10, "mnist")
    assert tensors(mnist, "test").labels.bincount().tolist() == TEST_LABELS
    assert mnist.normalisation.mean == pytest.approx((0.1307,), abs=5e-4)
    assert mnist.normalisation.std == pytest.approx((0.3081,), abs=5e-4)


def test_real_mnist_is_what_torchvision_reads(mnist: Data, data_root: Path) -> None:
    theirs = import_torchvision().datasets.MNIST(data_root, train=False, download=False)
    test = tensors(mnist, "test")
    pixels = (mnist.normalisation.undo(test.inputs[:2000]) * 255).round().to(torch.uint8)
    assert torch.equal(pixels[:, 0], theirs.data[:2000])
    assert torch.equal(test.labels, theirs.targets)


def test_the_validation_split_is_stratified_and_disjoint(mnist: Data) -> None:
    train, validation = tensors(mnist, "train"), tensors(mnist, "validation")
    counts = train.labels.bincount() + validation.labels.bincount()
    torch.testing.assert_close(validation.labels.bincount() / counts, torch.full((10,), 1 / 12), atol=2e-4, rtol=0)
    seen = {picture.numpy().tobytes() for picture in train.inputs[:, 0]}  # the 60,000 hold no picture twice
    assert len(seen) == 55_000
    assert not any(picture.numpy().tobytes() in seen for picture in validation.inputs[:, 0])


def test_hand_made_files_are_read(mnist_root: Path, pictures: Pictures) -> None:
    data = load("mnist", root=mnist_root, validation=10)
    assert data.split_sizes == {"train": 90, "validation": 10, "test": 20}
    test = tensors(data, "test")
    np.testing.assert_array_equal(
        (data.normalisation.undo(test.inputs) * 255).round().numpy()[:, 0], pictures(20, 1)[0]
    )
    np.testing.assert_array_equal(test.labels.numpy(), pictures(20, 1)[1])


def test_gzipped_files_give_the_same_data(mnist_root: Path, zipped_mnist: dict[str, bytes]) -> None:
    plain = load("mnist", root=mnist_root, validation=10)
    for name, content in zipped_mnist.items():
        (mnist_root / "MNIST" / "raw" / name).write_bytes(content)
        (mnist_root / "MNIST" / "raw" / name[:-3]).unlink()
    assert load("mnist", root=mnist_root, validation=10).fingerprint == plain.fingerprint


def test_the_split_seed_alone_decides_the_validation_split(mnist_root: Path) -> None:
    first = load("mnist", root=mnist_root, validation=10)
    torch.manual_seed(123)
    assert torch.equal(
        tensors(first, "validation").inputs,
        tensors(load("mnist", root=mnist_root, validation=10), "validation").inputs,
    )
    other = load("mnist", root=mnist_root, validation=10, seed=1)
    assert other.fingerprint != first.fingerprint
    assert torch.equal(tensors(first, "test").labels, tensors(other, "test").labels)


def test_the_variable_names_the_folder_and_a_root_wins_over_it(
    mnist_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAYESPRUNE_DATA", str(mnist_root))
    assert len(load("mnist", validation=10).train) == 90
    with pytest.raises(DataUnavailableError):
        load("mnist", root=tmp_path / "elsewhere", validation=10)


def test_a_truncated_file_is_refused_by_name(mnist_root: Path) -> None:
    path = mnist_root / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte has 415 bytes but its header states 416"):
        load("mnist", root=mnist_root, validation=10)


def test_a_label_out_of_range_is_refused(mnist_root: Path) -> None:
    path = mnist_root / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    content = bytearray(path.read_bytes())
    content[8 + 3] = 10
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match="label 10 of example 3 of the test split is out of range"):
        load("mnist", root=mnist_root, validation=10)


def test_offline_says_where_the_files_go_and_what_needs_none(tmp_path: Path, cache: Path) -> None:
    for settings, reason in (
        ({"root": tmp_path}, "no route to host"),
        ({"download": False}, "download=False"),
    ):
        with pytest.raises(DataUnavailableError) as caught:
            load("mnist", **settings)
        message = str(caught.value)
        folder = settings.get("root", cache)
        for part in (
            reason,
            str(folder),
            "MNIST/raw/train-images-idx3-ubyte",
            "BAYESPRUNE_DATA",
            "'mnist5k'",
        ):
            assert part in message
        assert "\n" not in message
    assert not cache.exists()
    assert [entry.name for entry in tmp_path.iterdir()] == []


class Server:
    """Answers urlopen from a table of files; a file may be cut off by an exception."""

    def __init__(self, files: dict[str, bytes], breaks: BaseException | None = None) -> None:
        self.files, self.breaks, self.asked = files, breaks, list[str]()

    def __call__(self, request: urllib.request.Request, timeout: float) -> "Answer":
        name = request.full_url.rpartition("/")[2]
        self.asked.append(request.full_url)
        if name not in self.files:
            raise urllib.error.URLError("not found")
        return Answer(self.files[name], self.breaks if name.startswith("t10k-images") else None)


class Answer(io.BytesIO):
    """One answer, with the header that states its length."""

    def __init__(self, content: bytes, breaks: BaseException | None) -> None:
        super().__init__(content)
        self.headers, self._breaks = Message(), breaks
        self.headers["Content-Length"] = str(len(content))

    def read(self, size: int | None = -1) -> bytes:
        if self._breaks is not None and self.tell() > 0:
            raise self._breaks
        return super().read(20 if self._breaks else size)


@pytest.fixture
def serve(zipped_mnist: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Server]:
    """Puts a server in place of the network, and the small MNIST's checksums in place of the real ones."""
    table = import_torchvision().datasets.MNIST
    md5 = {name: hashlib.md5(content, usedforsecurity=False).hexdigest() for name, content in zipped_mnist.items()}
    monkeypatch.setattr(table, "resources", list(md5.items()))
    monkeypatch.setattr(table, "mirrors", ["https://first.invalid/", "https://second.invalid/"])

    def start(files: dict[str, bytes], breaks: BaseException | None = None) -> Server:
        server = Server(files, breaks)
        monkeypatch.setattr(urllib.request, "urlopen", server)
        return server

    return start


def left_behind(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_download_lands_in_torchvisions_layout(
    serve: Callable[..., Server], zipped_mnist: dict[str, bytes], mnist_files: dict[str, bytes], cache: Path
) -> None:
    server, told = serve(zipped_mnist), list[tuple[str, int, int | None]]()
    data = load("mnist", validation=10, progress=lambda *step: told.append(step))
    assert data.split_sizes == {"train": 90, "validation": 10, "test": 20}
    assert {path.name: path.read_bytes() for path in (cache / "MNIST" / "raw").iterdir()} == mnist_files
    assert left_behind(cache)[:2] == ["MNIST", "MNIST/raw"]
    assert len(left_behind(cache)) == 6
    assert told == [(name, len(content), len(content)) for name, content in zipped_mnist.items()]
    load("mnist", validation=10)
    assert len(server.asked) == 4


def test_a_second_mirror_is_tried_and_files_that_are_there_stay(
    serve: Callable[..., Server], zipped_mnist: dict[str, bytes], tmp_path: Path
) -> None:
    kept = tmp_path / "MNIST" / "raw" / "train-labels-idx1-ubyte"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"mine")
    server = serve({name: content for name, content in zipped_mnist.items() if "t10k" not in name})
    with pytest.raises(DataUnavailableError, match="second.invalid"):
        load("mnist", root=tmp_path)
    assert [address for address in server.asked if "second" in address] == [
        "https://second.invalid/t10k-images-idx3-ubyte.gz"
    ]
    serve(zipped_mnist)
    with pytest.raises(DataError, match="train-labels-idx1-ubyte has only 4 bytes"):
        load("mnist", root=tmp_path)
    assert kept.read_bytes() == b"mine"


def test_a_wrong_checksum_is_refused_and_nothing_stays(
    serve: Callable[..., Server], zipped_mnist: dict[str, bytes], tmp_path: Path
) -> None:
    serve({**zipped_mnist, "t10k-labels-idx1-ubyte.gz": b"something else"})
    with pytest.raises(DataUnavailableError, match="checksum .*, expected"):
        load("mnist", root=tmp_path)
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_an_interrupted_download_leaves_nothing_and_can_be_repeated(
    serve: Callable[..., Server], zipped_mnist: dict[str, bytes], tmp_path: Path, error: BaseException
) -> None:
    serve(zipped_mnist, error)
    with pytest.raises(type(error)):
        load("mnist", root=tmp_path)
    assert left_behind(tmp_path) == []
    serve(zipped_mnist)
    assert len(load("mnist", root=tmp_path, validation=10).train) == 90


@pytest.mark.parametrize("error", [TimeoutError("timed out"), ConnectionResetError("reset by peer")])
def test_a_broken_connection_is_a_data_error(
    serve: Callable[..., Server], zipped_mnist: dict[str, bytes], tmp_path: Path, error: BaseException
) -> None:
    serve(zipped_mnist, error)
    with pytest.raises(DataUnavailableError, match="timed out|reset by peer"):
        load("mnist", root=tmp_path)
    assert left_behind(tmp_path) == []


def test_a_folder_that_cannot_be_written_to_leaves_the_download_to_the_cache(
    serve: Callable[..., Server],
    zipped_mnist: dict[str, bytes],
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file is no folder, for root neither")
    serve(zipped_mnist)
    monkeypatch.setenv("BAYESPRUNE_DATA", str(blocked))
    assert len(load("mnist", validation=10).train) == 90
    assert (cache / "MNIST" / "raw").is_dir()
    with pytest.raises(DataUnavailableError, match="cannot be written to"):
        load("mnist", root=blocked)
